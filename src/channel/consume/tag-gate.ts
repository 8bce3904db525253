import { rejection } from '../../lib/call-site.ts'
import { describeWait, WaitList } from '../../lib/wait-list.ts'
import { type CallContext, timeLeft } from '../calls.ts'
import type { ChannelPort } from '../port.ts'

/** The last method of a tag that the broker has not answered. */
interface Unanswered {
  readonly method: 'consume' | 'cancel'
  /** The program has the tag back already, and wants to hear nothing of its consumer. */
  readonly noWait: boolean
  /** The server ended the consumer, or there was none: nothing more comes under the tag. */
  consumerGone: boolean
}

interface Gate {
  unanswered: Unanswered | undefined
  readonly waiting: WaitList
}

/**
 * Lets the methods of one consumer tag through one at a time. RabbitMQ answers only one of a basic.consume and a
 * basic.cancel that overtakes its consume-ok; and until cancel-ok, deliveries under the tag are those of the old consumer.
 *
 *     free ──basic.consume──▶ unanswered ──consume-ok──▶ free ──basic.cancel──▶ unanswered ──cancel-ok──▶ free
 *                                        the server's basic.cancel: a basic.consume need not wait ──┘
 */
export class TagGate {
  readonly #port: ChannelPort
  /** The waiters of each tag that waits for an answer. */
  readonly #gates = new Map<string, Gate>()

  constructor(port: ChannelPort) {
    this.#port = port
  }

  /** Run `run`, which writes a method of the tag, when it is its turn, within the bounds of its call. */
  pass<T>(tag: string, method: 'consume' | 'cancel', context: CallContext, run: () => Promise<T>): Promise<T> {
    const gate = this.#gates.get(tag)
    const unanswered = gate?.unanswered
    if (gate === undefined || (method === 'consume' && unanswered?.consumerGone === true)) {
      try {
        return run()
      } catch (error) {
        return Promise.reject(rejection(error, context.site))
      }
    }
    return new Promise((resolve, reject) => {
      const { what, site, signal, timeout } = context
      const left = timeLeft(context, this.#port.clock.now())
      // The answer that it waits for must be read.
      this.#port.operationStarted()
      const granted = (): void => {
        // First of all: if it throws, `failed` is called.
        resolve(run())
        this.#port.operationEnded()
      }
      const failed = (error: Error): void => {
        this.#port.operationEnded()
        reject(rejection(error, site))
      }
      gate.waiting.enter({ granted, failed }, { what, site, signal, timeout, timeLeft: left })
    })
  }

  /** A method of the tag was written. Call what this returns when it is answered. */
  written(tag: string, method: 'consume' | 'cancel', noWait = false): () => void {
    const unanswered: Unanswered = { method, noWait, consumerGone: false }
    const gate = this.#gates.get(tag) ?? { unanswered, waiting: new WaitList(this.#port) }
    gate.unanswered = unanswered
    this.#gates.set(tag, gate)
    return () => {
      // Another method went ahead: the tag waits for that one's answer.
      if (gate.unanswered !== unanswered) return
      gate.unanswered = undefined
      while (gate.unanswered === undefined && gate.waiting.wakeNext());
      if (gate.unanswered === undefined) this.#gates.delete(tag)
    }
  }

  /** No consumer has the tag. Returns whether the program had cancelled it with noWait. */
  consumerGone(tag: string): boolean {
    const unanswered = this.#gates.get(tag)?.unanswered
    if (unanswered?.method !== 'cancel') return false
    unanswered.consumerGone = true
    return unanswered.noWait
  }

  /** Nothing is answered any more. */
  failAll(makeError: (what: string) => Error): void {
    for (const { waiting } of this.#gates.values()) waiting.failAll(bounds => makeError(describeWait(bounds)))
    this.#gates.clear()
  }
}
