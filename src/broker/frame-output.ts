import { FRAME_END, FRAME_OVERHEAD, FrameType, HEARTBEAT_FRAME } from '../protocol/constants.ts'
import { encodeMethod } from '../protocol/method-codec.ts'
import type { AnyMethod, ArgumentsOf } from '../protocol/methods.ts'
import { Writer } from '../protocol/writer.ts'
import type { ClientPort } from './connection-host.ts'
import { type Message, writePropertyList } from './message.ts'

const BASIC = 60
/** Octets from which on a piece of a body is written as it is: many clients, or one that does not read, share it. */
const SHARED = 4096

const FRAME_ENDS = Buffer.of(FRAME_END)

/** Collects what goes to one client until it is written, and knows whether the stream takes more. */
export class FrameOutput {
  readonly #port: ClientPort
  readonly #writer = new Writer()
  /** What comes in front of that in the writer. */
  #pieces: Buffer[] = []
  /** The stream has taken enough for now. */
  #isFull = false
  /** Waits until what was sent before has left. */
  #waiting: (() => void)[] = []
  /** The agreed size of a frame; 0 sets no limit. */
  frameMax = 0

  constructor(port: ClientPort) {
    this.#port = port
  }

  method<M extends AnyMethod>(channel: number, method: M, args: ArgumentsOf<M>): void {
    encodeMethod(this.#writer, channel, method, args)
  }

  /** A method with its message. */
  content<M extends AnyMethod>(channel: number, method: M, args: ArgumentsOf<M>, message: Message): void {
    this.method(channel, method, args)
    const { body, properties } = message
    this.#frame(FrameType.HEADER, channel, writer => {
      writer.reserve(12)
      writer.short(BASIC)
      writer.short(0)
      writer.longlong(body.length)
      writePropertyList(writer, properties)
    })
    const most = this.frameMax === 0 ? body.length : this.frameMax - FRAME_OVERHEAD
    for (let start = 0; start < body.length; start += most) {
      this.#body(channel, body.subarray(start, start + most))
    }
  }

  heartbeat(): void {
    this.bytes(HEARTBEAT_FRAME)
  }

  bytes(bytes: Uint8Array): void {
    const writer = this.#writer
    writer.begin()
    writer.reserve(bytes.length)
    writer.bytes(bytes)
  }

  /** Write everything since the last time. Returns whether there was anything. */
  flush(): boolean {
    this.#cut()
    const pieces = this.#pieces
    this.#pieces = []
    for (const bytes of pieces) this.#isFull = !this.#port.write(bytes)
    return pieces.length > 0
  }

  /** The stream takes more. */
  drained(): void {
    this.#isFull = false
  }

  /** Have something wait until what was sent before has left. */
  afterWriting(turn: () => void): void {
    this.#waiting.push(turn)
  }

  /** Take what waits no longer. */
  due(): (() => void)[] {
    return this.#isFull ? [] : this.#waiting.splice(0)
  }

  /** Nothing waits any more. */
  discard(): void {
    this.#waiting = []
  }

  #body(channel: number, piece: Buffer): void {
    if (piece.length < SHARED) {
      this.#frame(FrameType.BODY, channel, writer => {
        writer.reserve(piece.length)
        writer.bytes(piece)
      })
      return
    }
    const header = Buffer.alloc(FRAME_OVERHEAD - 1)
    header.writeUInt8(FrameType.BODY, 0)
    header.writeUInt16BE(channel, 1)
    header.writeUInt32BE(piece.length, 3)
    this.bytes(header)
    this.#cut()
    this.#pieces.push(piece)
    this.bytes(FRAME_ENDS)
  }

  /** What follows comes in another piece. */
  #cut(): void {
    if (this.#writer.waiting === 0) return
    this.#pieces.push(Buffer.concat(this.#writer.take()))
    this.#writer.reuse()
  }

  #frame(type: number, channel: number, write: (writer: Writer) => void): void {
    const writer = this.#writer
    writer.begin()
    writer.reserve(FRAME_OVERHEAD)
    writer.octet(type)
    writer.short(channel)
    writer.long(0)
    const start = writer.offset
    write(writer)
    writer.patchLong(start - 4, writer.offset - start)
    writer.reserve(1)
    writer.octet(FRAME_END)
  }
}
