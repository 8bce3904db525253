import type {
  Transport,
  TransportHandler,
  TransportPeer,
  TransportTarget,
} from '../../src/connection/wire/transport.ts'
import type { Timer } from '../../src/lib/clock.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import type { Random } from './random.ts'

/** How a link treats bytes. */
export interface LinkConditions {
  /** Milliseconds from one end to the other, at least and at most. */
  readonly delay: readonly [least: number, most: number]
  /** Most bytes of one chunk; what is longer is split at random places. */
  readonly chunk: number
  /** Bytes a millisecond that one side can send; `Infinity` for no limit. */
  readonly rate: number
}

export const GOOD_LINK: LinkConditions = { delay: [0, 1], chunk: 65_536, rate: Number.POSITIVE_INFINITY }

/** The broker's end of a connection. */
export interface ServerEnd {
  /** Bytes that the client sent: no other code has them. */
  bytes(chunk: Buffer): void
  /** The client has ended its side. */
  ended(): void
  /** The connection is gone. */
  closed(): void
}

/** What the broker does with a connection. */
export interface ServerSocket {
  /** The bytes are given away. */
  write(bytes: Buffer): void
  /** End the stream to the client, after what was written. */
  end(): void
  /** Reset it. */
  destroy(): void
}

/** Whom connections reach; undefined refuses them. */
export type Listener = ((socket: ServerSocket) => ServerEnd) | undefined

const HIGH_WATER_MARK = 65_536
const READ_BUFFER_SIZE = 65_536
/** What is read goes through this one buffer, of all links: code that keeps bytes of it keeps nonsense. */
const READ_BUFFER = Buffer.alloc(READ_BUFFER_SIZE)

/** One way of a link: bytes leave in order, each after its delay and never before those before it. */
class Lane {
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #deliver: (chunk: Buffer | 'end') => void
  readonly #left: (bytes: number) => void
  conditions: LinkConditions
  /** Nothing arrives until it thaws. */
  frozen = false
  /** Bytes after which the link is cut; undefined for never. */
  cutAfter: number | undefined
  onCut: () => void = () => {}
  #arrival = 0
  #free = 0
  #line: { chunk: Buffer | 'end'; time: number; sent: (() => void) | undefined }[] = []
  #armed: Timer | undefined
  #closed = false

  constructor(
    clock: VirtualClock,
    random: Random,
    conditions: LinkConditions,
    deliver: (chunk: Buffer | 'end') => void,
    left: (bytes: number) => void,
  ) {
    this.#clock = clock
    this.#random = random
    this.conditions = conditions
    this.#deliver = deliver
    this.#left = left
  }

  send(bytes: Buffer, sent?: () => void): void {
    const { chunk } = this.conditions
    for (let at = 0; at < bytes.length; ) {
      const size = Math.min(bytes.length - at, chunk <= 1 ? 1 : this.#random.between(Math.ceil(chunk / 8), chunk))
      at += size
      this.#put(bytes.subarray(at - size, at), at === bytes.length ? sent : undefined)
    }
    if (bytes.length === 0) sent?.()
  }

  end(): void {
    this.#put('end', undefined)
  }

  close(): void {
    this.#closed = true
    this.#line = []
  }

  thaw(): void {
    this.frozen = false
    this.#arm()
  }

  /** All is well again: what is on its way is there. */
  heal(): void {
    this.cutAfter = undefined
    this.conditions = GOOD_LINK
    const now = this.#clock.now()
    this.#free = now
    this.#arrival = now
    for (const each of this.#line) each.time = Math.min(each.time, now)
    this.#armed?.cancel()
    this.#armed = undefined
    this.#arm()
  }

  #put(chunk: Buffer | 'end', sent: (() => void) | undefined): void {
    const { delay, rate } = this.conditions
    const now = this.#clock.now()
    this.#free = Math.max(this.#free, now) + (chunk === 'end' ? 0 : chunk.length / rate)
    this.#arrival = Math.max(this.#arrival, this.#free + this.#random.between(delay[0], delay[1]))
    this.#line.push({ chunk, time: this.#arrival, sent })
    this.#arm()
  }

  #arm(): void {
    const first = this.#line[0]
    if (first === undefined || this.#armed !== undefined || this.frozen || this.#closed) return
    this.#armed = this.#clock.after(Math.max(0, first.time - this.#clock.now()), () => {
      this.#armed = undefined
      this.#arrive()
    })
  }

  #arrive(): void {
    while (!this.frozen && !this.#closed) {
      const first = this.#line[0]
      if (first === undefined || first.time > this.#clock.now()) break
      this.#line.shift()
      const { chunk } = first
      if (chunk !== 'end') {
        if (this.cutAfter !== undefined && chunk.length >= this.cutAfter) {
          this.#deliver(chunk.subarray(0, this.cutAfter))
          this.cutAfter = undefined
          this.onCut()
          return
        }
        if (this.cutAfter !== undefined) this.cutAfter -= chunk.length
        this.#left(chunk.length)
      }
      this.#deliver(chunk)
      first.sent?.()
    }
    this.#arm()
  }
}

