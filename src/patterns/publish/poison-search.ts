import type { CloseReason } from '../../channel/close-reason.ts'
import { isRefused } from '../../channel/publish/publish-errors.ts'
import { ConnectionClosedError } from '../../errors.ts'
import { transition } from '../../lib/transition.ts'
import { BASIC_PUBLISH } from '../../protocol/basic-codec.ts'

/** From this reply code on, an error closes the connection; below, an operator closed it, or a channel failed. */
const HARD_ERROR = 500

/**
 * Which message the broker will not take, when it closed the channel, or the whole connection, over one of several and
 * did not say which:
 *
 *     none ──channel closed──▶ one by one ──connection closed──▶ alone
 *      ▲ └──────────────────connection closed─────────────────────▲ │
 *      └───────────── all candidates are settled ◀────────────────┴─┘
 *
 * - `none`: nothing is suspected.
 * - `one by one`: the candidates are published one at a time on their channel. If the broker closes the channel, the
 *   only one there is at fault.
 * - `alone`: the candidates are published one at a time, and no other publisher of the connection searches at the same
 *   time. If the broker closes the connection twice over the same message, that one is at fault: once may be a
 *   coincidence, since channels that suspect nothing publish as well.
 */
export type PoisonSearchState = 'none' | 'one by one' | 'alone'

const NEXT: Record<PoisonSearchState, readonly PoisonSearchState[]> = {
  none: ['one by one', 'alone'],
  'one by one': ['alone', 'none'],
  alone: ['none'],
}

/** A message, as far as the search looks at it. */
export interface SearchedMessage {
  readonly exchange: string
  readonly routingKey: string
}

/** What the end of a channel means for the messages that it had not settled. */
export interface Verdict<M> {
  readonly atFault: readonly M[]
  /** To be published again, in this order and before anything newer. */
  readonly again: readonly M[]
  /** The broker can have meant only the one message at fault: it did not take that one. */
  readonly certain: boolean
}

/** Finds the messages that the broker refuses by closing the channel or the connection. It sends nothing itself. */
export class PoisonSearch<M extends SearchedMessage> {
  #state: PoisonSearchState = 'none'
  readonly #candidates = new Set<M>()
  /** The only message that was in flight when the broker last closed the connection in `alone`. */
  #suspect: M | undefined

  get state(): PoisonSearchState {
    return this.#state
  }

  #to(state: PoisonSearchState): void {
    if (state === this.#state) return
    this.#state = transition('a search', NEXT, this.#state, state)
  }

  /**
   * A channel ended with these messages unsettled, oldest first.
   *
   * @param isWanted whether somebody still waits for a message: others are not published again.
   */
  channelEnded(unsettled: readonly M[], ending: CloseReason, isWanted: (message: M) => boolean): Verdict<M> {
    const closed = closedOver(ending)
    const atFault = new Set(this.#atFault(unsettled, ending, closed))
    const again = unsettled.filter(message => !atFault.has(message) && isWanted(message))
    for (const message of atFault) this.#candidates.delete(message)
    const found = closed === 'nothing' || atFault.size > 0
    if (!found || this.#state !== 'none') for (const message of again) this.#candidates.add(message)
    this.#suspect = this.#state === 'alone' && closed === 'connection' && again.length === 1 ? again[0] : undefined
    if (this.#candidates.size > 0) {
      if (closed === 'connection') this.#to('alone')
      else if (this.#state === 'none') this.#to('one by one')
    }
    return { atFault: [...atFault], again, certain: closed === 'channel' && atFault.size === 1 }
  }

  #atFault(unsettled: readonly M[], ending: CloseReason, closed: ClosedOver): readonly M[] {
    const [only] = unsettled
    const isOnly = unsettled.length === 1 && only !== undefined
    if (closed === 'connection') return isOnly && only === this.#suspect ? unsettled : []
    if (closed === 'nothing') return []
    return isOnly ? unsettled : unsettled.filter(message => isRefused(ending, message))
  }

  /** Nothing is unsettled; `next` is the first that waits. The search is over when that is not a candidate. */
  settled(next: M | undefined): void {
    if (this.#state === 'none' || (next !== undefined && this.#candidates.has(next))) return
    this.#candidates.clear()
    this.#suspect = undefined
    this.#to('none')
  }
}

type ClosedOver = 'connection' | 'channel' | 'nothing'

/** Whether the broker closed the channel or the connection over a message. An error inside the broker (541) names no method. */
function closedOver({ scope, error, methodKey }: CloseReason): ClosedOver {
  if (methodKey === BASIC_PUBLISH) return scope
  const isHard = error instanceof ConnectionClosedError && methodKey === 0 && (error.replyCode ?? 0) >= HARD_ERROR
  return isHard ? 'connection' : 'nothing'
}
