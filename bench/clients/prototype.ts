/**
 * The least that a client with such an API does: it encodes, writes once a turn and keeps promises, and checks nothing.
 * The difference to this package is the price of its checks, its recovery and its other ways to call it.
 */
import { Buffer } from 'node:buffer'
import * as wire from '../wire.ts'
import type { Client, Connection, Incoming, Outgoing } from './client.ts'
import { RawConnection } from './raw-connection.ts'
import { repeat } from './repeat.ts'

export const client: Client = { connect: open }

const CHUNK_BYTES = 64 * 1024
const LARGE = 16 * 1024
const TURN_PUBLISHES = 1000
const DELIVER = 0x003c_003c
const WRITTEN = Promise.resolve()

interface Envelope {
  readonly consumerTag: string
  readonly deliveryTag: number
  readonly isRedeliver: boolean
  readonly exchangeName: string
  readonly routingKey: string
}

/** What it needs of a connection: that of a socket, or of a stream in memory. */
export interface PrototypeEnd {
  readonly socket: {
    write(bytes: Uint8Array): boolean
    readonly writableLength: number
    readonly writableNeedDrain: boolean
    once(event: 'drain', run: () => void): unknown
  }
  handOver(onBytes: (bytes: Uint8Array, length: number) => void): void
}

export class Prototype {
  readonly raw: PrototypeEnd
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  #view = new DataView(this.#chunk.buffer)
  #end = 0
  #scheduled = false
  #unturned = 0
  /** The first `#settled` of them are settled. */
  #unconfirmed: (() => void)[] = []
  #settled = 0
  #firstTag = 1
  #partial = Buffer.alloc(0)
  #last = Buffer.alloc(0)
  #names: readonly string[] = []
  onDelivery: (body: Buffer, envelope: Envelope) => void = () => undefined

  constructor(raw: PrototypeEnd) {
    this.raw = raw
    raw.handOver((bytes, length) => this.#read(bytes, length))
  }

  #flush = (): void => {
    this.#scheduled = false
    if (this.#end === 0) return
    this.raw.socket.write(this.#chunk.subarray(0, this.#end))
    this.#end = 0
    if (this.raw.socket.writableLength === 0) return
    this.#chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
    this.#view = new DataView(this.#chunk.buffer)
  }

  /** Where `size` bytes may be written. */
  #room(size: number): number {
    if (this.#end + size > CHUNK_BYTES) this.#flush()
    if (!this.#scheduled) {
      this.#scheduled = true
      process.nextTick(this.#flush)
    }
    const at = this.#end
    this.#end += size
    return at
  }

  #name(at: number, name: string): number {
    const { length } = name
    this.#view.setInt8(at, length)
    for (let i = 0; i < length; i += 1) this.#view.setInt8(at + 1 + i, name.charCodeAt(i))
    return at + 1 + length
  }

  publish(body: Uint8Array, exchange: string, routingKey: string): Promise<void> {
    const { length } = body
    const copied = length < LARGE ? length : 0
    const methodSize = 9 + exchange.length + routingKey.length
    const start = this.#room(methodSize + wire.FRAME_OVERHEAD + 22 + 7 + (copied > 0 ? copied + 1 : 0))
    const view = this.#view
    view.setInt32(start, (wire.FRAME_METHOD << 24) | (1 << 8))
    view.setInt32(start + 3, methodSize)
    view.setInt32(start + 7, 0x003c_0028)
    view.setInt16(start + 11, 0)
    let at = this.#name(this.#name(start + 13, exchange), routingKey)
    view.setInt16(at, wire.FRAME_END)
    at += 2
    view.setInt32(at, (wire.FRAME_HEADER << 24) | (1 << 8))
    view.setInt32(at + 3, 14)
    view.setInt32(at + 7, 60 << 16)
    view.setInt32(at + 11, 0)
    view.setInt32(at + 15, length)
    view.setInt32(at + 18, wire.FRAME_END | ((length & 0xff) << 24))
    at += 22
    view.setInt32(at, (wire.FRAME_BODY << 24) | (1 << 8))
    view.setInt32(at + 3, length)
    if (copied === 0) {
      this.#flush()
      this.raw.socket.write(body)
      view.setUint8(this.#room(1), wire.FRAME_END)
    } else {
      for (let i = 0; i < length; i += 1) view.setInt8(at + 7 + i, body[i] ?? 0)
      view.setUint8(at + 7 + length, wire.FRAME_END)
    }
    return this.raw.socket.writableNeedDrain || copied === 0 ? this.#drained() : this.#turn()
  }

  #drained(): Promise<void> {
    return new Promise(resolve => {
      if (this.raw.socket.writableNeedDrain) this.raw.socket.once('drain', resolve)
      else setImmediate(resolve)
    })
  }

  #turn(): Promise<void> {
    this.#unturned += 1
    if (this.#unturned < TURN_PUBLISHES) return WRITTEN
    this.#unturned = 0
    return new Promise(resolve => setImmediate(resolve))
  }

  confirmed(body: Uint8Array, exchange: string, routingKey: string): Promise<void> {
    void this.publish(body, exchange, routingKey)
    return new Promise(resolve => this.#unconfirmed.push(resolve))
  }

  ack(tag: number): void {
    const at = this.#room(wire.ACK_SIZE)
    const view = this.#view
    view.setInt32(at, (wire.FRAME_METHOD << 24) | (1 << 8))
    view.setInt32(at + 3, 13)
    view.setInt32(at + 7, 0x003c_0050)
    view.setInt32(at + 11, 0)
    view.setInt32(at + 15, tag)
    view.setInt16(at + 19, wire.FRAME_END)
  }

  #read(read: Uint8Array, length: number): void {
    let bytes: Uint8Array = read.subarray(0, length)
    if (this.#partial.length > 0) bytes = Buffer.concat([this.#partial, bytes])
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    let at = 0
    for (let end = this.#endOf(view, at); end > 0; end = this.#endOf(view, at)) {
      const method = view.getUint32(at + 7)
      if (method === DELIVER) this.#deliver(view, bytes, at, end)
      else this.#confirm(view.getUint32(at + 15))
      at = end
    }
    this.#partial = Buffer.from(bytes.subarray(at))
    this.#flush()
  }

  /** The end of the frame at `at`, with its content if it is a delivery; 0 if that has not come. */
  #endOf(view: DataView, at: number): number {
    const { byteLength } = view
    if (at + 11 > byteLength) return 0
    let end = at + view.getUint32(at + 3) + wire.FRAME_OVERHEAD
    if (view.getUint32(at + 7) === DELIVER) {
      if (end + 26 > byteLength) return 0
      const size = view.getUint32(end + 15)
      end += view.getUint32(end + 3) + wire.FRAME_OVERHEAD + size + wire.FRAME_OVERHEAD
    }
    return end > byteLength ? 0 : end
  }

  #deliver(view: DataView, bytes: Uint8Array, at: number, end: number): void {
    const tagAt = at + 12 + view.getUint8(at + 11)
    const methodEnd = at + 7 + view.getUint32(at + 3)
    const size = view.getUint32(methodEnd + 16)
    const body = Buffer.allocUnsafe(size)
    const from = end - 1 - size
    for (let i = 0; i < size; i += 1) body[i] = bytes[from + i] ?? 0
    const [consumerTag = '', exchangeName = '', routingKey = ''] = this.#namesOf(bytes, at + 11, tagAt, methodEnd)
    const deliveryTag = view.getUint32(tagAt + 4)
    const isRedeliver = view.getUint8(tagAt + 8) !== 0
    this.onDelivery(body, { consumerTag, deliveryTag, isRedeliver, exchangeName, routingKey })
  }

  /** The texts of the last delivery, if their bytes are the same. */
  #namesOf(bytes: Uint8Array, start: number, tagAt: number, end: number): readonly string[] {
    const last = this.#last
    let same = last.length === end - start
    for (let i = 0; same && i < last.length; i += 1) {
      same = last[i] === bytes[start + i] || (start + i >= tagAt && start + i < tagAt + 9)
    }
    if (!same) {
      this.#last = Buffer.from(bytes.subarray(start, end))
      const keyAt = tagAt + 9 - start
      const nameAt = (at: number): string => this.#last.toString('utf8', at + 1, at + 1 + (this.#last[at] ?? 0))
      this.#names = [nameAt(0), nameAt(keyAt), nameAt(keyAt + 1 + (this.#last[keyAt] ?? 0))]
    }
    return this.#names
  }

