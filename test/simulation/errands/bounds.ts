import type { Channel } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

interface Bounds {
  readonly timeout?: number
  readonly signal?: AbortSignal
}

/** Each method that has a reply, on a channel of its own. */
const CALLS: Readonly<Record<string, (channel: Channel, bounds: Bounds) => Promise<unknown>>> = {
  'queue.declare': (channel, bounds) => channel.queueDeclare('queue', { passive: true, ...bounds }),
  'queue.bind': (channel, bounds) => channel.queueBind('queue', 'amq.fanout', 'key', bounds),
  'queue.unbind': (channel, bounds) => channel.queueUnbind('queue', 'amq.fanout', 'other', bounds),
  'queue.purge': (channel, bounds) => channel.queuePurge('queue', bounds),
  'queue.delete': (channel, bounds) => channel.queueDelete('none', bounds),
  'exchange.declare': (channel, bounds) =>
    channel.exchangeDeclare('amq.fanout', 'fanout', { passive: true, ...bounds }),
  'exchange.delete': (channel, bounds) => channel.exchangeDelete('none', bounds),
  'exchange.bind': (channel, bounds) => channel.exchangeBind('amq.fanout', 'amq.topic', 'key', bounds),
  'exchange.unbind': (channel, bounds) => channel.exchangeUnbind('amq.fanout', 'amq.topic', 'other', bounds),
  'basic.qos': (channel, bounds) => channel.basicQos({ prefetchCount: 5, ...bounds }),
  'basic.get': (channel, bounds) => channel.basicGet('queue', bounds),
  'basic.consume': (channel, bounds) => channel.basicConsume(() => {}, 'queue', bounds),
  'basic.recover': (channel, bounds) => channel.basicRecover(bounds),
  'confirm.select': (channel, bounds) => channel.confirmSelect(bounds),
  'tx.select': (channel, bounds) => channel.txSelect(bounds),
  'channel.flow': (channel, bounds) => channel.flow(true, bounds),
}

/** How the calls end. */
const WAYS = ['TimeoutError', 'AbortError', 'ConnectionLostError'] as const

/** Each method ends when its time is up, its signal aborts, or its connection is lost, says which it was, and leaves the others alone. */
export const boundedCalls: Errand = async outing => {
  const { connect } = outing.startBroker()
  const own = await connect({ heartbeat: 0, recovery: QUICK })
  const { protocol } = own
  await protocol.queueDeclare('queue')
  const { openChannels } = protocol.stats()
  const calls = await Promise.all(
    Object.entries(CALLS).map(async ([name, call], n) => {
      const way = WAYS[(n + outing.number) % WAYS.length] ?? 'TimeoutError'
      return { name, call, way, channel: await protocol.channel() }
    }),
  )
  own.freeze()
  const began = outing.clock.now()
  const signal = outing.signalAfter(200)
  const ends = calls.map(({ name, call, way, channel }) => {
    const bounds = way === 'AbortError' ? { signal } : way === 'TimeoutError' ? { timeout: 200 } : {}
    const ended = outing.failure(call(channel, bounds), way, `${name} without an answer`)
    return ended.then(({ message = '' }) => {
      outing.expect(message.includes(name), `an error of ${name} says "${message}"`)
      outing.took(began, 200, 300, `${name} without an answer`)
    })
  })
  await outing.sleep(250)
  // One that timed out may be carried out at any time: its channel is closed. Any other goes on.
  for (const { name, way, channel } of calls)
    outing.equal(channel.isOpen, way !== 'TimeoutError', `whether a channel is open after ${name}`)
  own.cut()
  await Promise.race([Promise.all(ends), outing.sleep(2_000)])
  own.thaw()
  await protocol.ready({ timeout: 20_000 })
  for (const { name, way, channel } of calls) {
    const asked = channel.queueDeclare('queue', { passive: true })
    if (way === 'TimeoutError')
      await outing.failure(asked, 'ChannelClosedError', `a call after ${name}, which timed out`)
    else outing.equal((await asked).consumerCount, 0, `consumers after ${name}, which was given up`)
    await channel.close()
  }
  outing.equal(protocol.stats().openChannels, openChannels, 'channels that are open')
}
