import type {
  Transport,
  TransportHandler,
  TransportPeer,
  TransportTarget,
} from '../../src/connection/wire/transport.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import { FrameWatch } from './frame-watch.ts'
import { GOOD_LINK, Lane, type LinkConditions } from './lane.ts'
import type { Random } from './random.ts'

/** The broker's end of a connection. */
export interface ServerEnd {
  /** Bytes that the client sent, and when it wrote them: no other code has them. */
  bytes(chunk: Buffer, written: number): void
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

const HEARTBEAT_FRAME = 8
/** Milliseconds between heartbeats: the client's default, which is less than what the broker asks for. */
const INTERVAL = 10_000
const HIGH_WATER_MARK = 65_536
const READ_BUFFER_SIZE = 65_536
/** The share of chunks that are read by themselves. */
const READ_ALONE = 0.5
/** What is read goes through this one buffer, of all links: code that keeps bytes of it, or reads more than came, finds ends of frames. */
const READ_BUFFER = Buffer.alloc(READ_BUFFER_SIZE, 0xce)

/** One connection over the network: the client's transport at one end, the broker at the other. */
export class Link implements Transport {
  readonly peer: TransportPeer
  readonly toServer: Lane
  readonly toClient: Lane
  pending = 0
  /** It is never thawed: only its ends can give it up. */
  swallows = false
  /** Hears which frames no client may write. */
  complainOfFrames: (what: string) => void = () => {}
  /** Hears what a client does wrong that has the default heartbeats. */
  complain: (what: string) => void = () => {}
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
  #lastWrite = 0
  #lastRead = 0
  /** The client has begun to send heartbeats. */
  #beats = false
  readonly #gone: () => void
  readonly frames = new FrameWatch(what => this.complainOfFrames(what))

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
      (chunk, written) => {
        if (chunk === 'end') this.#server?.ended()
        else this.#server?.bytes(Buffer.from(chunk), written)
      },
      () => {},
      bytes => this.#left(bytes),
    )
    this.toClient = new Lane(
      clock,
      random,
      conditions,
      chunk => {
        this.#arrived.push(chunk)
        // What arrives together is read together, or one after the other.
        if (random.chance(READ_ALONE)) this.#read()
      },
      () => this.#read(),
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
    this.#clock.after(2 * INTERVAL + 1_000, () => this.#judgePatience())
  }

  /** With heartbeats each interval has one write. */
  #judgeSilence(): void {
    const silence = this.#clock.now() - this.#lastWrite
    if (this.#beats && silence > INTERVAL) this.complain(`it wrote nothing for ${silence} ms`)
  }

  /** A peer that is silent for two intervals is dead. */
  #judgePatience(): void {
    const silence = this.#clock.now() - this.#lastRead
    if (this.#beats && this.#state === 'open' && this.toClient.frozen && !this.#paused && silence > 2 * INTERVAL)
      this.complain(`it has not noticed a silence of ${silence} ms`)
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
    const [only] = segments
    // As a socket has it: the memory is the client's, which must leave it alone until it is sent.
    const bytes = only !== undefined && segments.length === 1 ? viewOf(only) : Buffer.concat(segments)
    this.watch(bytes)
    this.frames.written(bytes)
    this.#judgeSilence()
    if (bytes[0] === HEARTBEAT_FRAME) this.#beats = true
    this.#lastWrite = this.#clock.now()
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
    // Like a socket: before the client declares its peer dead.
    process.nextTick(() => this.#read())
  }

  /** Like a socket: each read gives what has arrived, as far as it fits in the buffer. */
  #read(): void {
    while (!this.#paused && this.#state !== 'closed') {
      const [first] = this.#arrived
      if (first === undefined) return
      if (first === 'end') {
        this.#arrived.shift()
        this.#handler.onEnd()
        if (this.#state === 'ended') this.#close(undefined)
        return
      }
      this.#lastRead = this.#clock.now()
      const size = this.#fill()
      this.#handler.onBytes(READ_BUFFER, size)
      READ_BUFFER.fill(0xce, 0, size)
    }
  }

  /** Move bytes that have arrived into the read buffer, and return their number. */
  #fill(): number {
    let size = 0
    for (let [chunk] = this.#arrived; chunk instanceof Buffer && size < READ_BUFFER_SIZE; [chunk] = this.#arrived) {
      const copied = chunk.copy(READ_BUFFER, size)
      size += copied
      if (copied < chunk.length) this.#arrived[0] = chunk.subarray(copied)
      else this.#arrived.shift()
    }
    return size
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
    this.#judgeSilence()
    this.#state = 'closed'
    this.toServer.close()
    this.toClient.close()
    this.#gone()
    const server = this.#server
    this.#clock.after(0, () => server?.closed())
    this.#clock.after(0, () => this.#handler.onClose(error))
  }
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
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
