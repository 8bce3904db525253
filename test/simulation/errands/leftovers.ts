import { getEventListeners } from 'node:events'
import type { Channel } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

/** A channel that is given up, wherever it waits, takes no number: there are as many to be opened as before, and one more is refused. */
export const givenUpChannels: Errand = async outing => {
  const { connect } = outing.startBroker(3)
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const giveUp = async (where: string, name = 'AbortError'): Promise<void> => {
    const ended = [50, 60].map(milliseconds => {
      const opened = protocol.channel({ signal: outing.signalAfter(milliseconds) })
      return outing.failure(opened, name, `a channel that is given up ${where}`)
    })
    await Promise.race([Promise.all(ended), outing.sleep(2_000)])
  }
  const openAll = async (when: string): Promise<void> => {
    const channels: Channel[] = []
    for (let n = 0; n < 3; n++) {
      const opened = protocol.channel({ signal: outing.signalAfter(5_000) }).catch(() => undefined)
      const channel = await opened
      if (channel !== undefined) channels.push(channel)
    }
    outing.equal(channels.length, 3, `channels that can be opened ${when}`)
    await outing.failure(protocol.channel(), 'NoChannelAvailableError', `one channel too many ${when}`)
    for (const channel of channels) await channel.close()
    outing.equal(protocol.stats().openChannels, 0, `channels that are open ${when}`)
  }
  own.freeze()
  await giveUp('before its answer')
  own.thaw()
  await openAll('after some were given up')
  own.refuse(true)
  own.cut()
  await outing.sleep(5)
  await giveUp('while there is no connection')
  own.refuse(false)
  await protocol.ready({ timeout: 20_000 })
  await openAll('after a loss')
  own.freeze()
  const isAborted = outing.number % 2 === 0
  const client = outing.failure(
    protocol.rpcClient(),
    'ConnectionLostError',
    'an RPC client that is lost at its beginning',
  )
  const given = giveUp('before a loss', isAborted ? 'AbortError' : 'ConnectionLostError')
  await outing.sleep(5)
  if (isAborted) await given
  own.thaw()
  await lose(outing, own)
  await Promise.all([client, given])
  await outing.sleep(100)
  await openAll('after a loss at their beginning')
}

/** What has ended keeps no listener of the signal that it was given. */
export const endedSignals: Errand = async outing => {
  const { signal } = new AbortController()
  const { connect } = outing.startBroker()
  const left = (what: string): void =>
    outing.equal(getEventListeners(signal, 'abort').length, 0, `listeners of a signal after ${what}`)
  const uri = (name: string): string => `amqp://${name}`
  const servers = {
    servers: [uri('one'), uri('none')],
    serverOrder: outing.number % 2 === 0 ? 'race' : 'ordered',
  } as const
  const own = await connect({ signal, ...servers, recovery: QUICK })
  const { protocol } = own
  left('a connection')
  await outing.failure(
    connect({ signal, servers: [uri('none')] }),
    'ConnectionFailedError',
    'a connection that is refused',
  )
  left('a connection that is refused')
  await protocol.queueDeclare('queue', { signal })
  const channel = await protocol.channel({ publisherConfirms: true, signal })
  await channel.publish('x', '', 'queue', {}, { signal })
  await channel.waitForConfirms({ signal })
  await channel.basicGet('queue', { noAck: true, signal })
  const { consumerTag } = await channel.basicConsume(() => {}, 'queue', { signal })
  await channel.basicCancel(consumerTag, { signal })
  await outing.failure(
    channel.publish('x', '', 'none', {}, { mandatory: true, signal }),
    'MessageReturnedError',
    'a return',
  )
  left('calls of a channel')
  await protocol.publish('x', '', 'queue', {}, { signal })
  const publisher = await protocol.publisher()
  await publisher.publish('x', 'queue', {}, { signal })
  left('publishes')
  const consumer = await protocol.consumer('queue', { signal })
  for (let n = 0; n < 2; n++) (await consumer.next({ signal })).value?.ack()
  await outing.failure(consumer.next({ timeout: 10, signal }), 'TimeoutError', 'a wait for a message')
  await consumer.close()
  left('a consumer')
  await protocol.queueDeclare('requests')
  const server = await protocol.rpcServer('requests', () => 'answer')
  const client = await protocol.rpcClient()
  await client.call('requests', 'question', { signal })
  await outing.failure(client.call('none', 'question', { signal }), 'MessageReturnedError', 'a question to nobody')
  left('questions')
  const lost = outing.failure(channel.queueDeclare('queue', { passive: true, signal }), 'ConnectionLostError', 'a call')
  own.refuse(true)
  own.cut()
  await lost
  const ready = protocol.ready({ signal })
  const sent = outing.meanwhile(protocol.publish('x', '', 'queue', {}, { signal }))
  const asked = outing.meanwhile(channel.basicGet('queue', { noAck: true, signal }))
  await outing.sleep(20)
  own.refuse(false)
  await Promise.all([ready, sent, asked])
  left('an outage')
  await server.close()
  const last = await protocol.consumer('queue', () => {}, { signal })
  await protocol.close()
  left(`the close of a connection with consumer ${last.queueName}`)
}

/** While nothing but a pause is between a program and its broker, a timer keeps the process alive; a connection that is there needs none. */
export const awake: Errand = async outing => {
  const { connect } = outing.startBroker()
  const own = await connect({ recovery: { initialDelay: 100, jitter: 0, maxDelay: 1_000 } })
  const { protocol } = own
  await protocol.queueDeclare('queue')
  const channel = await protocol.channel()
  const quiet = (when: string): void => outing.equal(own.keeping, 0, `timers that keep a process alive ${when}`)
  const kept = (when: string): void => outing.expect(own.keeping > 0, `no timer keeps a process alive ${when}`)
  for (let round = 0; round < 2; round++) {
    // It has had deadlines before, which are over.
    await channel.queueDeclare('queue', { timeout: 1_000 })
    await protocol.publish('x', '', 'queue', {}, { timeout: 1_000 })
    await outing.sleep(2_000)
    quiet(`before loss ${round}`)
    own.refuse(true)
    own.cut()
    await outing.sleep(20)
    kept('before the first attempt')
    for (let n = 0; n < 10; n++) {
      await outing.sleep(333)
      kept('between two attempts')
    }
    own.refuse(false)
    await protocol.ready({ timeout: 20_000 })
    await outing.sleep(2_000)
    quiet(`after loss ${round}`)
  }
}