/** One connection over the network: the client's transport at one end, the broker at the other. */
export class Link implements Transport {
  readonly peer: TransportPeer
  readonly toServer: Lane
  readonly toClient: Lane
  pending = 0
  /** It is never thawed: only its ends can give it up. */
  swallows = false
  /** Sees what the client writes. */
  watch: (bytes: Buffer) => void = () => {}
  #server: ServerEnd | undefined
  readonly #handler: TransportHandler
  readonly #clock: VirtualClock
  #paused = false
  #arrived: (Buffer | 'end')[] = []
  #state: 'open' | 'ended' | 'closed' = 'open'
  #serverEnded = false
  #saturated = false
  readonly #gone: () => void

  constructor(
    clock: VirtualClock,
    random: Random,
    conditions: LinkConditions,
    handler: TransportHandler,
    peer: TransportPeer,
    gone: () => void,
  ) {
    this.#clock = clock
    this.#handler = handler
    this.peer = peer
    this.#gone = gone
    this.toServer = new Lane(
      clock,
      random,
      conditions,
      chunk => {
        if (chunk === 'end') this.#server?.ended()
        else this.#server?.bytes(chunk)
      },
      bytes => this.#left(bytes),
    )
    this.toClient = new Lane(
      clock,
      random,
      conditions,
      chunk => {
        this.#arrived.push(chunk)
        this.#read()
      },
      () => {},
    )
    this.toServer.onCut = () => this.cut()
    this.toClient.onCut = () => this.cut()
  }

  accept(listener: NonNullable<Listener>): void {
    this.#server = listener({
      write: bytes => {
        if (this.#state !== 'closed' && !this.#serverEnded) this.toClient.send(bytes)
      },
      end: () => this.serverEnds(),
      // If the network swallows everything, the client learns nothing of it.
      destroy: () => {
        if (!this.swallows) this.cut()
      },
    })
  }

  /** The broker's side of the stream ends, after what it wrote. */
  serverEnds(): void {
    if (this.#serverEnded || this.#state === 'closed') return
    this.#serverEnded = true
    this.toClient.end()
  }

  /** The connection breaks: both ends see it. */
  cut(): void {
    const error = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
    this.#close(error)
  }

  freeze(): void {
    this.toServer.frozen = true
    this.toClient.frozen = true
  }

  thaw(): void {
    if (this.swallows) return
    this.toServer.thaw()
    this.toClient.thaw()
  }

  heal(): void {
    this.toServer.heal()
    this.toClient.heal()
    this.thaw()
  }

  get closed(): boolean {
    return this.#state === 'closed'
  }

  // ---- the client's side

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#state !== 'open') return false
    const bytes = Buffer.concat(segments)
    this.watch(bytes)
    this.pending += bytes.length
    this.toServer.send(bytes, sent)
    const more = this.pending < HIGH_WATER_MARK
    if (!more) this.#saturated = true
    return more
  }

  #left(bytes: number): void {
    this.pending -= bytes
    if (this.pending > 0 || !this.#saturated) return
    this.#saturated = false
    this.#clock.after(0, () => {
      if (this.#state === 'open') this.#handler.onDrain()
    })
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    // As a socket does: before the client takes its peer for dead.
    process.nextTick(() => this.#read())
  }

  #read(): void {
    while (!this.#paused && this.#state !== 'closed') {
      const chunk = this.#arrived.shift()
      if (chunk === undefined) return
      if (chunk === 'end') {
        this.#handler.onEnd()
        if (this.#state === 'ended') this.#close(undefined)
        return
      }
      for (let at = 0; at < chunk.length; at += READ_BUFFER_SIZE) {
        const size = chunk.copy(READ_BUFFER, 0, at)
        this.#handler.onBytes(READ_BUFFER, size)
        READ_BUFFER.fill(0xaa, 0, size)
      }
    }
  }

  end(agreed = false): void {
    if (this.#state !== 'open') return
    this.#state = 'ended'
    this.toServer.end()
    if (agreed || this.#serverEnded) this.#clock.after(0, () => this.#close(undefined))
  }

  destroy(error?: Error): void {
    this.#close(error)
  }

  #close(error: Error | undefined): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.toServer.close()
    this.toClient.close()
    this.#gone()
    const server = this.#server
    this.#clock.after(0, () => server?.closed())
    this.#clock.after(0, () => this.#handler.onClose(error))
  }
}

/** What lies between the clients and the broker. */
export class Network {
  readonly links = new Set<Link>()
  conditions: LinkConditions = GOOD_LINK
  listener: Listener
  readonly #clock: VirtualClock
  readonly #random: Random
  #ports = 40_000

  constructor(clock: VirtualClock, random: Random) {
    this.#clock = clock
    this.#random = random
  }

  /** The factory that a client's option `createTransport` takes. */
  readonly createTransport = (target: TransportTarget, handler: TransportHandler, signal: AbortSignal): Promise<Link> =>
    new Promise((resolve, reject) => {
      const [least, most] = this.conditions.delay
      this.#clock.after(this.#random.between(least, most), () => {
        if (signal.aborted) return reject(signal.reason as Error)
        const { listener } = this
        if (listener === undefined) {
          return reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
        }
        const peer = { host: target.host, port: target.port, localPort: this.#ports++, encrypted: false }
        const link = new Link(this.#clock, this.#random, this.conditions, handler, peer, () => this.links.delete(link))
        this.links.add(link)
        link.accept(listener)
        resolve(link)
      })
    })
}
