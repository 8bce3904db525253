import { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import * as wire from '../wire.ts'
import { Confirms } from './confirms.ts'
import { Deliveries, type Subscriber } from './deliveries.ts'
import { connectionStart, connectionTune, FRAME_MAX, replyTo, shortstrAt } from './replies.ts'
import type { PeerStats, Workload } from './workload.ts'

const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to'
const CONSUME_NO_ACK = 2
const CONSUME_NO_WAIT = 8

/** One client's connection: skips from frame to frame and looks at as few bytes as distinguish them. */
export class PeerConnection {
  readonly #socket: Socket
  readonly #work: Workload
  readonly #stats: PeerStats
  #greeted = false
  /** Bytes of the current body frame that are still to come. */
  #skip = 0
  /** Bytes of the current body in frames that have not begun. */
  #bodyLeft = 0
  #frameMax = FRAME_MAX
  #prefetch = 0
  #completed = 0
  #settled = 0
  #confirms: Confirms | undefined
  #deliveries: Deliveries | undefined
  /** Deliveries asked for before the consumers were there. */
  #askedEarly = 0
  #echoTo: Subscriber | undefined
  #echoed = 0
  #echo: Buffer[] = []
  readonly #subscribers: Subscriber[] = []

  constructor(socket: Socket, work: Workload, stats: PeerStats) {
    this.#socket = socket
    this.#work = work
    this.#stats = stats
  }

  /** Delivers that many messages, as fast as socket and prefetch allow. */
  deliver(count: number): void {
    if (this.#deliveries === undefined) this.#askedEarly += count
    else this.#deliveries.ask(count)
  }

  /** Takes what was read and returns how many bytes of it are done with. */
  read(bytes: Uint8Array, end: number): number {
    let at = 0
    if (!this.#greeted) {
      if (end < wire.PROTOCOL_HEADER.length) return 0
      at = wire.PROTOCOL_HEADER.length
      this.#greeted = true
      this.#socket.write(connectionStart())
    }
    at = this.#scan(bytes, at, end)
    if (this.#completed > 0) {
      this.#stats.published += this.#completed
      this.#confirms?.publishes(this.#completed)
      this.#completed = 0
    }
    if (this.#settled > 0) {
      this.#stats.settled += this.#settled
      this.#deliveries?.settle(this.#settled)
      this.#settled = 0
    }
    this.#stats.delivered = this.#deliveries?.delivered ?? 0
    return at
  }

  #scan(bytes: Uint8Array, from: number, end: number): number {
    let at = from
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, end - at)
      at += skipped
      this.#skip -= skipped
      if (this.#skip > 0) return at
      if (this.#bodyLeft === 0) this.#completed += 1
    }
    while (end - at >= wire.FRAME_OVERHEAD) {
      const type = octet(bytes, at)
      const size = long(bytes, at + 3)
      const next = at + size + wire.FRAME_OVERHEAD
      if (type === wire.FRAME_BODY && this.#echoTo === undefined) {
        this.#bodyLeft -= size
        if (next > end) {
          this.#skip = next - end
          return end
        }
        if (this.#bodyLeft === 0) this.#completed += 1
      } else {
        if (next > end) break
        if (type === wire.FRAME_HEADER) this.#bodyLeft = long(bytes, at + 15)
        else if (type === wire.FRAME_METHOD) this.#takeMethod(bytes, at, next)
        if (this.#echoTo !== undefined && (type === wire.FRAME_HEADER || type === wire.FRAME_BODY)) {
          this.#takeEcho(this.#echoTo, bytes, at, next)
        }
      }
      at = next
    }
    return at
  }

  #takeMethod(bytes: Uint8Array, at: number, next: number): void {
    const classId = short(bytes, at + 7)
    const methodId = short(bytes, at + 9)
    if (classId === 60) {
      if (methodId === 40) return
      if (methodId === 80) {
        const multiple = octet(bytes, at + 19) !== 0
        this.#settled += multiple ? long(bytes, at + 15) - this.#stats.settled - this.#settled : 1
        return
      }
    }
    this.#answer(short(bytes, at + 1), classId, methodId, bytes.subarray(at, next))
  }

  #answer(channel: number, classId: number, methodId: number, frame: Uint8Array): void {
    if (classId === 10 && methodId === 11) this.#socket.write(connectionTune())
    if (classId === 10 && methodId === 31) {
      const asked = long(frame, 13)
      this.#frameMax = asked === 0 ? FRAME_MAX : Math.min(FRAME_MAX, asked)
    }
    if (classId === 60 && methodId === 10) this.#prefetch = short(frame, 15)
    if (classId === 85) this.#confirms = new Confirms(this.#socket, channel, this.#work)
    if (classId === 60 && methodId === 20) this.#subscribe(channel, frame)
    const reply = replyTo(channel, classId, methodId, frame)
    if (reply !== undefined) this.#socket.write(reply)
  }

  #subscribe(channel: number, frame: Uint8Array): void {
    const queueName = shortstrAt(frame, 13)
    const tagAt = 14 + queueName.length
    const consumerTag = shortstrAt(frame, tagAt) || `consumer-${String(this.#subscribers.length).padStart(4, '0')}`
    const bits = octet(frame, tagAt + 1 + (frame[tagAt] ?? 0))
    const subscriber = { channel, consumerTag, noAck: (bits & CONSUME_NO_ACK) !== 0 }
    if ((bits & CONSUME_NO_WAIT) === 0) this.#socket.write(wire.method(channel, 60, 21, wire.shortstr(consumerTag)))
    if (queueName === DIRECT_REPLY_TO) {
      this.#echoTo = subscriber
      return
    }
    this.#subscribers.push(subscriber)
    if (this.#subscribers.length < this.#work.consumers) return
    const frameMax = Math.min(this.#frameMax, this.#work.deliveryFrameMax)
    this.#deliveries = new Deliveries(this.#socket, this.#subscribers, this.#prefetch, this.#work, frameMax)
    this.#deliveries.ask(this.#askedEarly)
  }

  /** Gives a request back as its own reply: the same properties, so the same correlation-id. */
  #takeEcho(to: Subscriber, bytes: Uint8Array, at: number, next: number): void {
    this.#echo.push(Buffer.from(bytes.subarray(at, next)))
    if (bytes[at] === wire.FRAME_BODY) this.#bodyLeft -= next - at - wire.FRAME_OVERHEAD
    if (this.#bodyLeft > 0) return
    this.#echoed += 1
    const fields = [wire.shortstr(to.consumerTag), wire.longlong(this.#echoed), wire.octet(0), wire.shortstr('')]
    const deliver = wire.method(to.channel, 60, 60, ...fields, wire.shortstr(DIRECT_REPLY_TO))
    this.#socket.write(Buffer.concat([deliver, ...this.#echo]))
    this.#echo = []
    this.#completed += 1
  }
}

const octet = (bytes: Uint8Array, at: number): number => bytes[at] ?? 0
const short = (bytes: Uint8Array, at: number): number => (octet(bytes, at) << 8) | octet(bytes, at + 1)
const long = (bytes: Uint8Array, at: number): number => ((short(bytes, at) << 16) | short(bytes, at + 2)) >>> 0
