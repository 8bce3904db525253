import { Message, StreamMessage } from './message.ts'

/** Headers of a copy of a failed message that name the exchange and routing key to which it was first published. */
export const ORIGINAL_EXCHANGE = 'x-original-exchange'
export const ORIGINAL_ROUTING_KEY = 'x-original-routingKey'

/** A message that came back from a wait, with the exchange and routing key that it was first published to; else itself. */
export function asFirstPublished(message: Message): Message {
  // A message of a stream waits in its consumer.
  if (message.envelope.exchangeName !== '' || message instanceof StreamMessage) return message
  const { headers } = message.properties
  const exchangeName = headers?.[ORIGINAL_EXCHANGE]
  const routingKey = headers?.[ORIGINAL_ROUTING_KEY]
  if (message.retries === 0 || typeof exchangeName !== 'string' || typeof routingKey !== 'string') return message
  const { body, envelope, properties, acker } = message
  return new Message(body, { ...envelope, exchangeName, routingKey }, properties, acker)
}
