import { RETRIES } from '../../protocol/delivery-count.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { copied } from './failure-copy.ts'
import { Message } from './message.ts'

const EXCHANGE = 'x-original-exchange'
const ROUTING_KEY = 'x-original-routingKey'

/** The properties of a copy of a failed message that waits for its next attempt. It does not expire while it waits. */
export function retryCopy(message: Message): BasicProperties {
  const { headers = {}, expiration: _expiration, ...properties } = message.properties.toJSON()
  const { exchangeName, routingKey } = message.envelope
  const added = { [RETRIES]: message.retries + 1, [EXCHANGE]: exchangeName, [ROUTING_KEY]: routingKey }
  return { ...properties, headers: copied(headers, added) }
}

/** A message that came back from a wait, with the exchange and routing key that it was first published to; else itself. */
export function asFirstPublished(message: Message): Message {
  if (message.envelope.exchangeName !== '') return message
  const { headers } = message.properties
  const exchangeName = headers?.[EXCHANGE]
  const routingKey = headers?.[ROUTING_KEY]
  if (message.retries === 0 || typeof exchangeName !== 'string' || typeof routingKey !== 'string') return message
  const { body, envelope, properties, acker } = message
  return new Message(body, { ...envelope, exchangeName, routingKey }, properties, acker)
}
