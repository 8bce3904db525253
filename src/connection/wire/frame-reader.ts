import type { Clock } from '../../lib/clock.ts'
import { FrameParser, type FrameSink } from '../../protocol/frame-parser.ts'
import { explainFirstBytes } from './first-bytes.ts'
import { ReadThrottle } from './read-throttle.ts'
import type { Transport } from './transport.ts'

/** Number of bytes that show what kind of server this is. */
const TELLING_BYTES = 16

/**
 * The reading side of a connection: bytes in, frames out, reading paused while too much of what came is waiting.
 *
 *     onBytes ──▶ read ──frames──▶ sink ──▶ readEnds ──▶ what was to run after this read
 */
export class FrameReader {
  /** When bytes last came, by the `Clock`. */
  lastRead: number
  readonly throttle: ReadThrottle
  readonly #clock: Clock
  readonly #parser: FrameParser
  #afterRead: (() => void)[] | undefined
  /** In Latin-1. */
  #firstBytes = ''

  constructor(transport: Transport, sink: FrameSink, clock: Clock, maxBuffered: number, frameMax: number) {
    this.#clock = clock
    this.lastRead = clock.now()
    this.#parser = new FrameParser(sink, frameMax)
    this.throttle = new ReadThrottle(transport, maxBuffered, clock)
  }

  /** The size agreed with the server. */
  set frameMax(bytes: number) {
    this.#parser.frameMax = bytes
  }

  /**
   * Take the bytes from 0 to `length` of `buffer`.
   *
   * @throws FrameError or ProtocolError for bytes that break the protocol; frames before them have been taken.
   */
  read(buffer: Buffer, length: number): void {
    this.lastRead = this.#clock.now()
    if (this.#firstBytes.length < TELLING_BYTES) {
      this.#firstBytes += buffer.toString('latin1', 0, Math.min(length, TELLING_BYTES))
    }
    this.#parser.push(buffer, length)
  }

  /** Have `run` called at the end of this read. */
  afterRead(run: () => void): void {
    this.#afterRead ??= []
    this.#afterRead.push(run)
  }

  /** All frames of this read have been looked at. */
  readEnds(): void {
    const afterRead = this.#afterRead
    if (afterRead !== undefined) {
      this.#afterRead = undefined
      for (const run of afterRead) run()
    }
    this.throttle.wasRead()
  }

  /** Nothing has come. */
  get isSilent(): boolean {
    return this.#firstBytes.length === 0
  }

  /** What the first bytes show about a server that does not speak AMQP 0-9-1; undefined if they show nothing. */
  explain(encrypted: boolean): string | undefined {
    return explainFirstBytes(Buffer.from(this.#firstBytes, 'latin1'), encrypted)
  }
}
