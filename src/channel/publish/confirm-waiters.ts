import { isRejecting, settleAfter } from '../../lib/await-site.ts'
import { atCallSite } from '../../lib/call-site.ts'
import { type WaitBounds, type Waiter, WaitList } from '../../lib/wait-list.ts'
import type { ChannelPort } from '../port.ts'

/** Waiters that do not wait any more, and are kept all the same, at least. */
const FEW = 64

/** The newest message that the broker did not take, and that no `waitForConfirms` has reported yet. */
export interface Unheard {
  readonly tag: number
  makeError(): Error
}

/** A caller that waits for everything up to this tag. */
interface ConfirmWaiter extends Waiter {
  readonly upTo: number
  unheard: Unheard | undefined
}

/**
 * A waiter for everything published before to be settled. Tags only rise: no wait ends before that of a waiter which
 * came earlier.
 */
export class ConfirmWaiters {
  readonly #port: ChannelPort
  readonly #list: WaitList
  readonly #all = new Set<ConfirmWaiter>()
  /** Waiters that have got no loss, and some that no longer wait, in the order of their tags. */
  #unaware: ConfirmWaiter[] = []
  #unheard: Unheard | undefined
  /** The first tag that is not settled. */
  #oldest = 0

  constructor(port: ChannelPort, unheard: Unheard | undefined) {
    this.#port = port
    this.#list = new WaitList(port)
    this.#unheard = unheard
  }

  /** The loss that was not reported: the next life reports it to the first caller that asks. */
  get unheard(): Unheard | undefined {
    return this.#unheard
  }

  /** Resolves when all up to this tag is settled; rejects if one of them is lost, or was since the last call. */
  wait(upTo: number, bounds: WaitBounds): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (error?: Error): void => {
        this.#port.operationEnded()
        this.#all.delete(waiter)
        const settle = (): void => (error === undefined ? resolve() : reject(atCallSite(error, bounds.site)))
        if (isRejecting()) void settleAfter(settle)
        else settle()
      }
      const waiter: ConfirmWaiter = {
        upTo,
        unheard: this.#unheard,
        isReady: () => upTo < this.#oldest,
        granted: () => {
          if (waiter.unheard !== undefined) this.#reported(waiter)
          end(waiter.unheard?.makeError())
        },
        failed: end,
      }
      this.#port.operationStarted()
      this.#all.add(waiter)
      if (waiter.unheard === undefined) this.#watch(waiter)
      this.#list.enter(waiter, bounds)
    })
  }

  #watch(waiter: ConfirmWaiter): void {
    if (this.#unaware.length > 2 * this.#all.size + FEW)
      this.#unaware = this.#unaware.filter(each => this.#all.has(each))
    this.#unaware.push(waiter)
  }

  /** The broker did not take this message: this rejects all callers that wait for it, or else the next caller. */
  lost(unheard: Unheard): void {
    if (unheard.tag >= (this.#unheard?.tag ?? 0)) this.#unheard = unheard
    for (let last = this.#unaware.at(-1); last !== undefined && last.upTo >= unheard.tag; last = this.#unaware.at(-1)) {
      last.unheard = unheard
      this.#unaware.pop()
    }
  }

  /** All older than this tag is settled. */
  settled(oldest: number): void {
    this.#oldest = oldest
    this.#list.wakeReady()
  }

  #reported({ upTo }: ConfirmWaiter): void {
    if (this.#unheard !== undefined && this.#unheard.tag <= upTo) this.#unheard = undefined
  }

  /** Nothing more will be settled. */
  failAll(makeError: () => Error): void {
    for (const waiter of this.#all) this.#reported(waiter)
    this.#list.failAll(makeError)
  }
}
