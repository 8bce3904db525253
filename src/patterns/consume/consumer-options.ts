import type { ConsumeArguments } from '../../channel/options.ts'
import { EncodeError } from '../../errors.ts'
import { inContext } from '../../lib/call-safely.ts'
import {
  badValue,
  booleanOption,
  checkOptions,
  durationOption,
  functionOption,
  integerOption,
  limitOption,
  shortStringOption,
  signalOption,
} from '../../protocol/option-check.ts'
import type { Codec, CodecsOption } from '../typed/codec.ts'
import { isTyped } from '../typed/is-typed.ts'
import type { StandardSchema } from '../typed/standard-schema.ts'
import {
  type CheckedAction,
  checkFailureAction,
  type FailureAction,
  type FailureDecider,
  retryQueueName,
} from './failure-action.ts'
import type { Message } from './message.ts'

/**
 * Called when the broker has ended the consumer: `error` is a `ConsumerCancelledError`, `ChannelClosedError` or
 * `ConnectionLostError`. `'close'` ends it for good, with that error; `'resume'` and nothing let it consume again. Any other
 * answer is reported as an error of the program's, and it consumes again.
 */
export type CancelDecider = (
  error: Error,
) => 'resume' | 'close' | undefined | void | Promise<'resume' | 'close' | undefined> | Promise<void>

/**
 * Keeps how far a consumer of a stream has come, in a file or a database for instance, so that the next run of the program
 * goes on there:
 *
 *     const offsetStore = {
 *       load: async () => BigInt(await readFile('offset', 'utf8').catch(() => '0')),
 *       save: (offset: bigint) => writeFile('offset', String(offset)),
 *     }
 */
export interface OffsetStore {
  /** The offset to begin with. Undefined if nothing is stored: it begins as `x-stream-offset` says, `'first'` by default. */
  load(): bigint | number | undefined | null | Promise<bigint | number | undefined | null>
  /**
   * Keep the offset of the first message that is not settled. It is called every 5 seconds if it has changed, and when the
   * consumer is closed; never twice at once. If it throws, that is reported, and it is called again.
   */
  save(offset: bigint): unknown
}

/** Called with each message; it is settled when this returns, or its promise resolves. */
export type MessageHandler<Content = unknown> = (message: Message<Content>) => unknown

