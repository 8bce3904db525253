const HEADER = 7
const FRAME_OVERHEAD = 8
/** `AMQP` and a version, before all frames. */
const PROTOCOL_HEADER = 8
const METHOD = 1
/** The channel of the connection itself. */
const CONNECTION = 0
/** Class and method in one number. */
const TUNE_OK = (10 << 16) | 31
const CONNECTION_CLOSE = (10 << 16) | 50
const CONNECTION_CLOSE_OK = (10 << 16) | 51
const CHANNEL_OPEN = (20 << 16) | 10
const CHANNEL_CLOSE = (20 << 16) | 40
const CHANNEL_CLOSE_OK = (20 << 16) | 41
const BASIC_PUBLISH = (60 << 16) | 40

/** What a client may not write, though its broker passes over it: frames larger than agreed, and methods after a close. */
export class FrameWatch {
  /** Hears of each method, by its key, if somebody counts them. */
  onMethod: ((key: number) => void) | undefined
  readonly #complain: (what: string) => void
  /** Bytes of the present frame that are still to come. */
  #rest = PROTOCOL_HEADER
  /** The beginning of a header or of a method that is in two writes. */
  #cut: Buffer | undefined
  #frameMax = Number.POSITIVE_INFINITY
  /** Channels that were closed, by either side; 0 is the connection. */
  readonly #closed = new Set<number>()

  constructor(complain: (what: string) => void) {
    this.#complain = complain
  }

  written(bytes: Buffer): void {
    let all = bytes
    if (this.#cut !== undefined) {
      all = Buffer.concat([this.#cut, bytes])
      this.#cut = undefined
    }
    let at = 0
    for (;;) {
      const skipped = Math.min(this.#rest, all.length - at)
      at += skipped
      this.#rest -= skipped
      if (at === all.length) return
      // As much as a look takes: a method of connection.tune-ok's length, or the whole frame.
      const size = all.length - at < HEADER ? 0 : all.readUInt32BE(at + 3)
      if (all.length - at < HEADER + Math.min(size, 10)) {
        this.#cut = Buffer.from(all.subarray(at))
        return
      }
      this.#frame(all, at, size)
      this.#rest = size + FRAME_OVERHEAD
    }
  }

  #frame(bytes: Buffer, at: number, size: number): void {
    if (size + FRAME_OVERHEAD > this.#frameMax)
      this.#complain(`it wrote a frame of ${size + FRAME_OVERHEAD} bytes, and agreed to ${this.#frameMax}`)
    if (bytes[at] !== METHOD) return
    const channel = bytes.readUInt16BE(at + 1)
    const payload = at + HEADER
    const method = bytes.readUInt32BE(payload)
    this.onMethod?.(method)
    if (method === TUNE_OK) this.#frameMax = bytes.readUInt32BE(payload + 6) || Number.POSITIVE_INFINITY
    if (method === CHANNEL_OPEN) this.#closed.delete(channel)
    const isAnswer = method === CHANNEL_CLOSE_OK || method === CONNECTION_CLOSE_OK
    // No broker takes a message after connection.close. The other methods do no harm then.
    const isOver = this.#closed.has(channel) || (this.#closed.has(CONNECTION) && method === BASIC_PUBLISH)
    if (isOver && !isAnswer)
      this.#complain(`it wrote method ${method >> 16}.${method & 0xffff} on channel ${channel}, which was closed`)
    if (isAnswer || method === CHANNEL_CLOSE || method === CONNECTION_CLOSE) this.#closed.add(channel)
  }
}
