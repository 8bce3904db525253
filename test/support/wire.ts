import { decodeMethod } from '../../src/protocol/method-codec.ts'

const [METHOD, HEADER, BODY, HEARTBEAT] = [1, 2, 3, 8]
const FRAME_OVERHEAD = 8

/** One frame, as a test reads it out of recorded bytes. */
export interface SeenFrame {
  readonly channel: number
  /** `queue.declare`, `header`, `body`, `heartbeat` */
  readonly name: string
  /** Of a method. */
  readonly args: Readonly<Record<string, unknown>>
  /** Of a body. */
  readonly payload: Buffer
}

/** The frames in bytes of a client or a server; a protocol header in front of them and a part at the end are skipped. */
export function framesIn(bytes: Buffer): SeenFrame[] {
  const frames: SeenFrame[] = []
  let at = bytes.subarray(0, 4).toString('latin1') === 'AMQP' ? 8 : 0
  while (at + FRAME_OVERHEAD <= bytes.length) {
    const type = bytes.readUInt8(at)
    const channel = bytes.readUInt16BE(at + 1)
    const end = at + 7 + bytes.readUInt32BE(at + 3)
    if (end >= bytes.length) break
    const payload = bytes.subarray(at + 7, end)
    at = end + 1
    if (type === METHOD) {
      const { method, args } = decodeMethod(payload, 0, payload.length)
      frames.push({ channel, name: method.name, args, payload })
    } else {
      const name =
        type === HEADER ? 'header' : type === BODY ? 'body' : type === HEARTBEAT ? 'heartbeat' : `type ${type}`
      frames.push({ channel, name, args: {}, payload })
    }
  }
  return frames
}

/** The names of the methods in these bytes, in order. */
export function methodNames(bytes: Buffer): string[] {
  return framesIn(bytes)
    .map(({ name }) => name)
    .filter(name => name.includes('.'))
}
