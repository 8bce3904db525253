import { atCallSite } from '../../lib/call-site.ts'
import { asError } from '../../lib/thrown.ts'
import { type ArgumentsOf, BasicCancel, BasicConsume, BasicQos } from '../../protocol/methods.ts'
import { copyTable } from '../../protocol/table-copy.ts'
import type { FieldTable } from '../../protocol/values.ts'
import type { CallContext } from '../calls.ts'
import type { ChannelModes, QosArguments } from '../channel-modes.ts'
import type { ChannelSession } from '../channel-session.ts'
import type { QueueNames, QueueReference } from '../queue-names.ts'
import type { CountedQueue, TopologyRecorder } from '../topology-recorder.ts'
import type { Effect, WrittenEffects, WrittenMethod } from '../written-effects.ts'
import type { ConsumeObserver } from './consume-calls.ts'
import { tagInUse } from './deliveries.ts'
import type { Consumer } from './delivery-sink.ts'

/** A consumer, as each next life asks for it. One object has all of that, since a program may have thousands of consumers. */
export interface RecordedConsumer extends Consumer {
  readonly noLocal: boolean | undefined
  readonly exclusive: boolean | undefined
  readonly arguments: FieldTable | undefined
  /** The queue that was meant when basic.consume was written; undefined if its name says that. */
  queue: QueueReference | undefined
  /** The limit that held when basic.consume was written. */
  prefetch: QosArguments | undefined
  /** The queue at which the ledger counts it; undefined if it does not. */
  counted: CountedQueue | undefined
}

/** A consumer that recovery will start again. */
export interface MissingConsumer {
  readonly tag: string
  /** The present name of its queue. */
  readonly queueName: string
}

/** A consumer that the broker refused. */
export interface RefusedConsumer extends MissingConsumer {
  readonly error: Error
  /** Otherwise it may have been another consumer: several had no answer, and the error does not name one queue alone. */
  readonly isSure: boolean
}

/** What was written to consume again. */
interface ConsumersAgain {
  readonly started: readonly { readonly queueName: string; readonly tag: string; readonly promise: Promise<void> }[]
  /** The limits that were set in between. */
  readonly limits: readonly Promise<unknown>[]
}

/** The channel, as far as its consumers need it. */
export interface RecordedConsumersHost {
  /** The life there is. */
  readonly session: ChannelSession | undefined
  /** Of that life. */
  readonly effects: WrittenEffects
  readonly names: QueueNames
  readonly modes: ChannelModes
  readonly topology: TopologyRecorder | undefined
}

/** The consumers of a channel, which outlive each of its lives. */
export class RecordedConsumers {
  readonly #host: RecordedConsumersHost
  readonly #consumers = new Map<string, RecordedConsumer>()

  constructor(host: RecordedConsumersHost) {
    this.#host = host
  }

  /** Consume, now and in later lives. */
  start(session: ChannelSession, consumer: RecordedConsumer, noWait: boolean, context: CallContext): Promise<void> {
    const { tag, sink } = consumer
    const { names, modes } = this.#host
    // One that the broker has not granted again yet keeps its tag.
    if (this.#consumers.has(tag) && session.consuming.deliveries.consumer(tag) === undefined) {
      sink.discard()
      return Promise.reject(atCallSite(tagInUse(consumer, session.id), context.site))
    }
    const meant = names.meant(sink.queueName)
    consumer.queue = meant.name === sink.queueName ? undefined : meant
    consumer.prefetch = modes.prefetch
    const mayBeStream = limits(modes.prefetch) || limits(modes.globalPrefetch)
    const counting = this.#counting(consumer, noWait)
    const observer = {
      ...counting,
      written: () => {
        // Not before: until then the tag may be that of one that is being cancelled.
        this.#consumers.set(tag, consumer)
        counting.written()
      },
      consuming: () => {
        // RabbitMQ grants no consumer of a stream without a limit (406).
        if (!mayBeStream) consumer.position.isStream ??= false
        counting.consuming()
      },
    }
    const sent = asked(consumer, names.wireName(session, sink.queueName), noWait)
    const started = session.consuming.consume(consumer, sent, context, false, observer)
    started.catch(() => {
      if (this.#consumers.get(tag) === consumer) this.#consumers.delete(tag)
    })
    return started
  }

  /** Count a consumer at its queue, from when its basic.consume is written, if the broker agrees. */
  #counting(recorded: RecordedConsumer, noWait: boolean): ConsumeObserver {
    const { effects, topology } = this.#host
    let entry: WrittenMethod | undefined
    return {
      written: () => {
        const effect = topology?.written(ledger => {
          recorded.counted = ledger.consumerAdded(nameOf(recorded))
        }, noWait)
        entry = effects.written(BasicConsume.key, effect ?? NO_EFFECT, noWait)
      },
      consuming: () => entry?.replied(),
      gone: () => this.#uncount(recorded, 'consumerRemoved')?.accept(),
    }
  }

