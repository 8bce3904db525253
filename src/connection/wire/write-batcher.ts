import type { CloseReason } from '../../channel/close-reason.ts'
import type { FlushWaiter } from '../../channel/port.ts'
import { ProtocolError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'
import { Fifo } from '../../lib/fifo.ts'
import { nextTick, nextTurn } from '../../lib/platform.ts'
import { FRAME_OVERHEAD } from '../../protocol/constants.ts'
import { PublishEncoder } from '../../protocol/publish-encoder.ts'
import { CHUNK_SIZE, Writer } from '../../protocol/writer.ts'
import { type Transport, transferredAway } from './transport.ts'

/** Publishes, and bytes, after which a loop that awaits each must give the event loop a turn. */
const TURN_PUBLISHES = 1_000
const TURN_BYTES = 262_144
/** Sealed bytes that leave before the end of the tick. */
const MUCH = 0.75 * CHUNK_SIZE
/**
 * Number of methods in one tick after which they are flushed, so that the broker begins with the first of 500 declares while
 * others are encoded; and each time that it has doubled, so that many methods do not cost many writes.
 */
const MANY_METHODS = 32

/** Answers that may wait for a server which asks, and does not read what it is answered. */
const MOST_ANSWERS = 20_000

/** What opens and closes with the socket's. */
export interface WriteGate {
  /** `full` has changed. */
  gateChanged(): void
}

/** The waiter for the bytes of a write. */
interface Leaving {
  /** The number of the write. */
  readonly write: number
  readonly waiter: FlushWaiter
}

/**
 * The outgoing bytes of one connection: everything that one tick writes, on all channels, leaves in one write. Until something
 * is read again, further ticks of a turn of the event loop leave in one, too: of 16 HTTP requests that come at a time and publish
 * a message each, 15 cost one write ("one publish for each HTTP request": 5 to 9 % of its CPU).
 *
 *     written() ──▶ writer ──full chunk, end of tick or turn, end of read──▶ transport ──all of a write has left──▶ sent
 */
export class WriteBatcher {
  readonly writer = new Writer()
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #maxBuffered: number
  readonly #gate: WriteGate
  /** When bytes last left, by the `Clock`. */
  lastWrite: number
  /** More than `maxBuffered` waits for the socket. */
  full = false
  #scheduled = false
  /** Something has left by itself since the last read. An answer to a single call is not delayed: it is read before the next. */
  #leftSinceRead = false
  #reading = false
  /** The transport may call the program (a trace, a transport of its own): what that writes goes after this write. */
  #writing = false
  #saturated = false
  #turnPublishes = 0
  #methods = 0
  #turnBytes = 0
  #turn: Promise<void> | undefined
  /** To methods of the server, since all bytes had left. */
  #answers = 0
  /** Writes that were given to the transport, and how many of them have left. */
  #writes = 0
  #left = 0
  /** In the order of their writes; made for the first. */
  #leaving: Fifo<Leaving> | undefined
  #draining: FlushWaiter[] | undefined

  constructor(transport: Transport, clock: Clock, maxBuffered: number, gate: WriteGate) {
    this.#clock = clock
    this.lastWrite = clock.now()
    this.#transport = transport
    this.#maxBuffered = maxBuffered
    this.#gate = gate
  }

  /** An encoder of publishes for frames of `frameMax` bytes at most. */
  encoder(frameMax: number): PublishEncoder {
    return new PublishEncoder(this.writer, frameMax)
  }

  /** Something was written: it leaves at the end of this tick, or turn, at the latest. */
  written(): void {
    if (this.writer.sealed >= MUCH) this.#sendSealed()
    if (this.#scheduled || this.#reading) return
    this.#scheduled = true
    if (this.#leftSinceRead) nextTurn(this.#flush)
    else nextTick(this.#flush)
  }

  /** The same for a method. */
  methodWritten(): void {
    this.written()
    const count = ++this.#methods
    const isPowerOfTwo = (count & (count - 1)) === 0
    if (isPowerOfTwo && count >= MANY_METHODS && !this.#reading) this.#send()
  }

  /**
   * The method just written answers one of the server.
   *
   * @throws ProtocolError if the server has asked too often without reading the answers: they would take all memory.
   */
  answered(): void {
    if (++this.#answers <= MOST_ANSWERS) return
    throw new ProtocolError(`the server asked more than ${MOST_ANSWERS} times, and read none of the answers`)
  }

  /**
   * Undefined if the caller may go on, `'full'` if it should wait for the socket, or the turn of the event loop that it
   * should await.
   */
  publishWritten(): Promise<void> | 'full' | undefined {
    this.written()
    if (this.#saturated) return 'full'
    if (++this.#turnPublishes < TURN_PUBLISHES && this.#turnBytes < TURN_BYTES) return undefined
    this.#turn ??= this.#nextTurn()
    return this.#turn
  }

  /**
   * Promises that are resolved already never leave the microtask queue: no timer, no read would get its turn. In a method of its
   * own, since V8 allocates what a closure captures whenever its method is called ("publish 16 B": 40 bytes less for each).
   */
  #nextTurn(): Promise<void> {
    return new Promise(resolve =>
      nextTurn(() => {
        this.#newTurn()
        resolve()
      }),
    )
  }

  #newTurn(): void {
    this.#turn = undefined
    this.#turnPublishes = 0
    this.#turnBytes = 0
  }

  /** A read starts: writes that it causes leave at its end, in one. */
  readStarts(): void {
    this.#reading = true
    this.#leftSinceRead = false
    if (this.#turn === undefined) this.#newTurn()
  }

  readEnds(): void {
    this.#reading = false
    this.#send()
  }

  readonly #flush = (): void => {
    this.#scheduled = false
    this.#leftSinceRead = true
    this.#methods = 0
    this.#send()
  }

  /** Bytes that have not left. */
  get buffered(): number {
    return this.writer.waiting + this.#transport.pending
  }

  /** Let everything leave that waits. */
  flush(): void {
    this.#send()
  }

  /**
   * Large sealed segments leave at once, without the chunk after them, which has only just begun. If that chunk is only
   * the end of a frame whose body is sealed, it leaves, too.
   */
  #sendSealed(): void {
    const { sealed, waiting } = this.writer
    if (this.#writing) return
    if (waiting - sealed < FRAME_OVERHEAD) this.#send()
    else this.#write(sealed, this.writer.takeSealed())
  }

  #send(): void {
    const { waiting } = this.writer
    if (waiting > 0 && !this.#writing) this.#write(waiting, this.writer.take())
  }

  #write(size: number, segments: readonly Uint8Array[]): void {
    this.lastWrite = this.#clock.now()
    this.#turnBytes += size
    this.#writes++
    let missing = size
    for (const { length } of segments) missing -= length
    // The program may have transferred the memory of bytes that are sent by reference to a worker.
    if (missing !== 0) {
      this.#transport.destroy(transferredAway())
      return
    }
    this.#writing = true
    const more = this.#transport.write(segments, this.#sent)
    this.#writing = false
    const { pending } = this.#transport
    // The kernel took all of it: its chunks can be written again.
    if (pending === 0) this.#allLeft()
    if (!more) this.#saturated = true
    if (!this.full && pending > this.#maxBuffered) {
      this.full = true
      this.#gate.gateChanged()
    }
  }

  /** The oldest write has left. A socket says nothing else of one that it did not ask to wait after. */
  readonly #sent = (): void => {
    // A transport of the program may call it too often: what was not written has not left.
    if (this.#left < this.#writes) this.#left++
    const leaving = this.#leaving
    for (let next = leaving?.peek(); next !== undefined && next.write <= this.#left; next = leaving?.peek()) {
      leaving?.shift()
      next.waiter.sent()
    }
    const { pending } = this.#transport
    if (pending === 0) {
      this.#allLeft()
      this.#takesMore()
    } else if (pending <= this.#maxBuffered) this.#noLongerFull()
  }

  #allLeft(): void {
    this.writer.reuse()
    this.#answers = 0
  }

  /** Wait until the bytes that are in the writer now have left. Perhaps none of them was given to the transport yet. */
  whenFlushed(waiter: FlushWaiter): void {
    this.#leaving ??= new Fifo()
    this.#leaving.push({ write: this.#writes + 1, waiter })
  }

  /** Wait until the socket takes more. */
  whenWritable(waiter: FlushWaiter): void {
    this.#draining ??= []
    this.#draining.push(waiter)
  }

  /** The socket takes more. */
  onDrain(): void {
    this.#takesMore()
  }

  #takesMore(): void {
    this.#saturated = false
    const draining = this.#draining
    if (draining !== undefined) {
      this.#draining = undefined
      for (const waiter of draining) waiter.sent()
    }
    this.#noLongerFull()
  }

  #noLongerFull(): void {
    if (!this.full) return
    this.full = false
    this.#gate.gateChanged()
  }

  /** Nothing more leaves. */
  fail(ending: CloseReason): void {
    const draining = this.#draining ?? []
    this.#draining = undefined
    for (const { waiter } of this.#leaving?.takeAll() ?? []) waiter.lost(ending)
    for (const waiter of draining) waiter.lost(ending)
  }
}
