import { type AmqpError, MessageReturnedError, PublishFailedError, type PublishOutcome } from '../../errors.ts'
import { BASIC_PUBLISH } from '../../protocol/basic-codec.ts'
import type { CloseReason } from '../close-reason.ts'
import type { ReturnedMessage } from '../consume/delivery.ts'
import { describeReply } from '../rabbitmq.ts'
import type { PendingPublish } from './confirms.ts'

/** `publish of message "m1" to exchange "logs" with routing key "info"`, for errors. */
export function describePublish(
  exchange: string,
  routingKey: string,
  messageId: string | undefined,
  tag?: number,
): string {
  const message = messageId === undefined ? 'a message' : `message "${messageId}"`
  const place = exchange === '' ? 'the default exchange' : `exchange "${exchange}"`
  const number = tag === undefined ? '' : ` (delivery tag ${tag})`
  return `publish of ${message} to ${place} with routing key "${routingKey}"${number}`
}

/** The same for a publish whose fate an error tells. */
export function describePending({ exchange, routingKey, properties }: PendingPublish, tag?: number): string {
  return describePublish(exchange, routingKey, properties?.messageId, tag)
}

/** The error for a nack. */
export function nackError(publish: PendingPublish | undefined, tag: number): PublishFailedError {
  const what = publish === undefined ? `a publish (delivery tag ${tag})` : describePending(publish, tag)
  return new PublishFailedError(`${what} was refused by the broker (basic.nack)`, { deliveryTag: tag })
}

/** The error for a message that came back. */
export function returnError(
  publish: PendingPublish | undefined,
  returned: ReturnedMessage,
  tag?: number,
): MessageReturnedError {
  const { exchangeName, routingKey, replyCode, replyText } = returned.envelope
  const { messageId } = publish?.properties ?? returned.properties
  const what = describePublish(exchangeName, routingKey, messageId, tag)
  return new MessageReturnedError(`${what} came back: ${describeReply(replyCode, replyText)}`, {
    replyCode,
    replyText,
    body: returned.body,
    envelope: returned.envelope,
    properties: returned.properties,
  })
}

/** The error for a publish that was not settled when its channel or connection ended. */
export function unsettledError(ending: CloseReason, publish: PendingPublish, tag?: number): AmqpError {
  const guilty = isRefused(ending, publish)
  const outcome: PublishOutcome = guilty ? 'refused' : 'unknown'
  return ending.errorFor(describePending(publish, tag), guilty, outcome)
}

/**
 * Whether the server ended the channel because of this publish: it names the exchange that it refused, and for a topic
 * that the user may not write to the routing key too. Of publishes that it does not name nobody knows.
 */
export function isRefused(ending: CloseReason, { exchange, routingKey }: PendingPublish): boolean {
  const { methodKey, replyText } = ending
  if (methodKey !== BASIC_PUBLISH || replyText === undefined) return false
  if (!replyText.includes(`exchange '${exchange}'`)) return false
  return !replyText.includes(" topic '") || replyText.includes(` topic '${routingKey}' in exchange`)
}
