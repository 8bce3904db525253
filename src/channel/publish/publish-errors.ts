import { type AmqpError, MessageReturnedError, PublishFailedError } from '../../errors.ts'
import { BASIC_PUBLISH } from '../../protocol/basic-codec.ts'
import { ownCopy } from '../../protocol/bytes.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { CloseReason } from '../close-reason.ts'
import type { ReturnedMessage } from '../consume/delivery.ts'
import { describeReply } from '../rabbitmq.ts'
import {
  describeMessage,
  describePublish,
  type OutgoingMessage,
  outcomeOf,
  type PendingPublish,
  refusedOutcome,
} from './message.ts'

const NO_ROUTE = 312

/** Where a message goes. */
type Place = Pick<OutgoingMessage, 'exchange' | 'routingKey'>

/** The error for a nack; `tag` is its delivery tag. */
export function nackError(publish: PendingPublish, tag: number): PublishFailedError {
  const what = publish.tag === 0 ? `a publish (delivery tag ${tag})` : describeMessage(publish)
  return new PublishFailedError(`${what} was refused by the broker (basic.nack)`, {
    deliveryTag: tag,
    outcome: publish.tag === 0 ? 'refused' : refusedOutcome(publish),
  })
}

/** The error for a message that came back; without `publish`, for one that no promise reports. */
export function returnError(returned: ReturnedMessage, publish?: PendingPublish): MessageReturnedError {
  const { body, envelope, properties, refused } = returned
  const { exchangeName, routingKey, replyCode, replyText } = envelope
  const what = describePublish(exchangeName, routingKey, publish?.properties ?? properties, publish?.tag ?? 0)
  const taken = replyCode === NO_ROUTE ? ', no queue took it' : ''
  const why = refused === undefined ? '' : `; ${refused.reason}`
  return new MessageReturnedError(`${what} came back: ${describeReply(replyCode, replyText)}${taken}${why}`, {
    replyCode,
    replyText,
    body,
    envelope,
    properties: hidden(properties),
    outcome: publish === undefined ? 'refused' : refusedOutcome(publish),
  })
}

/** Node prints an uncaught error as it is: the bytes of its properties must be their own, and not show. */
export function hidden(properties: Properties): Properties {
  const { wireFlags, wireBytes, wireStart, wireEnd } = properties
  const bytes = ownCopy(wireBytes, wireStart, wireEnd)
  const copy = new (properties.constructor as typeof Properties)(wireFlags, bytes, 0, bytes.length)
  for (const name of ['wireBytes', 'wireStart', 'wireEnd', 'decoded']) {
    Object.defineProperty(copy, name, { enumerable: false })
  }
  return copy
}

/**
 * Whether the server found this publish at fault when it ended the channel or the connection: it names the exchange that it
 * refused, and for a topic that the user may not write to the routing key too.
 */
export function isRefused(ending: CloseReason, { exchange, routingKey }: Place): boolean {
  const { methodKey, replyText = '' } = ending
  if (methodKey !== BASIC_PUBLISH || !replyText.includes(`exchange '${exchange}'`)) return false
  return !replyText.includes(" topic '") || replyText.includes(` topic '${routingKey}' in exchange`)
}

/** The unsettled messages that the server may have meant: it does not always name the exchange. */
export function suspects<T extends Place>(ending: CloseReason, unsettled: readonly T[]): readonly T[] {
  if (ending.methodKey !== BASIC_PUBLISH) return []
  if (!/\bexchange '/.test(ending.replyText ?? '')) return unsettled
  return unsettled.filter(publish => isRefused(ending, publish))
}

/**
 * The error for a publish that was not settled when its channel or connection ended. `meant` if the server can only
 * have meant this one.
 */
export function unsettledError(ending: CloseReason, publish: PendingPublish, meant: boolean): AmqpError {
  return ending.errorFor(describeMessage(publish), meant, meant ? refusedOutcome(publish) : outcomeOf(publish))
}