/** Options of `consumer()`, for a loop and `next()`. `Content` is what `message.json()` returns. */
export interface ConsumerOptions<Content = unknown> extends CodecsOption {
  /**
   * Messages that the broker may send ahead of their acks; 0 means no limit. Default: 32, or `concurrency` if that is
   * more. It has no meaning with `noAck`.
   */
  readonly prefetchCount?: number | undefined
  /** Messages count as acknowledged when sent: those on their way when the connection breaks are lost. Default: false. */
  readonly noAck?: boolean | undefined
  /** No other consumer may use the queue. Default: false. */
  readonly exclusive?: boolean | undefined
  /** Arguments of basic.consume, such as `x-priority` and `x-stream-offset`. */
  readonly arguments?: ConsumeArguments | undefined
  /**
   * Where the position in a stream is kept. Messages that were settled after the last save come again in the next run.
   * Default: it is not kept.
   */
  readonly offsetStore?: OffsetStore | undefined
  /** Decides what follows when the broker has ended the consumer. Without, it always consumes again. */
  readonly onCancel?: CancelDecider | undefined
  /**
   * What the bodies must fit: a schema of Zod, Valibot, ArkType or any other library with the interface of Standard Schema.
   * `message.json()` has its type, and returns what it made of the body. A message that does not fit is not handed out:
   * `onFailure` decides about it, with a `DecodeError` that has the `issues`. Default: `message.json()` is not checked.
   */
  readonly schema?: StandardSchema<unknown, Content> | undefined
  /** Ends the wait for the start; later it closes the consumer, whose loop throws. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `consumer()` that decide about a message which cannot be handed over or handled. */
export interface FailureOptions {
  /** What becomes of a message whose handler throws, and of one that `schema` or `codecs` refuse. Default: `'requeue'`. */
  readonly onFailure?: FailureAction | FailureDecider | undefined
}

/** Options of `consumer()`, for a loop and `next()`: a message can fail only if there is a `schema`, or `codecs`. */
export type LoopOptions<Content = unknown> = ConsumerOptions<Content> &
  (
    | { readonly onFailure?: undefined }
    | (FailureOptions & { readonly schema: StandardSchema<unknown, Content> })
    | (FailureOptions & { readonly codecs: readonly Codec[] })
  )

/** Options of `consumer()` with a handler. */
export interface HandlerOptions<Content = unknown> extends ConsumerOptions<Content>, FailureOptions {
  /** Handlers that may run at the same time; 1 keeps the order. Default: `prefetchCount`, which is 32 by default. */
  readonly concurrency?: number | undefined
  /** Milliseconds after which a handler that still runs is reported: see the same option of `connect()`, its default. */
  readonly slowHandlerThreshold?: number | undefined
}

/** Called with an array of messages; they are settled when this returns, or its promise resolves. */
export type BatchHandler<Content = unknown> = (messages: Message<Content>[]) => unknown

/** When a batch is handed to its handler: as soon as one of the two is reached. */
export interface BatchOptions {
  /** Messages, from 1 to 65,535. */
  readonly size: number
  /** Milliseconds after the first message. Default: 1,000. */
  readonly wait?: number | undefined
}

/** The options of a batch, checked. */
export interface CheckedBatch {
  readonly size: number
  readonly wait: number
}

/** Options of `consumer()` with a handler of batches. */
export interface BatchHandlerOptions<Content = unknown> extends HandlerOptions<Content> {
  /** The handler gets arrays of messages: as soon as there are `size`, or `wait` milliseconds after the first. */
  readonly batch: BatchOptions
  /** Batches that may be handled at the same time; 1 keeps the order. Default: 1. */
  readonly concurrency?: number | undefined
  /**
   * As of `consumer()`, in messages: `batch.size` at least, or 0. Default: one batch more than are handled at a time, 32
   * at least.
   */
  readonly prefetchCount?: number | undefined
}

/** What bounds a wait for the next message. */
export interface NextOptions {
  /** Milliseconds to wait for a message. Default: no limit. */
  readonly timeout?: number | undefined
  /** Ends the wait; the message goes to the next one that waits. */
  readonly signal?: AbortSignal | undefined
}

/** Options of a consumer's `close()`. */
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
  readonly offsetStore: OffsetStore | undefined
  readonly onCancel: CancelDecider | undefined
  readonly signal: AbortSignal | undefined
  readonly concurrency: number
  readonly batch: CheckedBatch | undefined
  /** Undefined: the connection's. */
  readonly slowHandlerThreshold: number | undefined
  readonly onFailure: CheckedAction | FailureDecider
  /** Messages may come back from a wait for their next attempt. */
  readonly mayRetry: boolean
}

const PREFETCH_COUNT = 32
const CONSUMER = [
  'prefetchCount',
  'noAck',
  'exclusive',
  'arguments',
  'offsetStore',
  'onCancel',
  'signal',
  'schema',
  'codecs',
]
const HANDLER_ALONE = ['concurrency', 'slowHandlerThreshold', 'onFailure', 'batch'] as const
const HANDLER = [...CONSUMER, ...HANDLER_ALONE]
const BATCH_WAIT = 1_000
const MOST = 65_535

