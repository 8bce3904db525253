import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'
import * as wire from '../wire.ts'

const READ_BYTES = 64 * 1024

/** A bare socket taken through AMQP's handshake: what is read and written after that is the user's own bytes. */
export class RawConnection {
  readonly socket: Socket
  /** Takes what was read once `handOver` was called. */
  #onBytes: ((bytes: Uint8Array, length: number) => void) | undefined
  #unread = Buffer.alloc(0)
  #awaited: { readonly id: number; left: number; readonly resolve: (frame: Buffer) => void } | undefined

  constructor(url: URL) {
    const buffer = Buffer.alloc(READ_BYTES)
    this.socket = connect({
      host: url.hostname,
      port: Number(url.port || 5672),
      noDelay: true,
      onread: {
        buffer,
        callback: length => {
          if (this.#onBytes === undefined) this.#take(buffer.subarray(0, length))
          else this.#onBytes(buffer, length)
          return true
        },
      },
    })
    this.socket.on('error', error => this.socket.destroy(error))
  }

  static async open(address: string): Promise<RawConnection> {
    const url = new URL(address)
    const raw = new RawConnection(url)
    const login = `\0${decodeURIComponent(url.username || 'guest')}\0${decodeURIComponent(url.password || 'guest')}`
    const vhost = url.pathname.length > 1 ? decodeURIComponent(url.pathname.slice(1)) : '/'
    await raw.ask(wire.PROTOCOL_HEADER, 10, 10)
    const startOk = [wire.table({}), wire.shortstr('PLAIN'), wire.longstr(login), wire.shortstr('en_US')]
    await raw.ask(wire.method(0, 10, 11, ...startOk), 10, 30)
    raw.socket.write(wire.method(0, 10, 31, wire.short(2047), wire.long(131_072), wire.short(0)))
    await raw.ask(wire.method(0, 10, 40, wire.shortstr(vhost), wire.shortstr(''), wire.octet(0)), 10, 41)
    await raw.openChannel(1)
    return raw
  }

  openChannel(channel: number): Promise<Buffer> {
    return this.ask(wire.method(channel, 20, 10, wire.shortstr('')), 20, 11)
  }

  /** Opens those from 2 on, all together. */
  async openChannels(last: number): Promise<void> {
    if (last < 2) return
    const opens = Array.from({ length: last - 1 }, (_, at) => wire.method(2 + at, 20, 10, wire.shortstr('')))
    await this.ask(Buffer.concat(opens), 20, 11, opens.length)
  }

  queueDeclare(queueName: string): Promise<Buffer> {
    const durable = 2
    const fields = [wire.short(0), wire.shortstr(queueName), wire.octet(durable), wire.table({})]
    return this.ask(wire.method(1, 50, 10, ...fields), 50, 11)
  }

  queueDelete(queueName: string): Promise<Buffer> {
    return this.ask(wire.method(1, 50, 40, wire.short(0), wire.shortstr(queueName), wire.octet(0)), 50, 41)
  }

  confirmSelect(): Promise<Buffer> {
    return this.ask(wire.method(1, 85, 10, wire.octet(0)), 85, 11)
  }

  basicQos(prefetchCount: number): Promise<Buffer> {
    return this.ask(wire.method(1, 60, 10, wire.long(0), wire.short(prefetchCount), wire.octet(0)), 60, 11)
  }

  /** Starts `count` consumers, all together; deliveries begin when the last is there. */
  basicConsume(queueName: string, noAck: boolean, count = 1): Promise<Buffer> {
    const bits = wire.octet(noAck ? 2 : 0)
    const fields = [wire.short(0), wire.shortstr(queueName), wire.shortstr(''), bits, wire.table({})]
    const consume = wire.method(1, 60, 20, ...fields)
    return this.ask(Buffer.concat(new Array<Buffer>(count).fill(consume)), 60, 21, count)
  }

  /** Writes a method, or `count` of them, and waits for the frame that answers the last. */
  ask(bytes: Uint8Array, classId: number, methodId: number, count = 1): Promise<Buffer> {
    const answer = new Promise<Buffer>(resolve => {
      this.#awaited = { id: classId * 1000 + methodId, left: count, resolve }
    })
    this.socket.write(bytes)
    return answer
  }

  /** Gives everything read from now on, and what was read already, to `onBytes`. */
  handOver(onBytes: (bytes: Uint8Array, length: number) => void): void {
    this.#onBytes = onBytes
    const unread = this.#unread
    this.#unread = Buffer.alloc(0)
    if (unread.length > 0) onBytes(unread, unread.length)
  }

  /** Reads frames again, for `ask`. */
  takeBack(): void {
    this.#onBytes = undefined
  }

  close(): void {
    this.socket.end()
    this.socket.destroySoon()
  }

  /** Looks for the awaited reply; what comes after it stays unread. */
  #take(bytes: Uint8Array): void {
    this.#unread = Buffer.concat([this.#unread, bytes])
    while (this.#awaited !== undefined && this.#unread.length >= wire.FRAME_OVERHEAD) {
      const size = this.#unread.readUInt32BE(3) + wire.FRAME_OVERHEAD
      if (this.#unread.length < size) return
      const frame = this.#unread.subarray(0, size)
      this.#unread = this.#unread.subarray(size)
      if (frame[0] !== wire.FRAME_METHOD) continue
      const id = frame.readUInt16BE(7) * 1000 + frame.readUInt16BE(9)
      if (id === 10_050 || id === 20_040) throw new Error(`refused: ${frame.toString('latin1', 14)}`)
      if (id !== this.#awaited.id) continue
      this.#awaited.left -= 1
      if (this.#awaited.left > 0) continue
      const { resolve } = this.#awaited
      this.#awaited = undefined
      resolve(frame)
    }
  }
}
