import type { PublishContext } from '../../diagnostics/publish.ts'
import { AmqpError, abortedBy, EncodeError, type PublishOutcome } from '../../errors.ts'
import { isRejecting, rejectAtAwait, settleAfter } from '../../lib/await-site.ts'
import { types } from '../../lib/platform.ts'
import { anew } from '../../lib/thrown.ts'
import type { Place, WaitBounds, Waiter, WaitList } from '../../lib/wait-list.ts'
import { encodeError } from '../../protocol/encode-error.ts'
import { inspectShort } from '../../protocol/inspect-short.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { Properties } from '../../protocol/received-properties.ts'
import type { CallOptions } from '../call-options.ts'
import type { ReturnedMessage } from '../consume/delivery.ts'

/** A message as a program gives it. */
export interface OutgoingMessage {
  readonly exchange: string
  readonly routingKey: string
  readonly mandatory: boolean
  readonly properties: BasicProperties | undefined
  /** Undefined when it is no longer needed: the message is written, and cannot come back. */
  payload: Uint8Array | string | undefined
}

/** An outgoing message that a caller waits for, or that may come back. Plain fields: one is made for each. */
export interface PendingPublish extends OutgoingMessage {
  /** Its caller waits for the broker's confirm, if there is one, and not only until it is written. */
  readonly confirmed: boolean
  /** How often it was written: its outcome depends on that. */
  writes: number
  /** Its delivery tag on the channel on which it was written last; 0 if the broker does not confirm it. */
  tag: number
  returned: ReturnedMessage | undefined
  /**
   * Undefined if no caller waits (any more). A `resolve` with a rejected promise would spare `reject` (56 bytes of "confirm 16 B"), but
   * end later than a promise that is resolved after it.
   */
  resolve: ((written: void | PromiseLike<void>) => void) | undefined
  reject: ((error: Error) => void) | undefined
  /** Its place in the list of unwritten messages, while it is there. */
  waiting: Place | undefined
  /** What ends the wait for it, if its caller bounds that. */
  bound: Place | undefined
}

/** Ends a publish: it is not written if it is not yet, and its promise rejects with the error for its outcome. */
export type Withdraw = (makeError: (outcome: PublishOutcome) => Error) => void

/** What ends the wait for a publish. */
export interface PublishBounds extends CallOptions {
  /** Milliseconds that are left of `timeout`. Default: all. */
  readonly timeLeft?: number | undefined
  /** Gets the function that ends it, for a caller with its own reasons. */
  readonly withdrawnBy?: ((withdraw: Withdraw) => void) | undefined
}

export function pendingPublish(
  payload: Uint8Array | string | undefined,
  exchange: string,
  routingKey: string,
  properties: BasicProperties | undefined,
  mandatory: boolean,
  confirmed: boolean,
): PendingPublish {
  return {
    exchange,
    routingKey,
    mandatory,
    properties,
    payload,
    confirmed,
    writes: 0,
    tag: 0,
    returned: undefined,
    resolve: undefined,
    reject: undefined,
    waiting: undefined,
    bound: undefined,
  }
}

/** The same of a message that is traced, with what the tracing tools have made of it. */
export function tracedPublish(context: PublishContext, payload: Uint8Array | string): PendingPublish {
  const { exchangeName, routingKey, sent, mandatory, confirmed } = context
  const publish = pendingPublish(payload, exchangeName, routingKey, sent, mandatory, confirmed)
  context.isSentAs(publish)
  return publish
}

/** The promise of a publish, which gets its functions. */
export function promiseOf(publish: PendingPublish): Promise<void> {
  return new Promise((resolve, reject) => {
    publish.resolve = resolve
    publish.reject = reject
  })
}

/** Resolve its promise; harmless if no caller waits. If it has `written` to wait for, when that ends. */
export function fulfil(publish: PendingPublish, written?: Promise<void>): void {
  const { resolve, bound } = publish
  if (resolve === undefined) return
  publish.resolve = undefined
  publish.reject = undefined
  bound?.leave()
  if (isRejecting()) void settleAfter(() => resolve(written))
  else resolve(written)
}

/** Reject its promise. Returns false if no caller waits. */
export function refuse(publish: PendingPublish, error: Error): boolean {
  const { resolve, reject, bound } = publish
  if (resolve === undefined || reject === undefined) return false
  publish.resolve = undefined
  publish.reject = undefined
  bound?.leave()
  if (publish.confirmed) rejectAtAwait(resolve, reject, error)
  else reject(error)
  return true
}

/** Throw an AbortError or a TimeoutError if its signal is aborted before anything is done for it. */
export function assertNotAborted(publish: PendingPublish, bounds: CallOptions | undefined): void {
  if (bounds?.signal?.aborted) throw abortedBy(bounds.signal, describeMessage(publish), 'notSent')
}

/** What publishes messages whose callers may bound their wait. */
export interface BoundedPublisher {
  /** Holds nothing but such bounds. */
  readonly bounds: WaitList
  /** What the message waits for, for the error of its timeout: `the broker's confirm`. */
  goalOf(publish: PendingPublish): string
  /** No caller waits for it any more: reject it with this error, which says why. */
  giveUp(publish: PendingPublish, error: Error): void
}