/** @throws EncodeError that names the option. */
export function consumerSettings(
  what: string,
  queueName: string,
  handler: MessageHandler | BatchHandler | undefined,
  options: HandlerOptions & { readonly batch?: BatchOptions | undefined },
): ConsumerSettings {
  if (typeof queueName !== 'string' || queueName === '')
    throw badValue(what, 'queueName', 'the name of a queue', queueName)
  shortStringOption(what, 'queueName', queueName)
  if (handler !== undefined) checkOptions(what, options, HANDLER)
  else {
    const known = isTyped(options) ? [...CONSUMER, 'onFailure'] : CONSUMER
    checkOptions(what, options, known, HANDLER_ALONE)
    const needy = HANDLER_ALONE.find(name => !known.includes(name) && options[name] !== undefined)
    if (needy !== undefined) {
      throw new EncodeError(
        `${what}: "${needy}" is an option of a consumer with a handler, the argument before the options`,
      )
    }
  }
  const noAck = booleanOption(what, 'noAck', options.noAck) ?? false
  const { batch } = options
  const limit = limitOption(what, 'concurrency', options.concurrency, 1) ?? (batch === undefined ? undefined : 1)
  // One batch is collected while others are handled.
  const wanted = batch === undefined ? (limit ?? 0) : ((limit ?? 1) + 1) * (batch?.size ?? 0)
  const prefetchCount =
    integerOption(what, 'prefetchCount', options.prefetchCount, 0, MOST) ??
    (limit === Number.POSITIVE_INFINITY ? 0 : Math.max(PREFETCH_COUNT, Math.min(wanted || 0, MOST)))
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
    offsetStore: offsetStoreOption(what, options.offsetStore, noAck),
    onCancel: registered(functionOption(what, 'onCancel', options.onCancel)),
    signal: signalOption(what, 'signal', options.signal),
    concurrency: limit ?? (prefetchCount === 0 ? Number.POSITIVE_INFINITY : prefetchCount),
    batch: batch === undefined ? undefined : batchOption(what, batch, noAck, prefetchCount),
    slowHandlerThreshold: durationOption(what, 'slowHandlerThreshold', options.slowHandlerThreshold, 1),
    onFailure: action ?? 'requeue',
    mayRetry: typeof action === 'function' || (typeof action === 'object' && 'retries' in action),
  }
}

function offsetStoreOption(what: string, store: unknown, noAck: boolean): OffsetStore | undefined {
  if (store === undefined) return undefined
  const { load, save } = (store ?? {}) as Partial<OffsetStore>
  if (typeof load !== 'function' || typeof save !== 'function') {
    throw badValue(what, 'offsetStore', 'an object with load() and save()', store)
  }
  if (noAck) throw new EncodeError(`${what}: "offsetStore" has no meaning with noAck, which no stream takes`)
  return { load: () => Reflect.apply(load, store, []), save: inContext(offset => Reflect.apply(save, store, [offset])) }
}

/** @throws EncodeError for anything but the options of a batch that can be full. */
export function batchOption(what: string, batch: unknown, noAck: boolean, prefetchCount: number): CheckedBatch {
  if (typeof batch !== 'object' || batch === null) throw badValue(what, 'batch', '{ size, wait }', batch)
  checkOptions(`${what}: a batch`, batch, ['size', 'wait'])
  const { size, wait } = batch as Partial<BatchOptions>
  const checked = integerOption(`${what}: a batch`, 'size', size, 1, MOST)
  if (checked === undefined) throw badValue(`${what}: a batch`, 'size', `an integer from 1 to ${MOST}`, size)
  if (noAck) throw new EncodeError(`${what}: a batch has no meaning with noAck`)
  if (prefetchCount !== 0 && checked > prefetchCount) {
    throw new EncodeError(
      `${what}: "size" ${checked} is more than "prefetchCount" ${prefetchCount}: the broker sends no more before an ack, so that a batch would never be full`,
    )
  }
  return { size: checked, wait: durationOption(`${what}: a batch`, 'wait', wait) ?? BATCH_WAIT }
}

/** @throws EncodeError if the queues in which messages wait cannot have the names that follow from the queue's. */
function checkRetryQueueNames(what: string, queueName: string, delays: readonly number[]): void {
  if (queueName.startsWith('amq.')) {
    throw new EncodeError(
      `${what}: "onFailure" with retries needs a queue with a name of its own, not ${queueName}, which the broker chose`,
    )
  }
  for (const delay of delays) shortStringOption(what, 'queueName', retryQueueName(queueName, delay, true))
}

/** Deciders run in the asynchronous context in which the consumer was made. */
function registered(onCancel: CancelDecider | undefined): CancelDecider | undefined {
  return onCancel === undefined ? undefined : inContext(onCancel)
}

/** Milliseconds that a graceful close may take. */
export const CLOSE_TIMEOUT = 5_000
