import { FRAME_END, FRAME_OVERHEAD, FrameType } from '../protocol/constants.ts'
import { binaryTerm, pairTerm } from './erlang-terms.ts'
import { frameError, type Refusal } from './refusals.ts'

const FRAME_HEADER_SIZE = 7
const CLASS_AND_METHOD = 4
/** Class, weight and body size. */
const CONTENT_HEADER = 12
const SHOWN_OCTETS = 16

/** Takes whole frames, whose types and sizes are sound. */
export type TakeFrame = (type: number, channel: number, payload: Buffer) => void

/** Cuts the bytes of a client into frames, and refuses other bytes with the texts of RabbitMQ. */
export class FrameCutter {
  /** Bytes of a frame at most; 0 for any number. */
  frameMax: number
  readonly #take: TakeFrame
  /** The beginning of a frame, in the pieces in which it came. */
  #pieces: Buffer[] = []
  /** Bytes in `#pieces`. */
  #held = 0
  /** Bytes with which `#pieces` are worth a look. */
  #needed = 0

  constructor(frameMax: number, take: TakeFrame) {
    this.frameMax = frameMax
    this.#take = take
  }

  /** @throws Refusal (501) */
  push(bytes: Buffer): void {
    let rest = bytes
    if (this.#held > 0) {
      this.#hold(bytes)
      if (this.#held < this.#needed) return
      rest = Buffer.concat(this.#pieces)
      this.#pieces = []
      this.#held = 0
    }
    let needed = FRAME_HEADER_SIZE
    while (rest.length >= FRAME_HEADER_SIZE) {
      const type = rest.readUInt8(0)
      const channel = rest.readUInt16BE(1)
      const size = rest.readUInt32BE(3)
      // RabbitMQ accepts frames whose size leaves out the eight bytes around the payload.
      if (this.frameMax !== 0 && size > this.frameMax) {
        const most = this.frameMax - FRAME_OVERHEAD
        throw frameError(`${printFrame(type, Buffer.alloc(0))}: {frame_too_large,${size},${most}}`)
      }
      const end = FRAME_HEADER_SIZE + size
      if (rest.length <= end) {
        needed = end + 1
        break
      }
      const payload = rest.subarray(FRAME_HEADER_SIZE, end)
      const last = rest.readUInt8(end)
      if (last !== FRAME_END)
        throw badFrame(type, payload, column => pairTerm('invalid_frame_end_marker', BigInt(last), column))
      if (!isKnown(type, size)) throw badFrame(type, payload, () => 'unknown_frame')
      rest = rest.subarray(end + 1)
      this.#take(type, channel, payload)
    }
    this.#needed = needed
    if (rest.length > 0) this.#hold(rest)
  }

  #hold(bytes: Buffer): void {
    this.#pieces.push(bytes)
    this.#held += bytes.length
  }
}

function isKnown(type: number, size: number): boolean {
  if (type === FrameType.METHOD) return size >= CLASS_AND_METHOD
  if (type === FrameType.HEADER) return size >= CONTENT_HEADER
  return type === FrameType.BODY || (type === FrameType.HEARTBEAT && size === 0)
}

function badFrame(type: number, payload: Buffer, why: (column: number) => string): Refusal {
  const what = `${printFrame(type, payload)}: `
  return frameError(what + why(what.length))
}

/** A frame that is refused, with the beginning of its payload. */
export function printFrame(type: number, payload: Buffer): string {
  const which = payload.length > SHOWN_OCTETS ? `first ${SHOWN_OCTETS}` : 'all'
  return `type ${type}, ${which} octets = ${binaryTerm(payload.subarray(0, SHOWN_OCTETS))}`
}

/** Bytes as Erlang prints them one by one. */
export function printOctets(bytes: Buffer): string {
  return `<<${[...bytes].join(',')}>>`
}