/**
 * Bound the wait for a publish, from now until it is settled, by a timeout, a signal or both. The publisher gives it up
 * then, or at once if a getter of the message has aborted the signal.
 */
export function boundPublish(publish: PendingPublish, publisher: BoundedPublisher, bounds: PublishBounds): void {
  const { signal, timeout } = bounds
  if (publish.resolve === undefined || (signal === undefined && timeout === undefined)) return
  publish.bound = enterBounds(publish, publisher, bounds)
}

/** The same without making the publish one that its caller waits for: the caller leaves the place. */
export function enterBounds(publish: PendingPublish, publisher: BoundedPublisher, bounds: PublishBounds): Place {
  const limits = new PublishLimits(publish, publisher, bounds)
  return publisher.bounds.enter(limits, limits)
}

/** What ends the wait for a publish: the waiter and its bounds in one (confirm with a timeout: 0.74 µs instead of 1.35). */
class PublishLimits implements Waiter, WaitBounds {
  readonly publish: PendingPublish
  readonly publisher: BoundedPublisher
  readonly signal: AbortSignal | undefined
  readonly timeout: number | undefined
  readonly timeLeft: number | undefined

  constructor(publish: PendingPublish, publisher: BoundedPublisher, { signal, timeout, timeLeft }: PublishBounds) {
    this.publish = publish
    this.publisher = publisher
    this.signal = signal
    this.timeout = timeout
    this.timeLeft = timeLeft
  }

  granted(): void {}

  failed(error: Error): void {
    this.publisher.giveUp(this.publish, error)
  }

  goal(): string {
    return this.publisher.goalOf(this.publish)
  }

  what(): string {
    return describeMessage(this.publish)
  }

  get outcome(): PublishOutcome {
    return outcomeOf(this.publish)
  }
}

/** The limits of a publish without its own timeout; undefined if there are none. */
export function defaultBounds(publishTimeout: number | undefined): CallOptions | undefined {
  return publishTimeout === undefined || publishTimeout === Number.POSITIVE_INFINITY
    ? undefined
    : { timeout: publishTimeout }
}

/** The limits of a publish: its own signal, and its own timeout or that of `defaults`. */
export function withDefaults(
  bounds: PublishBounds | undefined,
  defaults: CallOptions | undefined,
): PublishBounds | undefined {
  if (defaults === undefined || bounds?.timeout !== undefined) return bounds
  return bounds === undefined ? defaults : { ...bounds, timeout: defaults.timeout }
}

/** Whether the program may have called it and forgotten it. */
export function isForgettable({ confirmed, bound }: PendingPublish): boolean {
  return !confirmed && bound === undefined
}

/** The outcome of a message that the broker did not name. */
export function outcomeOf({ writes }: PendingPublish): 'notSent' | 'unknown' {
  return writes === 0 ? 'notSent' : 'unknown'
}

/** The outcome of a message that the broker refused: if it was written before, that copy may be in a queue. */
export function refusedOutcome({ writes }: PendingPublish): 'refused' | 'unknown' {
  return writes === 1 ? 'refused' : 'unknown'
}

/**
 * What a publish rejects with that threw before anything was sent. Code of the program that is read for it, such as a getter
 * of its options, may throw anything.
 */
export function notSent(thrown: unknown): AmqpError {
  const error = thrown instanceof AmqpError ? thrown : encodeError('a message', thrown)
  return error instanceof EncodeError ? withOutcome(error, 'notSent') : error
}

/** The error with that outcome: itself, unless the program threw a frozen one. */
export function withOutcome(error: EncodeError, outcome: PublishOutcome): EncodeError {
  const own = Object.isExtensible(error) ? error : anew(error)
  own.outcome = outcome
  return own
}

/** `publish of message "m1" to exchange "logs" with routing key "info"`, for errors. */
export function describePublish(
  exchange: string,
  routingKey: string,
  properties: BasicProperties | undefined,
  tag: number,
): string {
  const messageId = messageIdOf(properties)
  const message = messageId === undefined ? 'a message' : `message "${messageId}"`
  const place = exchange === '' ? 'the default exchange' : `exchange ${quoted(exchange)}`
  const number = tag === 0 ? '' : ` (delivery tag ${tag})`
  return `publish of ${message} to ${place} with routing key ${quoted(routingKey)}${number}`
}

/** A value that is not a string is refused by another error, unless this one comes first. */
function quoted(name: unknown): string {
  return typeof name === 'string' ? `"${name}"` : inspectShort(name)
}

/** Like that, for a message that a caller waits for. */
export function describeMessage({ exchange, routingKey, properties, tag }: PendingPublish): string {
  return describePublish(exchange, routingKey, properties, tag)
}

/** Asks no getter or proxy of the program: errors are made in the middle of changes, in which none of its code may run. */
function messageIdOf(properties: unknown): string | undefined {
  if (typeof properties !== 'object' || properties === null || types.isProxy(properties)) return undefined
  if (properties instanceof Properties) return properties.messageId
  const messageId: unknown = Object.getOwnPropertyDescriptor(properties, 'messageId')?.value
  return typeof messageId === 'string' ? messageId : undefined
}
