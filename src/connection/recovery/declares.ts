import { ExchangeBind, ExchangeDeclare, QueueBind } from '../../protocol/methods.ts'
import type { BareChannel } from './bare-channel.ts'
import type { BindingRecord, ExchangeRecord } from './records.ts'

/** Declare an exchange as it was declared. */
export function declareExchange(record: ExchangeRecord, channel: BareChannel): Promise<unknown> {
  const { exchangeName, typeName, durable, autoDelete, internal, arguments: args } = record.definition
  const sent = { exchangeName, typeName, durable, autoDelete, internal, arguments: args }
  return channel.call(ExchangeDeclare, sent, `exchange.declare of "${exchangeName}"`)
}

/**
 * Bind what was bound.
 *
 * @param isOfLast it is a binding of the queue declared last on the channel, whose name is not known yet.
 */
export function bind(record: BindingRecord, channel: BareChannel, isOfLast: boolean): Promise<unknown> {
  const { kind, source, destination, routingKey, arguments: args } = record.definition
  if (kind === 'exchange') {
    const sent = { exchangeDestination: destination, exchangeSource: source, routingKey, arguments: args }
    return channel.call(ExchangeBind, sent, `exchange.bind of "${destination}"`)
  }
  const sent = { queueName: isOfLast ? '' : destination, exchangeName: source, routingKey, arguments: args }
  return channel.call(QueueBind, sent, `queue.bind of "${destination}"`)
}
