import { Buffer } from 'node:buffer'
import { connectionStart, connectionTune, replyTo, shortstrAt } from '../peer/replies.ts'
import * as wire from '../wire.ts'

/** The part of a `Transport` of the package that a stream in memory needs. */
interface MemoryTransport {
  readonly peer: { host: string; port: number; localPort: number; encrypted: boolean }
  readonly pending: number
  write(segments: readonly Uint8Array[], sent?: () => void): boolean
  pause(): void
  resume(): void
  end(): void
  destroy(): void
}

interface MemoryHandler {
  onBytes(buffer: Buffer, length: number): void
  onClose(error: Error | undefined): void
}

/**
 * The other end of a connection, in the same process and without a socket: what the kernel and another process do to the
 * figures is what a guard must not see. It answers methods until `quiet` is set, and then drops what comes.
 */
export class MemoryPeer {
  /** Takes what this end sends. */
  onBytes: (bytes: Buffer, length: number) => void = () => undefined
  quiet = false
  /** Ends the connection as a broken socket does. */
  lose: () => void = () => undefined
  /** The channel of the last confirm.select, or basic.consume. */
  channel = 1
  /** The consumer tag of the last basic.consume. */
  consumerTag = ''
  #greeted = false
  #unread = Buffer.alloc(0)

  /** For `createTransport` of the package. */
  readonly createTransport = async (_target: unknown, handler: MemoryHandler): Promise<MemoryTransport> => {
    const closed = (): void => void setImmediate(() => handler.onClose(undefined))
    this.#greeted = false
    this.#unread = Buffer.alloc(0)
    this.lose = () => handler.onClose(new Error('lost'))
    this.onBytes = (bytes, length) => handler.onBytes(bytes, length)
    return {
      peer: { host: 'memory', port: 0, localPort: 0, encrypted: false },
      pending: 0,
      write: (segments, sent) => {
        for (const segment of segments) this.take(segment)
        if (sent !== undefined) process.nextTick(sent)
        return true
      },
      pause: () => undefined,
      resume: () => undefined,
      end: closed,
      destroy: closed,
    }
  }

  take(bytes: Uint8Array): void {
    if (this.quiet) return
    this.#unread = Buffer.concat([this.#unread, bytes])
    if (!this.#greeted) {
      this.#greeted = true
      this.#unread = this.#unread.subarray(wire.PROTOCOL_HEADER.length)
      this.#answer(connectionStart())
    }
    while (this.#unread.length >= wire.FRAME_OVERHEAD) {
      const size = this.#unread.readUInt32BE(3) + wire.FRAME_OVERHEAD
      if (this.#unread.length < size) return
      this.#takeFrame(this.#unread.subarray(0, size))
      this.#unread = this.#unread.subarray(size)
    }
  }

  #takeFrame(frame: Buffer): void {
    if (frame[0] !== wire.FRAME_METHOD) return
    const channel = frame.readUInt16BE(1)
    const classId = frame.readUInt16BE(7)
    const methodId = frame.readUInt16BE(9)
    if (classId === 10 && methodId === 11) this.#answer(connectionTune())
    const consumes = classId === 60 && methodId === 20
    if (classId === 85 || consumes) this.channel = channel
    if (consumes) {
      this.consumerTag = shortstrAt(frame, 14 + shortstrAt(frame, 13).length)
      this.#answer(wire.method(channel, 60, 21, wire.shortstr(this.consumerTag)))
    }
    const reply = replyTo(channel, classId, methodId, frame)
    if (reply !== undefined) this.#answer(reply)
  }

  #answer(bytes: Buffer): void {
    setImmediate(() => this.onBytes(bytes, bytes.length))
  }
}

/** Frames that are encoded once, and sent again and again with the next delivery tags. */
export class Block {
  readonly #bytes: Buffer
  readonly #tagOffsets: readonly number[]
  #tag: number

  constructor(frames: readonly Buffer[], tagOffset: number, lastTag = 0) {
    this.#tag = lastTag
    this.#bytes = Buffer.concat(frames)
    let at = 0
    this.#tagOffsets = frames.map(({ length }) => {
      const offset = at + tagOffset
      at += length
      return offset
    })
  }

  /** basic.ack, one for each of `count` messages. */
  static acks({ channel }: MemoryPeer, count: number, lastTag = 0): Block {
    const frames = Array.from({ length: count }, () => wire.ack(channel, 0, false))
    return new Block(frames, wire.ACK_TAG_OFFSET, lastTag)
  }

  /** `count` deliveries. */
  static deliveries({ channel, consumerTag }: MemoryPeer, body: Buffer, withProperties: boolean, count: number): Block {
    const content = { channel, routingKey: 'guard', body, withProperties, frameMax: 131_072 }
    const frames = Array.from({ length: count }, (_, number) => wire.deliver(consumerTag, { ...content, number }))
    return new Block(frames, wire.deliveryTagOffset(consumerTag))
  }

  /** Its bytes, with tags that follow those of the time before. */
  next(): Buffer {
    for (const offset of this.#tagOffsets) {
      this.#tag += 1
      this.#bytes.writeUInt32BE(this.#tag, offset)
    }
    return this.#bytes
  }
}
