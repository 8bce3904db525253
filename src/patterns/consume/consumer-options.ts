import type { ConsumeArguments } from '../../channel/options.ts'
import { EncodeError } from '../../errors.ts'
import { inContext } from '../../lib/call-safely.ts'
import {
  badValue,
  booleanOption,
  checkOptions,
  functionOption,
  integerOption,
  limitOption,
  shortStringOption,
  signalOption,
} from '../../protocol/option-check.ts'
import { type CheckedAction, checkFailureAction, type FailureAction, type FailureDecider } from './failure-action.ts'
import type { Message } from './message.ts'
import { retryQueueName } from './retry-queues.ts'

/**
 * Called when the broker has ended the consumer: `error` is a `ConsumerCancelledError`, `ChannelClosedError` or
 * `ConnectionLostError`. `'close'` ends it for good, with that error; anything else lets it consume again.
 */
export type CancelDecider = (
  error: Error,
) => 'resume' | 'close' | undefined | void | Promise<'resume' | 'close' | undefined> | Promise<void>

/** Called with each message; it is settled when this returns, or its promise resolves. */
export type MessageHandler = (message: Message) => unknown

export interface ConsumerOptions {
  /**
   * Messages that the broker may send ahead of their acks; 0 means no limit. Default: 32, or `concurrency` if that is
   * more. It has no meaning with `noAck`.
   */
  readonly prefetchCount?: number | undefined
  /** Messages count as acknowledged when sent: what is on its way when the connection breaks is lost. Default: false. */
  readonly noAck?: boolean | undefined
  /** No other consumer may use the queue. Default: false. */
  readonly exclusive?: boolean | undefined
  /** Arguments of basic.consume, such as `x-priority` and `x-stream-offset`. */
  readonly arguments?: ConsumeArguments | undefined
  /** Decides what follows when the broker has ended the consumer. Without, it always consumes again. */
  readonly onCancel?: CancelDecider | undefined
  /** Ends the wait for the start; later it closes the consumer, whose loop throws. */
  readonly signal?: AbortSignal | undefined
}

export interface HandlerOptions extends ConsumerOptions {
  /** Handlers that may run at the same time; 1 keeps the order. Default: `prefetchCount`, which is 32 by default. */
  readonly concurrency?: number | undefined
  /** What becomes of a message whose handler throws. Default: `'requeue'`. */
  readonly onFailure?: FailureAction | FailureDecider | undefined
}

/** What bounds a wait for the next message. */
export interface NextOptions {
  /** Milliseconds to wait for a message. Default: no limit. */
  readonly timeout?: number | undefined
  /** Ends the wait; the message goes to the next one that waits. */
  readonly signal?: AbortSignal | undefined
}

export interface ConsumerCloseOptions {
  /** Milliseconds to wait for what the program has in hand. Default: 5,000. */
  readonly timeout?: number | undefined
}

/** The options of a consumer, checked, with their defaults. */
export interface ConsumerSettings {
  readonly queueName: string
  readonly prefetchCount: number
  readonly noAck: boolean
  readonly exclusive: boolean
  readonly arguments: ConsumeArguments | undefined
  readonly onCancel: CancelDecider | undefined
  readonly signal: AbortSignal | undefined
  readonly concurrency: number
  readonly onFailure: CheckedAction | FailureDecider
}

const PREFETCH_COUNT = 32
const CONSUMER = ['prefetchCount', 'noAck', 'exclusive', 'arguments', 'onCancel', 'signal']
const HANDLER = [...CONSUMER, 'concurrency', 'onFailure']

/** @throws EncodeError that names the option. */
export function consumerSettings(
  what: string,
  queueName: string,
  handler: MessageHandler | undefined,
  options: HandlerOptions,
): ConsumerSettings {
  if (typeof queueName !== 'string' || queueName === '')
    throw badValue(what, 'queueName', 'the name of a queue', queueName)
  shortStringOption(what, 'queueName', queueName)
  checkOptions(what, options, handler === undefined ? CONSUMER : HANDLER)
  const noAck = booleanOption(what, 'noAck', options.noAck) ?? false
  const limit = limitOption(what, 'concurrency', options.concurrency, 1)
  const ahead = limit !== undefined && limit > PREFETCH_COUNT ? Math.min(limit, 65_535) : PREFETCH_COUNT
  const prefetchCount =
    integerOption(what, 'prefetchCount', options.prefetchCount, 0, 65_535) ??
    (limit === Number.POSITIVE_INFINITY ? 0 : ahead)
  const { onFailure } = options
  if (onFailure !== undefined && noAck) {
    throw new EncodeError(`${what}: "onFailure" has no meaning with noAck, since the broker has forgotten the message`)
  }
  const action = typeof onFailure === 'function' ? onFailure : checkFailureAction(`${what}: "onFailure"`, onFailure)
  if (typeof action === 'object' && 'retries' in action) checkRetryQueueNames(what, queueName, action.delays)
  return {
    queueName,
    prefetchCount,
    noAck,
    exclusive: booleanOption(what, 'exclusive', options.exclusive) ?? false,
    arguments: options.arguments,
    onCancel: registered(functionOption(what, 'onCancel', options.onCancel)),
    signal: signalOption(what, 'signal', options.signal),
    concurrency: limit ?? (prefetchCount === 0 ? Number.POSITIVE_INFINITY : prefetchCount),
    onFailure: typeof action === 'function' ? inContext(action) : (action ?? 'requeue'),
  }
}

/** @throws EncodeError if the queues in which messages wait cannot have the names that follow from the queue's. */
function checkRetryQueueNames(what: string, queueName: string, delays: readonly number[]): void {
  if (queueName.startsWith('amq.')) {
    throw new EncodeError(
      `${what}: "onFailure" with retries needs a queue with a name of its own, not ${queueName}, which the broker chose`,
    )
  }
  for (const delay of delays) shortStringOption(what, 'queueName', retryQueueName(queueName, delay))
}

/** Deciders run in the asynchronous context in which the consumer was made. */
function registered(onCancel: CancelDecider | undefined): CancelDecider | undefined {
  return onCancel === undefined ? undefined : inContext(onCancel)
}

/** Milliseconds that a graceful close may take. */
export const CLOSE_TIMEOUT = 5_000
