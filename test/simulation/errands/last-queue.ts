import type { Channel } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

/**
 * '' is the queue that the channel has declared last, as methods are written: before its answer, without one, and after one that was
 * refused; and so what a recovery makes again.
 */
export const lastQueue: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const seen: string[] = []
  const consume = (channel: Channel) =>
    channel.basicConsume((_, body, { routingKey }) => void seen.push(`${body} by ${routingKey}`), '', { noAck: true })
  const channels: Channel[] = []
  const expected: string[] = []
  for (const noWait of [false, true]) {
    const channel = await protocol.channel()
    channels.push(channel)
    const name = noWait ? 'without an answer' : 'with an answer'
    // Nothing waits for what was written before it.
    const calls = [
      channel.queueDeclare('before'),
      noWait ? channel.queueDeclare(name, { noWait }) : channel.queueDeclare(name),
      channel.queueBind('', 'amq.topic', `${name} bound`, { noWait }),
      channel.queueBind('', 'amq.topic', `${name} unbound`),
      channel.queueUnbind('', 'amq.topic', `${name} unbound`),
      consume(channel),
    ]
    await Promise.all(calls)
    expected.push(`x by ${name}`, `x by ${name} bound`)
  }
  const named = await protocol.channel()
  const [first, second] = await Promise.all([named.queueDeclare(), named.queueDeclare(), consume(named)])
  await named.queueBind(first.queue, 'amq.topic', 'first')
  await named.queueBind('', 'amq.topic', 'second')
  expected.push('x by second')
  const look = async (when: string): Promise<void> => {
    seen.length = 0
    for (const name of ['with an answer', 'without an answer']) {
      await protocol.publish('x', '', name)
      await protocol.publish('x', 'amq.topic', `${name} bound`)
      await protocol.publish('x', 'amq.topic', `${name} unbound`, {}, { mandatory: false })
    }
    await protocol.publish('x', 'amq.topic', 'second')
    await outing.sleep(50)
    outing.equal(seen.sort(), expected.sort(), `what the last queues have ${when}`)
    const bindings = [...control.evidence().entities.keys()].filter(key => / bound|first|second/.test(key))
    outing.equal(bindings.length, 4, `bindings ${when}`)
  }
  await look('at first')
  await lose(outing, own)
  await look('after a recovery')
  outing.expect(first.queue !== second.queue, 'two queues have one name')
  for (const channel of channels) {
    const { messageCount } = await channel.queuePurge('')
    outing.equal(messageCount, 0, 'messages in the last queue')
    await channel.queueDelete('')
  }
  await lose(outing, own)
  const left = [...control.evidence().entities.keys()].filter(key => key.includes('answer'))
  outing.equal(left, [], 'what is left of queues that were deleted')
  await outing.failure(named.queueDeclare('before', { durable: false }), 'ChannelClosedError', 'another declare')
}