  /** The broker has, or will have, one consumer less. Whether the ledger counts it is known in its turn. */
  #uncount(recorded: RecordedConsumer, how: 'consumerRemoved' | 'consumerLost'): Effect | undefined {
    return this.#host.topology?.written(ledger => {
      const { counted } = recorded
      if (counted === undefined) return
      recorded.counted = undefined
      ledger[how](counted)
    })
  }

  /** Cancel a consumer: no next life has it. */
  cancel(session: ChannelSession, tag: string, noWait: boolean, context: CallContext): Promise<void> {
    const { effects } = this.#host
    let entry: WrittenMethod | undefined
    return session.consuming.cancel(
      tag,
      noWait,
      context,
      consumer => {
        const recorded = this.#consumers.get(tag)
        if (recorded !== undefined && recorded === (consumer ?? recorded)) this.#consumers.delete(tag)
        entry?.replied()
      },
      () => {
        const recorded = this.#consumers.get(tag)
        const effect = recorded === undefined ? undefined : this.#uncount(recorded, 'consumerRemoved')
        entry = effects.written(BasicCancel.key, effect ?? NO_EFFECT, false)
      },
    )
  }

  /** The consumer is gone at the broker. */
  remove(tag: string): void {
    const recorded = this.#consumers.get(tag)
    if (recorded === undefined) return
    this.#consumers.delete(tag)
    this.#uncount(recorded, 'consumerRemoved')?.accept()
  }

  /** A life is over that another follows: it counts those that it is granted. */
  lost(): void {
    for (const recorded of this.#consumers.values()) this.#uncount(recorded, 'consumerLost')?.accept()
  }

  get size(): number {
    return this.#consumers.size
  }

  consumers(): Consumer[] {
    return [...this.#consumers.values()]
  }

  /** The queues that are consumed from, by the names they have now. */
  queueNames(): string[] {
    return [...this.#consumers.values()].map(recorded => this.#queueOf(recorded))
  }

  // ---- consuming again

  /**
   * Consume again under these old tags. Resolves to the consumer that the broker refused, if it did; the channel is
   * closed then, and has to begin again.
   */
  async consumeAgain(tags: readonly string[]): Promise<RefusedConsumer | undefined> {
    const { session } = this.#host
    if (session === undefined) return undefined
    const { started, limits } = await new Promise<ConsumersAgain>(resolve => {
      session.acker.inTurn(() => resolve(this.#askAgain(session, tags)))
    })
    const [results, limited] = await Promise.all([
      Promise.allSettled(started.map(({ promise }) => promise)),
      Promise.allSettled(limits),
    ])
    // Those before the one that was refused have no answer, either, if they were written with it: RabbitMQ closes the
    // channel before it sends a consume-ok, which comes by way of the queue.
    const unanswered = started.flatMap(({ tag, queueName }, at) => {
      const result = results[at]
      return result?.status === 'rejected' ? { tag, queueName, error: asError(result.reason) } : []
    })
    // The channel ends with a limit that is refused or has no answer, too, though all consumers may have been granted.
    const failed = limited.find(({ status }) => status === 'rejected')
    const [first] = started
    if (unanswered.length === 0 && failed?.status === 'rejected' && first !== undefined) {
      return { tag: first.tag, queueName: first.queueName, error: asError(failed.reason), isSure: false }
    }
    const named = unanswered.filter(({ queueName, error }) => error.message.includes(`'${queueName}'`))
    const [refused] = named.length > 0 ? named : unanswered
    return refused && { ...refused, isSure: named.length === 1 || unanswered.length === 1 }
  }

  #askAgain(session: ChannelSession, tags: readonly string[]): ConsumersAgain {
    const { prefetch: own } = this.#host.modes
    let limit = own
    const limits: Promise<unknown>[] = []
    const setLimit = (prefetch: QosArguments | undefined): void => {
      if (sameLimit(limit, prefetch)) return
      limits.push(session.call(BasicQos, prefetch ?? UNLIMITED, { what: 'basic.qos', site: undefined }))
      limit = prefetch
    }
    const missing = tags.flatMap(tag => this.#consumers.get(tag) ?? [])
    const started = missing.map(consumer => {
      setLimit(consumer.prefetch)
      const resume = consumer.position.resumeOffset
      let args = consumer.arguments
      if (resume !== undefined) {
        args = copyTable(args ?? {}, 'basic.consume: arguments') ?? {}
        args['x-stream-offset'] = resume
      }
      const queueName = this.#queueOf(consumer)
      // Of a queue with many names not all are remembered.
      if (queueName !== nameOf(consumer)) consumer.queue = { name: queueName }
      const context = { what: `basic.consume of "${queueName}"`, site: undefined }
      const sent = asked(consumer, queueName, false, args)
      const promise = session.consuming
        .consume(consumer, sent, context, true, this.#counting(consumer, false))
        .then(() => {
          if (resume !== undefined) consumer.position.granted()
        })
      return { queueName, tag: consumer.tag, promise }
    })
    setLimit(own)
    return { started, limits }
  }

  /** Whether the program's side consumes again by itself, on a channel of its own, once the consumer is cancelled. */
  isRestarted(tag: string): boolean {
    return this.#consumers.get(tag)?.sink.isRestarted === true
  }

  /** The broker refused a consumer. Returns whether it may be asked for again, otherwise. */
  mayConsumeOtherwise(tag: string, error: Error): boolean {
    return this.#consumers.get(tag)?.position.refused(error) === true
  }

  #queueOf(consumer: RecordedConsumer): string {
    const name = nameOf(consumer)
    return this.#host.topology?.currentName(name) ?? name
  }

  /** The consumers that this life does not have. */
  missing(): MissingConsumer[] {
    const { session } = this.#host
    if (session === undefined) return []
    const missing = [...this.#consumers.values()].filter(
      ({ tag }) => session.consuming.deliveries.consumer(tag) === undefined,
    )
    return missing.map(recorded => ({ tag: recorded.tag, queueName: this.#queueOf(recorded) }))
  }
}

/** The name of its queue, when it last consumed. */
function nameOf({ queue, sink }: RecordedConsumer): string {
  return queue === undefined ? sink.queueName : (queue.name ?? '')
}

/** The arguments of its basic.consume. */
function asked(
  { tag, sink, noLocal, exclusive, arguments: own }: RecordedConsumer,
  queueName: string,
  noWait: boolean,
  args = own,
): ArgumentsOf<typeof BasicConsume> {
  const sent = { queueName, consumerTag: tag, noLocal, noAck: sink.noAck, exclusive, noWait, arguments: args }
  return sent as ArgumentsOf<typeof BasicConsume>
}

/** What a new channel has. */
const UNLIMITED: QosArguments = { prefetchCount: 0 }

const NO_EFFECT: Effect = { accept: () => {}, refuse: () => {} }

function limits(qos: QosArguments | undefined): boolean {
  return (qos?.prefetchCount ?? 0) > 0
}

function sameLimit(one: QosArguments | undefined, other: QosArguments | undefined): boolean {
  const { prefetchCount: count = 0, prefetchSize: size = 0 } = one ?? UNLIMITED
  const { prefetchCount: otherCount = 0, prefetchSize: otherSize = 0 } = other ?? UNLIMITED
  return count === otherCount && size === otherSize
}