  /** All up to `tag`: the peer confirms in order. */
  #confirm(tag: number): void {
    for (const end = this.#settled + tag - this.#firstTag + 1; this.#settled < end; this.#settled += 1) {
      this.#unconfirmed[this.#settled]?.()
    }
    this.#firstTag = tag + 1
    // Not `shift()`, which moves all that are left once they are many.
    if (this.#settled * 2 < this.#unconfirmed.length) return
    this.#unconfirmed = this.#unconfirmed.slice(this.#settled)
    this.#settled = 0
  }
}

/** Takes what is read, and copies every `size` bytes to a buffer of their own: what large bodies cost a bare socket. */
function copying(size: number, whole: (bytes: Buffer) => void): (bytes: Uint8Array, length: number) => void {
  let copy = Buffer.allocUnsafeSlow(size)
  let copied = 0
  return (bytes, length) => {
    for (let at = 0; at < length; ) {
      const count = Math.min(size - copied, length - at)
      copy.set(bytes.subarray(at, at + count), copied)
      at += count
      copied += count
      if (copied < size) continue
      whole(copy)
      copy = Buffer.allocUnsafeSlow(size)
      copied = 0
    }
  }
}

async function open(url: string): Promise<Connection> {
  const raw = await RawConnection.open(url)
  const refuse = async (): Promise<never> => {
    throw new Error('the prototype cannot do that')
  }
  return {
    async publisher({ body, routingKey }: Outgoing) {
      const prototype = new Prototype(raw)
      return async count => {
        for (let number = 0; number < count; number += 1) await prototype.publish(body, '', routingKey)
      }
    },

    async confirmer({ body, routingKey }: Outgoing, window: number) {
      await raw.confirmSelect()
      const prototype = new Prototype(raw)
      return repeat.windowed(window, () => prototype.confirmed(body, '', routingKey))
    },

    async consumer({ queueName, ack, prefetch, tally, bodySize, deliverySize }: Incoming) {
      if (ack) await raw.basicQos(prefetch)
      await raw.basicConsume(queueName, !ack)
      if (bodySize >= LARGE) {
        raw.handOver(copying(deliverySize, delivery => tally.deliver(delivery.subarray(-1 - bodySize, -1), 0)))
        return
      }
      const prototype = new Prototype(raw)
      prototype.onDelivery = (body, { deliveryTag }) => {
        tally.deliver(body, 0)
        if (ack) prototype.ack(deliveryTag)
      }
    },

    burst: refuse,
    caller: refuse,
    declarer: refuse,
    cycleChannel: refuse,
    close: async () => raw.close(),
  }
}
