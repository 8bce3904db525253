import { type ArgumentsOf, BasicQos, TxCommit, TxCommitOk, TxSelect } from '../protocol/methods.ts'
import type { CallOptions } from './call-options.ts'
import type { CallContext } from './calls.ts'
import type { ChannelSession } from './channel-session.ts'
import type { Publishing } from './publish/publishing.ts'
import type { Effect } from './written-effects.ts'

export type QosArguments = ArgumentsOf<typeof BasicQos>

/** A basic.qos that is written; it counts for consumers written after it. */
interface WrittenQos {
  readonly args: QosArguments
  /** The limit that applied before it; undefined once the broker has agreed. */
  previous: WrittenQos | undefined
}

/**
 * The transaction of a channel.
 *
 *     none ◀──tx.select, refused──▶ idle ──publish, ack──▶ open ──commit, rollback──▶ idle
 *                          ▲                      └──connection lost──▶ lost
 *                          └──────────────────────────rollback────────────┘
 *
 * It changes when a method is written: an ack that follows a commit that has no answer yet belongs to the next transaction.
 * If that commit is lost, its own promise says so.
 */
export type TransactionState = 'none' | 'idle' | 'open' | 'lost'

const NEXT: Record<TransactionState, readonly TransactionState[]> = {
  none: ['idle'],
  idle: ['open', 'none'],
  open: ['idle', 'lost'],
  lost: ['idle'],
}

/** What a channel was put into: confirm mode, a transaction, prefetch limits. Each next life begins with it. */
export class ChannelModes {
  /** The channel is in confirm mode. */
  confirming = false
  #transaction: TransactionState = 'none'
  /** The last basic.qos for each consumer, and the last for the whole channel. */
  #perConsumer: WrittenQos | undefined
  #global: WrittenQos | undefined

  get transaction(): TransactionState {
    return this.#transaction
  }

  /** A channel is in none of them when it is opened. */
  get isPlain(): boolean {
    return (
      !this.confirming && this.#transaction === 'none' && this.#perConsumer === undefined && this.#global === undefined
    )
  }

  /** Go to another state, if the transaction can go there from where it is. Returns whether it changed. */
  transactionTo(state: TransactionState): boolean {
    if (!NEXT[this.#transaction].includes(state)) return false
    this.#transaction = state
    return true
  }

  /**
   * Commit the transaction (tx.commit). Until the broker has answered nothing may follow but channel.close: RabbitMQ would
   * close the connection (504).
   */
  commit(session: ChannelSession, publishing: Publishing, context: CallContext): Promise<void> {
    const replied = (): void => {
      session.acker.goOn()
      if (session.state === 'open') publishing.begin(session.window)
    }
    return session.start(context, TxCommit, TxCommitOk.key, () => {
      session.encode(TxCommit, {})
      this.transactionTo('idle')
      session.acker.wait()
      publishing.end()
      return { replied }
    })
  }

  /** Put the next life, which is being `opened`, into all of them. Resolves when the broker agrees to that, too. */
  restore(session: ChannelSession, opened: Promise<void>, options: CallOptions): Promise<void> {
    const { confirming, transaction, prefetch, globalPrefetch } = this
    const steps: Promise<unknown>[] = [opened]
    const context = { ...options, site: undefined }
    if (confirming) steps.push(session.confirmSelect(false, { ...context, what: 'confirm.select' }))
    if (transaction !== 'none') steps.push(session.call(TxSelect, {}, { ...context, what: 'tx.select' }))
    for (const args of [prefetch, globalPrefetch]) {
      if (args !== undefined) steps.push(session.call(BasicQos, args, { ...context, what: 'basic.qos' }))
    }
    return allSettledFirstError(steps)
  }

  /** basic.qos was written. */
  qosWritten(args: QosArguments): Effect {
    const isGlobal = args.connectionGlobal === true
    const qos: WrittenQos = { args, previous: isGlobal ? this.#global : this.#perConsumer }
    if (isGlobal) this.#global = qos
    else this.#perConsumer = qos
    return {
      accept: () => {
        qos.previous = undefined
      },
      refuse: () => {
        if (isGlobal) this.#global = without(this.#global, qos)
        else this.#perConsumer = without(this.#perConsumer, qos)
      },
    }
  }

  /** The limit of a consumer that is written now; undefined if there is none. */
  get prefetch(): QosArguments | undefined {
    return this.#perConsumer?.args
  }

  /** The limit for the whole channel. */
  get globalPrefetch(): QosArguments | undefined {
    return this.#global?.args
  }
}

/** The limit that applies if `refused` does not. */
function without(last: WrittenQos | undefined, refused: WrittenQos): WrittenQos | undefined {
  if (last === refused) return refused.previous
  for (let later = last; later !== undefined; later = later.previous) {
    if (later.previous === refused) later.previous = refused.previous
  }
  return last
}

/** Wait for all; the first error says more than those that follow from it. */
async function allSettledFirstError(promises: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(promises)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}
