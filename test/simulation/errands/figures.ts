import type { ConnectionStats, ConsumerStats, Message } from '../../../src/index.ts'
import type { BrokerControl } from '../broker-control.ts'
import type { Errand, Outing, OwnConnection } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** Milliseconds in which a recovery is looked at, one by one. */
const LOOKS = 30

const consumerOf = ({ consumers }: ConnectionStats, queue: string): ConsumerStats | undefined =>
  consumers.find(({ queueName }) => queueName === queue)

/** At no moment of a recovery does it say more than the broker knows. */
async function recover(outing: Outing, own: OwnConnection, control: BrokerControl): Promise<void> {
  const { protocol, cut } = own
  const { reconnects } = protocol.stats()
  const wrong = new Set<string>()
  const look = (): void => {
    const { state, consumers, openMs, recoveringMs } = protocol.stats()
    if (state !== protocol.state) wrong.add(`the state is ${state}, and not ${protocol.state}`)
    if ((openMs > 0 && state !== 'open') || (recoveringMs > 0 && state !== 'recovering'))
      wrong.add(`${state}, open for ${openMs} ms and recovering for ${recoveringMs} ms`)
    const there = control.evidence().consumers
    for (const { queueName, state: is } of consumers)
      if (is === 'consuming' && !there.get(queueName)?.length) wrong.add(`${queueName} has no consumer that is ${is}`)
  }
  protocol.once('disconnected', look)
  cut()
  for (let n = 0; n < LOOKS; n++) {
    await outing.sleep(1)
    look()
  }
  await protocol.ready({ timeout: 20_000 })
  await outing.sleep(10)
  outing.equal([...wrong], [], 'figures during a recovery')
  const after = protocol.stats()
  outing.equal(after.reconnects, reconnects + 1, 'recoveries that are counted')
  const states = after.consumers.map(({ state }) => state)
  outing.equal(new Set(states).size === 1 && states[0], 'consuming', 'the states of consumers after a recovery')
}

/** What `stats()` says is what the broker has: of publishes without a confirm, of a block, of messages in hand. */
export const figures: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  for (const queue of ['handled', 'called', 'free']) await protocol.queueDeclare(queue)
  const publisher = await protocol.publisher()
  const { published, delivered } = protocol.stats()
  control.withholdConfirms()
  const sent = ['1', '2', '3'].map(text => outing.meanwhile(publisher.publish(text, 'handled')))
  await outing.sleep(20)
  const waiting = protocol.stats()
  outing.equal([waiting.unconfirmed, publisher.stats().unconfirmed], [3, 3], 'publishes without a confirm')
  outing.equal(waiting.published - published, 3, 'messages that were sent')
  control.releaseConfirms()
  await Promise.all(sent)
  outing.equal(protocol.stats().unconfirmed, 0, 'publishes without a confirm, of three')
  control.block('low on memory')
  // The first one meets the block, and the next one waits for its end.
  const blocked = ['4', '5'].map(async (text, n) => {
    await outing.sleep(10 * n)
    await publisher.publish(text, 'handled')
  })
  await outing.sleep(110)
  const { blockedReason, unconfirmed, waiting: count, totalBlockedMs } = protocol.stats()
  const seen = [blockedReason, unconfirmed, count, totalBlockedMs >= 100]
  outing.equal(seen, ['low on memory', 1, 1, true], 'a block')
  control.unblock()
  await Promise.all(blocked)
  const { totalBlockedMs: most } = protocol.stats()
  await outing.sleep(50)
  const { blockedReason: none, totalBlockedMs: since } = protocol.stats()
  outing.equal([none ?? 'none', since], ['none', most], 'a block that is over')
  const tags = new Set<string>()
  const work = ({ envelope }: Message): Promise<void> => {
    tags.add(envelope.consumerTag)
    return outing.sleep(200)
  }
  const consumer = await protocol.consumer('handled', work, { prefetchCount: 3, concurrency: 2 })
  const channel = await protocol.channel()
  await channel.basicConsume(() => {}, 'called', { noAck: true })
  await channel.basicConsume(() => {}, 'free')
  await outing.sleep(50)
  const stats = protocol.stats()
  const { handlersRunning, buffered, unacknowledged, concurrency, isPaused } = consumerOf(stats, 'handled') ?? {}
  outing.equal([handlersRunning, buffered, unacknowledged, concurrency, isPaused], [2, 1, 3, 2, false], 'a consumer')
  outing.equal(control.evidence().unacked.get('handled'), 3, 'what the broker has as unacked')
  outing.equal([...tags], [consumerOf(stats, 'handled')?.consumerTag], 'the tag of a consumer')
  outing.equal([stats.handlersRunning, stats.unacknowledged], [2, 3], 'sums over all consumers')
  const of = (queue: string) => consumerOf(stats, queue)?.unacknowledged ?? 'unknown'
  outing.equal([of('called'), of('free')], [0, 'unknown'], 'what callbacks have in hand')
  await outing.sleep(1_000)
  const { delivered: all, handlersRunning: left, unacknowledged: held } = protocol.stats()
  outing.equal([all - delivered, left, held], [5, 0, 0], 'what was delivered, and is in hand')
  for (let n = 0; n < 3; n++) await recover(outing, own, control)
  control.cancelConsumers('handled')
  await outing.sleep(20)
  outing.equal(consumer.stats().state, 'restarting', 'the state of a consumer that the broker cancelled')
  await consumer.close()
  outing.equal(consumer.stats().state, 'stopped', 'the state of a consumer that was closed')
}
