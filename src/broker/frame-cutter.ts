import { FRAME_END, FRAME_OVERHEAD, FrameType } from '../protocol/constants.ts'
import { frameError, type Refusal } from './refusals.ts'

const FRAME_HEADER_SIZE = 7
const CLASS_AND_METHOD = 4
/** Class, weight and body size. */
const CONTENT_HEADER = 12
const SHOWN_TEXT = /^[\x20-\x7e\t\n\r\v\f]+$/

/** Takes whole frames, whose types and sizes are sound. */
export type TakeFrame = (type: number, channel: number, payload: Buffer) => void

/** Cuts the bytes of a client into frames, and refuses other bytes with the texts of RabbitMQ. */
export class FrameCutter {
  /** Bytes of a frame at most; 0 for any number. */
  frameMax: number
  readonly #take: TakeFrame
  #rest: Buffer = Buffer.alloc(0)

  constructor(frameMax: number, take: TakeFrame) {
    this.frameMax = frameMax
    this.#take = take
  }

  /** @throws Refusal (501) */
  push(bytes: Buffer): void {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    while (rest.length >= FRAME_HEADER_SIZE) {
      const type = rest.readUInt8(0)
      const channel = rest.readUInt16BE(1)
      const size = rest.readUInt32BE(3)
      // RabbitMQ accepts frames whose size leaves out the eight bytes around the payload.
      if (this.frameMax !== 0 && size > this.frameMax) {
        const most = this.frameMax - FRAME_OVERHEAD
        throw frameError(`type ${type}, all octets = <<>>: {frame_too_large,${size},${most}}`)
      }
      const end = FRAME_HEADER_SIZE + size
      if (rest.length <= end) break
      const payload = rest.subarray(FRAME_HEADER_SIZE, end)
      const last = rest.readUInt8(end)
      if (last !== FRAME_END) throw badFrame(type, payload, `{invalid_frame_end_marker,${last}}`)
      if (!isKnown(type, size)) throw badFrame(type, payload, 'unknown_frame')
      rest = rest.subarray(end + 1)
      this.#take(type, channel, payload)
    }
    this.#rest = rest
  }
}

function isKnown(type: number, size: number): boolean {
  if (type === FrameType.METHOD) return size >= CLASS_AND_METHOD
  if (type === FrameType.HEADER) return size >= CONTENT_HEADER
  return type === FrameType.BODY || (type === FrameType.HEARTBEAT && size === 0)
}

function badFrame(type: number, payload: Buffer, why: string): Refusal {
  return frameError(`type ${type}, all octets = ${printBytes(payload)}: ${why}`)
}

/** Bytes as Erlang prints them: text where it is one. */
export function printBytes(bytes: Buffer): string {
  const text = bytes.toString('latin1')
  return SHOWN_TEXT.test(text) ? `<<"${text.replaceAll(/["\\]/g, '\\$&')}">>` : printOctets(bytes)
}

/** Bytes as Erlang prints them one by one. */
export function printOctets(bytes: Buffer): string {
  return `<<${[...bytes].join(',')}>>`
}
