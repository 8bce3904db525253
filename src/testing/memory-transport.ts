import type { ClientConnection } from '../broker/client-connection.ts'
import type { ClientPort } from '../broker/connection-host.ts'
import type { Transport, TransportHandler, TransportPeer } from '../connection/wire/transport.ts'

const READ_BUFFER_SIZE = 65_536
/** Bytes on their way to the client past which the broker's side is full, as a socket would be. */
const HIGH_WATER_MARK = 1_048_576

/** Where the bytes of a client go: to a connection of the broker. */
export type Accept = (port: ClientPort) => ClientConnection

/**
 * A stream of bytes between a client and the broker in one process. It behaves like a socket: bytes come in
 * through one buffer, never within a write of the client's, and never while it has paused.
 */
export class MemoryTransport implements Transport {
  readonly peer: TransportPeer
  readonly #handler: TransportHandler
  readonly #connection: ClientConnection
  readonly #readBuffer = Buffer.alloc(READ_BUFFER_SIZE)
  readonly #arriving: (Buffer | 'end')[] = []
  /** Bytes in it. */
  #unread = 0
  readonly #waiting: (() => void)[] = []
  #unsent = 0
  /** Whether the broker reads. */
  #flowing = true
  #written: Buffer[] = []
  #paused = false
  #scheduled = false
  #ended = false
  #closed = false
  /** The client is gone: the broker sees that after what it has not read yet. */
  #gone = false

  constructor(handler: TransportHandler, peer: TransportPeer, accept: Accept) {
    this.#handler = handler
    this.peer = peer
    this.#connection = accept({
      peer: `memory:${peer.localPort}`,
      write: bytes => this.#arrive(bytes),
      end: () => void this.#arrive('end'),
      destroy: () => this.#close(new Error('the broker cut the connection')),
      reset: () => this.#close(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })),
      pause: () => {
        this.#flowing = false
      },
      resume: () => this.#flow(),
    })
  }

  get pending(): number {
    return this.#unsent
  }

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#ended || this.#closed) return false
    const bytes = Buffer.concat(segments)
    if (sent !== undefined) this.#waiting.push(sent)
    this.#written.push(bytes)
    this.#unsent += bytes.length
    if (this.#flowing) this.#deliver()
    return this.#unsent < HIGH_WATER_MARK
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#schedule()
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#leave()
    this.#arrive('end')
  }

  destroy(error?: Error): void {
    if (this.#closed) return
    this.#ended = true
    this.#close(error)
    this.#leave()
  }

  #leave(): void {
    if (this.#flowing) this.#connection.lost()
    else this.#gone = true
  }

  /** Give the broker what was written. */
  #deliver(): void {
    const written = this.#written
    this.#written = []
    this.#unsent = 0
    for (const bytes of written) this.#connection.receive(bytes)
    for (const sent of this.#waiting.splice(0)) setImmediate(sent)
  }

  #flow(): void {
    if (this.#flowing) return
    this.#flowing = true
    process.nextTick(() => {
      if (!this.#flowing) return
      this.#deliver()
      if (this.#gone) this.#leave()
      else if (!this.#closed) this.#handler.onDrain()
    })
  }

  #arrive(bytes: Buffer | 'end'): boolean {
    if (this.#closed) return true
    if (bytes === 'end') this.#arriving.push(bytes)
    else {
      for (let at = 0; at < bytes.length; at += READ_BUFFER_SIZE) {
        this.#arriving.push(bytes.subarray(at, at + READ_BUFFER_SIZE))
      }
      this.#unread += bytes.length
    }
    this.#schedule()
    return this.#unread < HIGH_WATER_MARK
  }

  #schedule(): void {
    if (this.#scheduled || this.#arriving.length === 0) return
    this.#scheduled = true
    process.nextTick(() => {
      this.#scheduled = false
      this.#read()
    })
  }

  #read(): void {
    while (!this.#paused && !this.#closed) {
      const next = this.#arriving.shift()
      if (next === undefined) return
      if (next === 'end') {
        if (!this.#ended) this.#handler.onEnd()
        this.#close(undefined)
        return
      }
      const wasFull = this.#unread >= HIGH_WATER_MARK
      this.#unread -= next.length
      next.copy(this.#readBuffer)
      this.#handler.onBytes(this.#readBuffer, next.length)
      if (wasFull && this.#unread < HIGH_WATER_MARK) this.#connection.drained()
    }
  }

  #close(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = true
    process.nextTick(() => this.#handler.onClose(error))
  }
}
