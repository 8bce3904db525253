import {
  BasicAck,
  BasicCancel,
  BasicConsume,
  BasicNack,
  BasicPublish,
  BasicQos,
  BasicReject,
  ChannelClose,
  ChannelOpen,
  ConfirmSelect,
  QueueDeclare,
} from '../../../src/protocol/methods.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

const METHODS = {
  open: ChannelOpen,
  close: ChannelClose,
  declare: QueueDeclare,
  confirm: ConfirmSelect,
  publish: BasicPublish,
  qos: BasicQos,
  consume: BasicConsume,
  cancel: BasicCancel,
  ack: BasicAck,
  nack: BasicNack,
  reject: BasicReject,
}

/** What the intent level keeps for later, a channel, a queue, a consumer, it does not ask for again; and it asks for nothing of itself. */
export const thrift: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const other = await (await connect()).protocol.channel({ publisherConfirms: true })
  for (const queue of ['queue', 'failing', 'requests', 'dead']) await other.queueDeclare(queue)
  let before = new Map<string, number>()
  const expect = (what: string, should: { readonly [name in keyof typeof METHODS]?: number }): void => {
    const now = new Map(Object.entries(METHODS).map(([name, method]) => [name, own.wrote(method)]))
    const since = [...now].map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const)
    outing.equal(Object.fromEntries(since.filter(([, count]) => count > 0)), should, `what is written for ${what}`)
    before = now
  }
  expect('a connection', {})
  for (let n = 0; n < 3; n++) await protocol.publish(`${n}`, '', 'queue')
  expect('publishes', { open: 1, confirm: 1, publish: 3 })
  const publisher = await protocol.publisher()
  for (let n = 0; n < 3; n++) await publisher.publish(`${n}`, 'queue')
  expect('a publisher', { open: 1, confirm: 1, publish: 3 })
  await publisher.close()
  expect('the close of a publisher', { close: 1 })
  let handled = 0
  const consumer = await protocol.consumer('queue', () => void handled++)
  await outing.until(() => handled === 6, 'six messages', 2_000)
  await outing.sleep(50)
  expect('a consumer', { open: 1, qos: 1, consume: 1, ack: 6 })
  await consumer.close()
  expect('the close of a consumer', { close: 1, cancel: 1 })
  const failing = await protocol.consumer(
    'failing',
    () => {
      throw new RangeError('no use for it')
    },
    { onFailure: { retries: 2, delays: [300], otherwise: { exchangeName: '', routingKey: 'dead' } } },
  )
  for (const text of ['1', '2']) await other.publish(text, '', 'failing')
  await outing.until(() => control.evidence().queued.get('dead')?.length === 2, 'two messages that failed', 20_000)
  // A message is acked when its copy is safe, in a queue that is not too new.
  await outing.sleep(3_000)
  expect('retries', { open: 3, close: 1, declare: 1, confirm: 1, publish: 6, qos: 1, consume: 1, ack: 6 })
  outing.expect(control.evidence().entities.has('queue failing.retry.300'), 'the queue for retries has another name')
  await failing.close()
  expect('the close of a consumer that retries', { close: 2, cancel: 1 })
  const server = await protocol.rpcServer('requests', request => `answer to ${request.text()}`)
  const client = await protocol.rpcClient()
  for (let n = 0; n < 3; n++) await client.call('requests', `${n}`)
  await outing.sleep(50)
  expect('questions', { open: 3, confirm: 2, publish: 6, qos: 1, consume: 2, ack: 3 })
  await client.close()
  await server.close()
  expect('the end of questions', { close: 3, cancel: 1 })
  await protocol.transaction(async channel => {
    await channel.basicPublish('x', '', 'queue')
  })
  for (let n = 0; n < 2; n++) await protocol.queueDeclare('queue', { passive: true })
  expect('calls of a protocol', { open: 3, close: 3, declare: 2, publish: 1 })
  await outing.sleep(200_000)
  expect('nothing', { close: 1 })
}
