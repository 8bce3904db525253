import { PROCESS, type ProcessKind, type ProcessTrace } from '../../diagnostics/process.ts'
import { EncodeError } from '../../errors.ts'
import { placeOfCall, rejection } from '../../lib/call-site.ts'
import type { TimerSource } from '../../lib/clock.ts'
import { type WaitBounds, WaitList } from '../../lib/wait-list.ts'
import { BatchLoop } from './batch-loop.ts'
import type { CheckedBatch } from './consumer-options.ts'
import { InHand } from './in-hand.ts'
import type { Message } from './message.ts'
import { type Loop, MessageLoop, type MessageResult } from './message-loop.ts'

/** What the messages come from. */
export interface TakersHost {
  readonly queueName: string
  readonly noAck: boolean
  /** A handler gets them, and no one else. */
  readonly hasHandler: boolean
  /** Whether a message may go to the program now, if it wants so many. */
  mayTake(places: number): boolean
  /** Nothing that came before what was handed out is unsettled here: it has not failed, and is not being decoded. */
  readonly isInOrder: boolean
  /** Undefined if the next message cannot be handed out. */
  shift(): Message | undefined
  /** It has ended, and no message is left. */
  readonly isDrained: boolean
  trace(kind: ProcessKind, message: Message): ProcessTrace | undefined
  /** A loop was left. */
  loopLeft(): Promise<void>
}

/** Those who ask a consumer for messages, in the order in which they asked: loops, and calls of `next`. */
export class Takers {
  readonly #host: TakersHost
  readonly #timers: TimerSource
  /** Calls that have no answer yet. */
  readonly waiting: WaitList
  /** Loops that have got a message. Others are not kept, since a program may make one and forget it. */
  readonly #loops = new Set<Loop>()
  /** What `next` has given out. */
  readonly inHand = new InHand()
  /** Why loops throw; undefined if they end normally. */
  #makeError: (() => Error) | undefined

  constructor(host: TakersHost, timers: TimerSource) {
    this.#host = host
    this.#timers = timers
    this.waiting = new WaitList(timers)
  }

  /** A loop, or whatever else asks for messages one after the other. */
  loop(): MessageLoop {
    return new MessageLoop({
      take: loop => this.#take(loop, { what: 'next' }),
      leave: loop => this.#leave(loop),
    })
  }

  /** A loop over batches of them. */
  batches(batch: CheckedBatch): BatchLoop {
    return new BatchLoop(batch, {
      timers: this.#timers,
      take: (loop, signal) => this.#take(loop, { signal, what: 'batches' }),
      isAlone: () => this.#loops.size === 1 && this.inHand.unsettled === 0 && this.#host.isInOrder,
      leave: loop => this.#leave(loop),
    })
  }

  #leave(loop: Loop): Promise<void> {
    this.#loops.delete(loop)
    return this.#host.loopLeft()
  }

  /** The next message, for the program to settle. */
  next(bounds: WaitBounds): Promise<MessageResult> {
    return this.#take(undefined, bounds)
  }

  #take(loop: Loop | undefined, bounds: WaitBounds): Promise<MessageResult> {
    const host = this.#host
    const asked = this.waiting.length + 1
    // Others may wait though there are messages: those that are handed out right after `resume()`.
    if (!host.hasHandler && bounds.signal?.aborted !== true && host.mayTake(asked) && asked === 1) {
      return Promise.resolve(this.#give(loop))
    }
    return this.#wait(loop, bounds)
  }

  async #wait(loop: Loop | undefined, bounds: WaitBounds): Promise<MessageResult> {
    try {
      return await new Promise((resolve, reject) => {
        if (this.#host.hasHandler) {
          throw new EncodeError(
            `the consumer of queue "${this.#host.queueName}" has a handler, and no messages for a loop or for next()`,
          )
        }
        const granted = (): void => resolve(this.#give(loop))
        if (this.#host.isDrained) granted()
        else this.waiting.enter({ granted, failed: reject }, bounds)
      })
    } catch (error) {
      // Only now: it has the line of the loop that awaits this.
      throw rejection(error, placeOfCall())
    }
  }

  /** @throws why loops throw, if no message is left. */
  #give(loop: Loop | undefined): MessageResult {
    const message = this.#host.shift()
    if (message === undefined) {
      if (this.#makeError !== undefined) throw this.#makeError()
      return DONE
    }
    if (loop !== undefined) this.#loops.add(loop)
    if (loop?.given(message) !== true && !this.#host.noAck) this.inHand.add(message)
    if (PROCESS.active) this.#host.trace(loop === undefined ? 'next' : 'loop', message)?.handedOver()
    return { value: message, done: false }
  }

  /** Messages that they have got and not settled. */
  get unsettled(): number {
    let { unsettled } = this.inHand
    for (const loop of this.#loops) unsettled += loop.unsettled
    return unsettled
  }

  /** A loop has a message in hand. */
  get loopsHold(): boolean {
    for (const loop of this.#loops) if (loop.unsettled > 0) return true
    return false
  }

  /** Loops hand on what they have collected. */
  flush(): void {
    for (const loop of this.#loops) loop.flush()
  }

  /** Give back what loops have in hand. */
  giveUp(reason: Error): void {
    for (const loop of this.#loops) loop.giveBack(reason)
  }

  /** No more messages will come but those that are left: loops end after them, or throw. */
  end(makeError: (() => Error) | undefined): void {
    this.#makeError = makeError
    this.#loops.clear()
    this.inHand.clear()
  }
}

const DONE: MessageResult = { value: undefined, done: true }
