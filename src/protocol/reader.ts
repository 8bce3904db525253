import { FrameError } from '../errors.ts'
import { ownCopy } from './bytes.ts'

const SYNTAX_ERROR = 502

/** Reads fields of §4.2.5 from `position` on; one that does not end before `end` is a `FrameError`. */
export class Reader {
  readonly buffer: Buffer
  position: number
  readonly end: number
  /** Tables nested too deep are read as empty ones, instead of being a `FrameError`. */
  skipsTooDeep = false

  constructor(buffer: Buffer, position: number, end: number) {
    this.buffer = buffer
    this.position = position
    this.end = Math.min(end, buffer.length)
  }

  get remaining(): number {
    return this.end - this.position
  }

  octet(): number {
    const at = this.#advance(1, 'an octet')
    return this.buffer[at] as number
  }

  short(): number {
    const at = this.#advance(2, 'a short integer')
    return ((this.buffer[at] as number) << 8) | (this.buffer[at + 1] as number)
  }

  long(): number {
    return readInt32(this.buffer, this.#advance(4, 'a long integer')) >>> 0
  }

  /** An unsigned 64-bit integer; past 2^53 - 1 it is a `FrameError`, since no number holds it. */
  longlong(): number {
    const at = this.#advance(8, 'a long long integer')
    const value = (readInt32(this.buffer, at) >>> 0) * 0x1_0000_0000 + (readInt32(this.buffer, at + 4) >>> 0)
    if (value <= Number.MAX_SAFE_INTEGER) return value
    throw new FrameError(`the integer ${this.buffer.readBigUInt64BE(at)} is past 2^53 - 1, the largest exact number`, {
      replyCode: SYNTAX_ERROR,
    })
  }

  /** An unsigned 64-bit integer of any size. */
  bigint(): bigint {
    return this.buffer.readBigUInt64BE(this.#advance(8, 'a long long integer'))
  }

  int8(): number {
    return (this.octet() << 24) >> 24
  }

  int16(): number {
    return (this.short() << 16) >> 16
  }

  int32(): number {
    return readInt32(this.buffer, this.#advance(4, 'a long integer'))
  }

  /** A signed 64-bit integer: a number up to 2^53 - 1 either way, beyond that a bigint. */
  int64(): number | bigint {
    const at = this.#advance(8, 'a long long integer')
    const high = readInt32(this.buffer, at)
    const value = high * 0x1_0000_0000 + (readInt32(this.buffer, at + 4) >>> 0)
    return Number.isSafeInteger(value) ? value : this.buffer.readBigInt64BE(at)
  }

  float(): number {
    return this.buffer.readFloatBE(this.#advance(4, 'a float'))
  }

  double(): number {
    return this.buffer.readDoubleBE(this.#advance(8, 'a double'))
  }

  /** A short string. Octets that are not UTF-8 become U+FFFD. */
  shortstr(): string {
    const length = this.octet()
    const at = this.#advance(length, 'a short string')
    return this.buffer.toString('utf8', at, at + length)
  }

  /** The octets of a long string, in a buffer of their own. */
  longstr(): Buffer {
    return this.bytes(this.long(), 'a long string')
  }

  /** The next `length` octets, in a buffer of their own. */
  bytes(length: number, what = 'a run of octets'): Buffer {
    const at = this.#advance(length, what)
    return ownCopy(this.buffer, at, at + length)
  }

  skip(length: number, what = 'a run of octets'): void {
    this.#advance(length, what)
  }

  #advance(size: number, what: string): number {
    const at = this.position
    if (size > this.end - at) throw truncated(what, size, this.end - at)
    this.position = at + size
    return at
  }
}

function readInt32(buffer: Buffer, at: number): number {
  return (
    ((buffer[at] as number) << 24) |
    ((buffer[at + 1] as number) << 16) |
    ((buffer[at + 2] as number) << 8) |
    (buffer[at + 3] as number)
  )
}

/** The error for a field that needs `size` octets when `left` are left. */
export function truncated(what: string, size: number, left: number): FrameError {
  return new FrameError(`${what} of ${size} ${size === 1 ? 'octet' : 'octets'} is cut short: ${left} are left`, {
    replyCode: SYNTAX_ERROR,
  })
}
