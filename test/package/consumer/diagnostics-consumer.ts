// A strict program that observes everything. It is compiled, never run.
import { channel, subscribe } from 'node:diagnostics_channel'
import type {
  AmqpProtocol,
  CallContext,
  ConnectContext,
  ConnectionStats,
  ConsumerStats,
  Endpoint,
  IncomingContext,
  LifecycleEvent,
  LifecycleEventName,
  LifecycleEvents,
  LogFormat,
  OutgoingContext,
  ProcessContext,
  ProcessKind,
  ProcessResult,
  PublishContext,
  PublisherStats,
  PublishResult,
  RpcCallContext,
  RpcCallResult,
  RpcHandleContext,
  RpcHandleResult,
  SettleContext,
} from 'asyncamqp'

function server({ serverAddress, serverPort, virtualHost }: Endpoint): string {
  return `${serverAddress}:${serverPort}/${virtualHost}`
}

function outgoing({ exchangeName, routingKey, bodySize }: OutgoingContext): string {
  return `${exchangeName} ${routingKey} ${bodySize}`
}

function incoming({ queueName, deliveryTag, headers }: IncomingContext): string {
  return `${queueName} ${deliveryTag} ${Object.keys(headers ?? {}).length}`
}

subscribe('tracing:asyncamqp:publish:asyncEnd', message => {
  const context = message as PublishContext
  const outcome: PublishResult | undefined = context.outcome
  console.log(outgoing(context), outcome, context.attempts, server(context))
})
subscribe('tracing:asyncamqp:process:start', message => {
  const context = message as ProcessContext
  const kind: ProcessKind = context.kind
  const outcome: ProcessResult | undefined = context.outcome
  console.log(incoming(context), kind, outcome, context.attempt)
})
subscribe('tracing:asyncamqp:settle:start', message => console.log((message as SettleContext).deliveryTag))
subscribe('tracing:asyncamqp:call:start', message => console.log((message as CallContext).method))
subscribe('tracing:asyncamqp:connect:start', message => console.log((message as ConnectContext).servers.join()))
subscribe('tracing:asyncamqp:rpc.call:asyncEnd', message => {
  const context = message as RpcCallContext
  const outcome: RpcCallResult | undefined = context.outcome
  console.log(outgoing(context), outcome)
})
subscribe('tracing:asyncamqp:rpc.handle:asyncEnd', message => {
  const context = message as RpcHandleContext
  const outcome: RpcHandleResult | undefined = context.outcome
  console.log(incoming(context), outcome)
})

const lost: LifecycleEventName = 'connection.lost'
subscribe(`asyncamqp:${lost}`, message => {
  const { error, serverAddress } = message as LifecycleEvent<'connection.lost'>
  const reason: LifecycleEvents['connection.lost']['error'] = error
  console.log(reason.message, serverAddress)
})
console.log(channel('asyncamqp:connection.recovered').hasSubscribers)
export const format: LogFormat = 'text'

export function figures(protocol: AmqpProtocol): string {
  const stats: ConnectionStats = protocol.stats()
  const publishers: readonly PublisherStats[] = stats.publishers
  const consumers: readonly ConsumerStats[] = stats.consumers
  return `${stats.state} ${stats.reconnects} ${publishers.length} ${consumers.length}`
}
