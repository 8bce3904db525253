import { EncodeError } from '../../errors.ts'
import { Fifo } from '../../lib/fifo.ts'
import type { HandlerRuns } from './handler-runs.ts'
import type { Message } from './message.ts'
import { MessageBuffer } from './message-buffer.ts'
import { MessageIterator } from './message-iterator.ts'

type Result = IteratorResult<Message, undefined>

interface Waiter {
  readonly iterator: MessageIterator
  resolve(result: Result): void
  reject(error: Error): void
}

/** Messages that wait here where nothing else limits them. */
const ROOM = 256

/**
 * Between the broker and the program: gives each message to a handler or to a loop, in the order of delivery, when one is
 * free for it.
 *
 *     open ──stop──▶ stopped: only what came without acks goes on ──end──▶ ended: loops end too
 */
export class Handout {
  readonly #noAck: boolean
  readonly #most: number
  readonly #leave: () => Promise<void>
  /** Undefined where the program asks for messages itself. */
  readonly #runs: HandlerRuns | undefined
  readonly #buffer = new MessageBuffer()
  readonly #waiters = new Fifo<Waiter>()
  readonly #iterators = new Set<MessageIterator>()
  #state: 'open' | 'stopped' | 'ended' = 'open'
  #paused = false
  /** Why loops throw; undefined where they end in peace. */
  #makeError: (() => Error) | undefined
  /** What holds further deliveries back until there is room. */
  #room: { readonly promise: Promise<void>; free(): void } | undefined
  #emptied: (() => void) | undefined

  constructor(noAck: boolean, prefetchCount: number, runs: HandlerRuns | undefined, leave: () => Promise<void>) {
    this.#noAck = noAck
    this.#most = Math.max(ROOM, prefetchCount)
    this.#runs = runs
    this.#leave = leave
  }

  /** A loop, or whatever else asks for messages. */
  iterator(): MessageIterator {
    const iterator = new MessageIterator({
      take: iterator => this.#take(iterator),
      leave: async iterator => {
        this.#iterators.delete(iterator)
        await this.#leave()
        // With noAck they are gone at the broker, and nobody wants them here.
        this.giveBackUnseen(true)
      },
    })
    this.#iterators.add(iterator)
    return iterator
  }

  #take(iterator: MessageIterator): Promise<Result> {
    if (this.#runs !== undefined) {
      return Promise.reject(new EncodeError('a consumer with a handler has no messages for a loop or for next()'))
    }
    if (this.#open) {
      const message = this.#buffer.shift()
      if (message !== undefined) {
        this.#taken()
        iterator.given(message)
        return Promise.resolve({ value: message, done: false })
      }
    }
    if (this.#state !== 'ended') {
      return new Promise((resolve, reject) => this.#waiters.push({ iterator, resolve, reject }))
    }
    if (this.#makeError !== undefined) return Promise.reject(this.#makeError())
    return Promise.resolve({ value: undefined, done: true })
  }

  /** A message may go to the program. What came without acks is gone at the broker: it does so to the last. */
  get #open(): boolean {
    return this.#state === 'open' ? !this.#paused : this.#noAck
  }

  /** A promise keeps further messages back until it resolves. */
  delivered(message: Message): Promise<void> | undefined {
    if (this.#buffer.length === 0 && this.#open && this.#give(message)) return undefined
    this.#buffer.push(message)
    if (this.#state !== 'open' || this.#buffer.length < this.#most) return undefined
    this.#room ??= room()
    return this.#room.promise
  }

  /** Returns whether anybody was free for it. */
  #give(message: Message): boolean {
    if (this.#runs !== undefined) {
      if (!this.#runs.free) return false
      this.#runs.start(message)
      return true
    }
    const waiter = this.#waiters.shift()
    if (waiter === undefined) return false
    waiter.iterator.given(message)
    waiter.resolve({ value: message, done: false })
    return true
  }

  /** Somebody may be free. */
  resume(): void {
    while (this.#buffer.length > 0 && this.#open && (this.#runs?.free ?? this.#waiters.length > 0)) {
      const message = this.#buffer.shift()
      if (message !== undefined) this.#give(message)
    }
    this.#taken()
  }

  #taken(): void {
    if (this.#room !== undefined && (this.#state !== 'open' || this.#buffer.length <= ROOM / 2)) {
      this.#room.free()
      this.#room = undefined
    }
    if (this.#buffer.length === 0) this.#emptied?.()
  }

  get paused(): boolean {
    return this.#paused
  }

  set paused(paused: boolean) {
    this.#paused = paused
    this.resume()
  }

  /** Forget what is the broker's again. */
  dropStale(): void {
    this.#buffer.dropStale()
    this.#taken()
  }

  /** A loop has a message in hand. */
  get holds(): boolean {
    for (const iterator of this.#iterators) if (iterator.held().length > 0) return true
    return false
  }

  // ---- the end

  /** Only what came without acks is handed out any more. */
  stop(): void {
    if (this.#state === 'open') this.#state = 'stopped'
    this.resume()
  }

  /** Messages that nobody has seen. */
  get unseen(): number {
    return this.#buffer.length
  }

  /** Give back what nobody has seen: by one nack where nothing `inHand` came before it. */
  giveBackUnseen(inHand: boolean): void {
    this.#buffer.dropStale()
    for (let left = this.#buffer.length; left > 0; left--) {
      const message = this.#buffer.shift()
      if (inHand) message?.nack()
      else if (left > 1) message?.release()
      else message?.settle('nack', true, true)
    }
    this.#taken()
  }

  /** Resolves when everything is handed out. */
  empty(): Promise<void> {
    return new Promise(resolve => {
      this.#emptied = resolve
      this.resume()
    })
  }

  /** Give back what loops have in hand. */
  giveBackHeld(): void {
    for (const iterator of this.#iterators) iterator.giveBack()
  }

  /** Loops end, or throw. */
  end(makeError: (() => Error) | undefined): void {
    this.#state = 'ended'
    this.#makeError = makeError
    this.#iterators.clear()
    for (const { resolve, reject } of this.#waiters.takeAll()) {
      if (makeError === undefined) resolve({ value: undefined, done: true })
      else reject(makeError())
    }
  }
}

function room(): { readonly promise: Promise<void>; free(): void } {
  let free = (): void => {}
  const promise = new Promise<void>(resolve => {
    free = resolve
  })
  return { promise, free }
}
