import type { Transport, TransportHandler, TransportPeer } from '../../src/connection/wire/transport.ts'

const READ_BUFFER_SIZE = 65_536
const HIGH_WATER_MARK = 65_536

/** What the far end of a memory transport learns. */
export interface MemoryTransportEvents {
  /** One write of the client's. */
  written(bytes: Buffer): void
  /** The client has ended its side, or destroyed the transport. */
  closed(): void
}

/**
 * A stream of bytes between the client and a fake broker in one process. It keeps to what a socket does: bytes come in
 * through one buffer that is spoilt after each call, never inside a write of the client's, and never while paused.
 */
export class MemoryTransport implements Transport {
  readonly peer: TransportPeer = { host: 'memory', port: 5672, localPort: 1, encrypted: false }
  /** What the client threw out of its read loop: a socket would be destroyed by it. */
  readonly escaped: unknown[] = []
  paused = false
  /** Times that the client paused. */
  pauses = 0
  pending = 0
  /** Whether the network takes writes. */
  #flowing = true
  /** A write asked to wait: only then does a socket report when it takes more. */
  #needsDrain = false
  #sent: (() => void)[] = []
  readonly #readBuffer = Buffer.alloc(READ_BUFFER_SIZE)
  readonly #handler: TransportHandler
  readonly #events: MemoryTransportEvents
  #arriving: (Buffer | 'end')[] = []
  #busy = false
  #closed = false
  #ended = false

  constructor(handler: TransportHandler, events: MemoryTransportEvents) {
    this.#handler = handler
    this.#events = events
  }

  get closed(): boolean {
    return this.#closed
  }

  // ---- the client's side

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#ended || this.#closed) return false
    const bytes = Buffer.concat(segments)
    const wasBusy = this.#busy
    this.#busy = true
    if (!this.#flowing) this.pending += bytes.length
    this.#events.written(bytes)
    this.#busy = wasBusy
    if (sent !== undefined) {
      if (this.#flowing) setImmediate(sent)
      else this.#sent.push(sent)
    }
    if (!wasBusy && this.#arriving.length > 0) process.nextTick(() => this.#arrive())
    if (this.pending >= HIGH_WATER_MARK) this.#needsDrain = true
    return !this.#needsDrain
  }

  pause(): void {
    this.paused = true
    this.pauses++
  }

  resume(): void {
    this.paused = false
    process.nextTick(() => this.#arrive())
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#events.closed()
  }

  destroy(error?: Error): void {
    if (this.#closed) return
    this.end()
    this.#closed = true
    this.#arriving = []
    process.nextTick(() => this.#handler.onClose(error))
  }

  // ---- the broker's side

  /** Have bytes come in: at once, unless the client is just writing or reading. */
  deliver(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += READ_BUFFER_SIZE) {
      this.#arriving.push(Buffer.from(bytes.subarray(at, at + READ_BUFFER_SIZE)))
    }
    this.#arrive()
  }

  /** End the stream towards the client, after what was delivered. */
  finish(): void {
    this.#arriving.push('end')
    this.#arrive()
  }

  /** Cut it. */
  break(error: Error): void {
    this.destroy(error)
  }

  /** Let the network take no more writes of the client. */
  stall(): void {
    this.#flowing = false
  }

  flow(): void {
    this.#flowing = true
    const sent = this.#sent
    this.#sent = []
    this.pending = 0
    if (this.#needsDrain) {
      this.#needsDrain = false
      this.#handler.onDrain()
    }
    for (const call of sent) if (!this.#closed) call()
  }

  #arrive(): void {
    if (this.#busy) return
    this.#busy = true
    while (!this.paused && !this.#closed) {
      const next = this.#arriving.shift()
      if (next === undefined) break
      try {
        if (next === 'end') {
          this.#handler.onEnd()
          process.nextTick(() => this.destroy())
          break
        }
        next.copy(this.#readBuffer)
        this.#handler.onBytes(this.#readBuffer, next.length)
      } catch (error) {
        this.escaped.push(error)
        this.destroy(error as Error)
      }
      this.#readBuffer.fill(0xaa, 0, 64)
      this.#readBuffer.fill(0xaa, 0, next.length)
    }
    this.#busy = false
  }
}
