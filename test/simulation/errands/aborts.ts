import type { Errand } from './errand.ts'

/** A call that is given up rejects at once, and its channel and connection go on as if it had not been. */
export const aborts: Errand = async outing => {
  const { protocol } = outing
  const queue = await outing.queue()
  const channel = outing.keep(await protocol.channel())
  const ended = new AbortController()
  ended.abort()
  const { signal } = ended
  await outing.failure(channel.queueDeclare(queue, { passive: true, signal }), 'AbortError', 'a declare')
  await outing.failure(protocol.channel({ signal }), 'AbortError', 'a channel')
  await outing.failure(protocol.consumer(queue, { signal }), 'AbortError', 'a consumer')
  await outing.failure(protocol.ready({ signal }), 'AbortError', 'ready()')
  const after = (milliseconds: number) => ({ signal: outing.signalAfter(milliseconds) })
  const calls = [0, 1, 2].flatMap(ms => [
    channel.queueDeclare(queue, { passive: true, ...after(ms) }),
    channel.basicGet(queue, after(ms)),
    channel.queueBind(queue, 'amq.fanout', '', after(ms)),
    channel.basicQos({ prefetchCount: 3, ...after(ms) }),
  ])
  for (const { status, reason } of (await Promise.allSettled(calls)) as { status: string; reason?: Error }[])
    outing.expect(
      status === 'fulfilled' || reason?.name === 'AbortError',
      `a call that was given up ended with ${reason}`,
    )
  outing.equal((await channel.queueDeclare(queue, { passive: true })).queue, queue, 'the queue')
  await channel.queueUnbind(queue, 'amq.fanout')
  outing.equal(await channel.basicGet(queue), null, 'what is in the queue')
}

/** Of what is asked for with a signal that is aborted already, nothing reaches the broker, and each error says so. */
export const abortedBefore: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect()
  await protocol.queueDeclare('queue')
  await protocol.exchangeDeclare('exchange', 'fanout')
  await protocol.publish('kept', '', 'queue', { messageId: 'kept' })
  const signal = AbortSignal.abort()
  const [channel, confirming] = [await protocol.channel(), await protocol.channel({ publisherConfirms: true })]
  const publisher = await protocol.publisher()
  const client = await protocol.rpcClient()
  const look = (): string => {
    const { arrived, entities, consumers, unacked } = control.evidence()
    return JSON.stringify([arrived, ...[entities, consumers, unacked].map(each => [...each])])
  }
  const before = look()
  const { openChannels } = protocol.stats()
  const calls: [string, (on: typeof channel) => Promise<unknown>][] = [
    ['queue.declare', on => on.queueDeclare('other', { signal })],
    ['queue.bind', on => on.queueBind('queue', 'exchange', '', { signal })],
    ['queue.unbind', on => on.queueUnbind('queue', 'exchange', '', { signal })],
    ['queue.purge', on => on.queuePurge('queue', { signal })],
    ['queue.delete', on => on.queueDelete('queue', { signal })],
    ['exchange.declare', on => on.exchangeDeclare('other', 'fanout', { signal })],
    ['exchange.delete', on => on.exchangeDelete('exchange', { signal })],
    ['basic.get', on => on.basicGet('queue', { signal })],
    ['basic.consume', on => on.basicConsume(() => {}, 'queue', { signal })],
    ['basic.qos', on => on.basicQos({ prefetchCount: 1, signal })],
    ['basic.recover', on => on.basicRecover({ signal })],
  ]
  for (const [what, call] of calls)
    for (const on of [channel, confirming])
      await outing.failure(call(on), 'AbortError', `${what} with an aborted signal`)
  await outing.failure(protocol.channel({ signal }), 'AbortError', 'a channel with an aborted signal')
  await outing.failure(protocol.consumer('queue', { signal }), 'AbortError', 'a consumer with an aborted signal')
  const properties = { messageId: 'gone' }
  const sent: Promise<unknown>[] = [
    channel.publish('gone', '', 'queue', properties, { signal }),
    confirming.publish('gone', '', 'queue', properties, { signal }),
    publisher.publish('gone', 'queue', properties, { signal }),
    protocol.publish('gone', '', 'queue', properties, { signal }),
    client.call('queue', 'gone', { properties, signal }),
  ]
  for (const each of sent) outing.meanwhile(each)
  for (const [n, each] of sent.entries()) {
    const { outcome } = await outing.failure(each, 'AbortError', `a publish with an aborted signal, way ${n}`)
    outing.equal(outcome, 'notSent', `the outcome of a publish with an aborted signal, way ${n}`)
  }
  await outing.sleep(100)
  outing.equal(look(), before, 'what the broker has after calls with an aborted signal')
  outing.equal(protocol.stats().openChannels, openChannels, 'channels after calls with an aborted signal')
  outing.equal((await channel.basicGet('queue'))?.body.toString(), 'kept', 'the message of a queue')
}

