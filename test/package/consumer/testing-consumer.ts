// A strict program that uses every public name of `asyncamqp/testing`. It is compiled, never run.
import {
  type AmqpProtocol,
  type Channel,
  type Consumer,
  connect,
  type Message,
  type Publisher,
  type RpcClient,
} from 'asyncamqp'
import {
  Broker,
  type BrokerBinding,
  type BrokerConsumer,
  type BrokerMessage,
  type BrokerOptions,
  type CloseReason,
  type ConnectionView,
  CreatedMessage,
  type CreateMessageOptions,
  createMessage,
  type ExchangeView,
  type MessageSettlement,
  type Permissions,
  type PublicOf,
  type QueuedMessage,
  type QueueView,
  type ReleaseName,
  standIn,
  startBroker,
  type UserOptions,
  type WaitOptions,
} from 'asyncamqp/testing'

const release: ReleaseName = '4.3'
const permissions: Permissions = { configure: '^$', write: '.*', read: '.*' }
const user: UserOptions = { password: 'secret', permissions: { '/': permissions } }
const options: BrokerOptions = { release, users: { me: user }, vhosts: ['test'], heartbeat: 0, channelMax: 10 }
const wait: WaitOptions = { timeout: 1_000 }

export async function exercise(): Promise<void> {
  await using broker: Broker = await startBroker(options)
  await using protocol = await connect(broker.inMemory)
  await using other = await connect(broker.url)
  await protocol.queueDeclare('orders')
  await protocol.publish({ id: 1 }, '', 'orders')
  const queue: QueueView = broker.queue('orders')
  await queue.hasReady(1, wait)
  const ready: readonly QueuedMessage[] = queue.ready
  const published: readonly BrokerMessage[] = broker.published
  const consumers: readonly BrokerConsumer[] = queue.consumers
  console.log(ready[0]?.redelivered, published[0]?.body.length, consumers[0]?.prefetchCount, other.state)
  const exchange: ExchangeView = broker.exchange('amq.direct')
  const bindings: readonly BrokerBinding[] = exchange.bindings
  const connections: readonly ConnectionView[] = broker.connections
  console.log(bindings[0]?.routingKey, connections[0]?.limits.frameMax)
  const reason: CloseReason = { replyCode: 320, replyText: 'maintenance' }
  broker.closeConnections(reason)
  await broker.restart()
}

export function handle(): MessageSettlement | undefined {
  const described: CreateMessageOptions = {
    properties: { contentType: 'application/json' },
    envelope: { deliveryTag: 2 },
  }
  const created: CreatedMessage = createMessage({ id: 1 }, described)
  const message: Message = created
  message.ack()
  return created.settlement
}

// Code under test may ask for the real classes, or for their public members.
declare function real(
  protocol: AmqpProtocol,
  channel: Channel,
  publisher: Publisher,
  consumer: Consumer,
  rpcClient: RpcClient,
  message: Message,
): void
declare function open(publisher: PublicOf<Publisher>, rpcClient: PublicOf<RpcClient>, message: PublicOf<Message>): void

const channel = standIn<Channel>({
  basicPublish: async (payload, exchangeName, routingKey) => console.log(payload.length, exchangeName, routingKey),
  waitForConfirms: async () => {},
})
const publisher = standIn<Publisher>({ publish: async (payload, routingKey) => console.log(payload, routingKey) })
const consumer = standIn<Consumer>({ close: async () => {} })
const rpcClient = standIn<RpcClient>({ call: async (_routingKey, payload) => createMessage(payload) })
const protocol = standIn<AmqpProtocol>({
  channel: async () => channel,
  publisher: async () => publisher,
  rpcClient: async () => rpcClient,
})
const message = standIn<Message>({ text: () => 'a body', ack: () => true })

export function hand(other: AmqpProtocol, real1: Publisher, real2: RpcClient): void {
  real(protocol, channel, publisher, consumer, rpcClient, message)
  open(real1, real2, createMessage('a body'))
  const all: PublicOf<AmqpProtocol> = other
  const byHand: PublicOf<RpcClient> = {
    call: async () => createMessage('a reply'),
    close: async () => {},
    [Symbol.asyncDispose]: async () => {},
  }
  open(real1, byHand, message)
  // @ts-expect-error A publisher has no such method.
  standIn<Publisher>({ send: () => {} })
  console.log(all.state)
}

export const classes = [Broker, CreatedMessage]
