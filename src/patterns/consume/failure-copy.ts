import { ChannelClosedError } from '../../errors.ts'
import { describeThrown } from '../../lib/thrown.ts'
import { RETRIES } from '../../protocol/delivery-count.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { cutText } from '../../protocol/text.ts'
import type { FieldTable } from '../../protocol/values.ts'
import { WireTypes } from '../../protocol/wire-types.ts'
import type { ReliablePublisher } from '../publish/reliable-publisher.ts'
import { ORIGINAL_EXCHANGE, ORIGINAL_ROUTING_KEY } from './first-published.ts'
import type { Message } from './message.ts'

/** Bytes that are kept of the error, so that the header frame hardly grows. */
const MESSAGE_BYTES = 1_000
const STACK_BYTES = 4_000
/** And if that is too much. */
const SHORT_MESSAGE_BYTES = 200

/**
 * Headers that speak of the original's way to its consumer, and would be false of the copy: CC and BCC would route it to
 * where the message went; the others say how often and from which place the original was delivered. `x-death` is history,
 * and stays: RabbitMQ goes on counting in it.
 */
const DROPPED: ReadonlySet<string> = new Set([
  'CC',
  'BCC',
  'x-delivery-count',
  'x-acquired-count',
  'x-stream-offset',
  RETRIES,
])

const DROPPED_BY_RETRIES: ReadonlySet<string> = new Set([...DROPPED, 'x-death'])
/** Milliseconds for a copy to be confirmed. A queue that was declared while its node died may never confirm anything. */
const COPY_TIMEOUT = 30_000

/**
 * The properties of a copy of a failed message, with the failure in its headers. The copy does not expire, so that a
 * person can look at it.
 *
 * @param check throws if properties cannot be sent. If it does not fit, parts are left out: first the stack, later the headers of the message. The smallest copy has the body and its origin.
 */
export function failureCopy(
  message: Message,
  error: unknown,
  check: (properties: BasicProperties) => void,
): BasicProperties {
  const { headers = {}, expiration: _expiration, ...properties } = message.properties.toJSON()
  const { message: text, stack } = describeThrown(error)
  const origin = originOf(message)
  const short = { 'x-exception-message': cutText(text, SHORT_MESSAGE_BYTES), ...origin }
  const whole = { ...short, 'x-exception-message': cutText(text, MESSAGE_BYTES) }
  const attempts: readonly (() => BasicProperties)[] = [
    () => ({
      ...properties,
      headers: copied(headers, { ...whole, 'x-exception-stacktrace': cutText(stack, STACK_BYTES) }),
    }),
    () => ({ ...properties, headers: copied(headers, whole) }),
    () => ({ ...properties, headers: copied(headers, short) }),
    () => ({ ...properties, headers: copied(sendable(headers, check), short) }),
    () => ({ ...properties, headers: short }),
    () => ({ headers: short }),
  ]
  for (const attempt of attempts) {
    const copy = attempt()
    if (isSendable(copy, check)) return copy
  }
  return { headers: origin }
}

/**
 * The properties of a copy of a failed message that waits for its next attempt. It does not expire while it waits, and has no
 * `x-death`: RabbitMQ before 4 drops a message that is dead-lettered to a queue in which it has expired before.
 */
export function retryCopy(message: Message): BasicProperties {
  const { headers = {}, expiration: _expiration, ...properties } = message.properties.toJSON()
  const added = { [RETRIES]: message.retries + 1, ...originOf(message) }
  return { ...properties, headers: copied(headers, added, DROPPED_BY_RETRIES) }
}

function originOf({ envelope }: Message): FieldTable {
  return { [ORIGINAL_EXCHANGE]: envelope.exchangeName, [ORIGINAL_ROUTING_KEY]: envelope.routingKey }
}

/** The message's own headers, with these added, and each as it was on the wire. */
function copied(headers: FieldTable, added: FieldTable, dropped = DROPPED): FieldTable {
  const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.has(name)))
  const all: FieldTable = { ...kept, ...added }
  const types = [...(WireTypes.of(headers)?.values() ?? [])].filter(({ key }) => key in kept && !(key in added))
  if (types.length > 0) WireTypes.remember(all, types)
  return all
}

/** Headers that can be sent, checked one by one: a received header may be impossible to write, such as NaN. */
function sendable(headers: FieldTable, check: (properties: BasicProperties) => void): FieldTable {
  return Object.fromEntries(
    Object.entries(headers).filter(([name, value]) => isSendable({ headers: { [name]: value } }, check)),
  )
}

function isSendable(properties: BasicProperties, check: (properties: BasicProperties) => void): boolean {
  try {
    check(properties)
    return true
  } catch {
    return false
  }
}

/**
 * Publish a copy of a message, which some queue must take, unless the broker takes the message back before that. The broker
 * refuses a `userId` that is not the login, and a direct `replyTo` (406): such a copy goes without.
 */
export async function publishCopy(
  publisher: ReliablePublisher,
  { body, signal }: Message,
  { exchangeName, routingKey }: { readonly exchangeName: string; readonly routingKey: string },
  properties: BasicProperties,
): Promise<void> {
  const { userId, ...named } = properties
  const { replyTo, ...bare } = named
  const less = [...(userId === undefined ? [] : [named]), ...(replyTo === undefined ? [] : [bare])]
  for (let sent: BasicProperties | undefined = properties; sent !== undefined; sent = less.shift()) {
    try {
      await publisher.publish(body, exchangeName, routingKey, sent, true, { signal, timeout: COPY_TIMEOUT })
      return
    } catch (error) {
      if (less.length === 0 || !(error instanceof ChannelClosedError) || error.replyCode !== 406) throw error
    }
  }
}