/** A call of a channel that the server closed says why, and the next ones say so too. */
export const refusals: Errand = async outing => {
  const queue = await outing.queue()
  const channel = outing.keep(await outing.protocol.channel())
  const closed = outing.failure(channel.waitClosed(), 'ChannelClosedError', 'waitClosed()')
  const failed = channel.queueDeclare(`${queue} none`, { passive: true })
  const second = channel.queueDeclare(queue, { passive: true })
  const { message = '' } = await outing.failure(failed, 'ChannelClosedError', 'a passive declare of nothing')
  outing.expect(message.includes('404') && message.includes(`${queue} none`), `the error says "${message}"`)
  await outing.failure(second, 'ChannelClosedError', 'a call behind it')
  // A loss of the connection may have come first: the channel is there again then.
  await Promise.race([closed, outing.sleep(1_000)])
  outing.expect(!channel.isOpen, 'a closed channel says that it is open')
  await outing.failure(channel.basicGet(queue), 'ChannelClosedError', 'a call after it')
  await outing.failure(outing.protocol.consumer(`${queue} none`), 'ChannelClosedError', 'a consumer of nothing')
  // The tag of a consumer that could not be asked for is free.
  const other = outing.keep(await outing.protocol.channel())
  const consume = (text: string): Promise<unknown> =>
    other.basicConsume(() => {}, queue, { consumerTag: 'tag', arguments: { text } })
  await outing.failure(consume('x'.repeat(200_000)), 'EncodeError', 'a consumer that does not fit in a frame')
  await consume('x')
}

/** A signal that is aborted when its end has begun, or is over, changes nothing any more. */
export const lateAborts: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const reported: string[] = []
  const life = new AbortController()
  const own = await connect({ signal: life.signal, onError: error => void reported.push(`${error}`) })
  const { protocol } = own
  await protocol.queueDeclare('queue')
  await protocol.queueDeclare('prices')
  // Of a consumer that is closed, while a handler goes on, and while a loop and next() wait.
  for (const way of ['handler', 'loop', 'next'] as const) {
    const controller = new AbortController()
    const { signal } = controller
    let ended = 0
    const work = async (): Promise<void> => {
      await outing.sleep(300)
      ended++
    }
    const consumer =
      way === 'handler'
        ? await protocol.consumer('queue', work, { signal })
        : await protocol.consumer('queue', { signal })
    const loop = async (): Promise<string> => {
      for await (const _ of consumer) await work()
      return 'done'
    }
    const next = async (): Promise<string> => ((await consumer.next()).done === true ? 'done' : 'a message')
    if (way !== 'next') await protocol.publish('x', '', 'queue')
    const taking = way === 'handler' ? Promise.resolve('done') : way === 'loop' ? loop() : next()
    const taken = taking.catch(String)
    await outing.sleep(50)
    const closed = consumer.close()
    if (way !== 'next') await outing.sleep(50)
    controller.abort()
    await closed
    outing.equal(await taken, 'done', `what a ${way} ends with, of a signal that is late`)
    outing.equal(ended, way === 'next' ? 0 : 1, `work that a ${way} has done`)
    outing.equal(
      (await protocol.queueDeclare('queue', { passive: true })).messageCount,
      0,
      `messages that a ${way} leaves`,
    )
  }
  // Of calls that are over.
  const late = new AbortController()
  const { signal } = late
  const server = await protocol.rpcServer('prices', () => 'dear')
  const client = await protocol.rpcClient({ timeout: 5_000 })
  const channel = await protocol.channel({ signal, publisherConfirms: true })
  const publisher = await protocol.publisher()
  await publisher.publish('x', 'queue', {}, { signal })
  await channel.publish('x', '', 'queue', {}, { signal })
  await channel.queueDeclare('queue', { signal })
  outing.equal((await client.call('prices', 'moon', { signal })).text(), 'dear', 'an answer')
  late.abort()
  outing.expect(channel.isOpen, 'a signal closes the channel that it has bounded the opening of')
  await publisher.publish('x', 'queue')
  outing.equal((await channel.queuePurge('queue')).messageCount, 3, 'messages after a signal that was late')
  await server.close()
  const closing = protocol.close()
  life.abort()
  await closing
  await outing.sleep(50)
  const ended = await protocol.waitClosed().then(() => 'in order', String)
  outing.equal(ended, 'in order', 'how a connection ends that is closed, and whose signal is late')
  outing.equal(reported, [], 'what was reported of signals that are late')
  outing.equal(control.evidence().queued.get('queue')?.length ?? 0, 0, 'messages that are left')
}
