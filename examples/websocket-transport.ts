// AMQP through a WebSocket, for browsers: a relay on the other side passes the bytes on to the broker, and back.
//
//   const protocol = await connect({ createTransport: webSocketTransport('wss://relay.example/amqp') })
//
// A relay is a few lines on a server; test/support/websocket-relay.ts is one. It must check who connects: it opens the
// broker's port to every client that may open the WebSocket. A bundler needs the packages "buffer" and "events" (npm install them).
import { Buffer } from 'node:buffer'
import type { Transport, TransportFactory, TransportHandler, TransportPeer } from 'asyncamqp'

/** Milliseconds between looks at what is not sent yet: a WebSocket has no event for it. */
const LOOK_AGAIN = 5
/** Bytes not sent yet from which `write()` asks to wait. */
const HIGH_WATER_MARK = 65_536

/** Makes transports by a WebSocket to `url`. The host and port of `connect()` are only what its errors name. */
export function webSocketTransport(url: string): TransportFactory {
  return (target, handler, signal, onStep) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted()
      onStep('connect')
      const socket = new WebSocket(url, 'amqp')
      socket.binaryType = 'arraybuffer'
      const aborted = (): void => {
        reject(signal.reason)
        socket.close()
      }
      signal.addEventListener('abort', aborted)
      socket.onclose = () => {
        signal.removeEventListener('abort', aborted)
        reject(new Error(`the WebSocket to ${url} was closed before it was open`))
      }
      socket.onopen = () => {
        signal.removeEventListener('abort', aborted)
        if (signal.aborted) return
        const { host, port } = target
        resolve(
          new WebSocketTransport(socket, { host, port, localPort: 0, encrypted: url.startsWith('wss:') }, handler),
        )
      }
    })
}

class WebSocketTransport implements Transport {
  readonly peer: TransportPeer
  readonly #socket: WebSocket
  readonly #handler: TransportHandler
  /** Bytes that came while reading is paused: a WebSocket itself cannot be paused. */
  #arrived: Buffer[] = []
  #paused = false
  #full = false
  /** Called once everything has left. */
  #sent: (() => void)[] = []
  #timer: ReturnType<typeof setTimeout> | undefined
  #closed = false

  constructor(socket: WebSocket, peer: TransportPeer, handler: TransportHandler) {
    this.#socket = socket
    this.peer = peer
    this.#handler = handler
    socket.onmessage = ({ data }) => {
      this.#arrived.push(Buffer.from(data))
      this.#read()
    }
    socket.onclose = ({ wasClean, code }) => {
      if (this.#closed) return
      if (wasClean) handler.onEnd()
      this.#close(wasClean ? undefined : new Error(`the WebSocket was closed with ${code}`))
    }
  }

  get pending(): number {
    return this.#socket.bufferedAmount
  }

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false
    // send() copies: the memory may change once it returns.
    for (const segment of segments) this.#socket.send(segment)
    if (sent !== undefined) this.#sent.push(sent)
    this.#full = this.#socket.bufferedAmount >= HIGH_WATER_MARK
    if (this.#full || this.#sent.length > 0) this.#look()
    return !this.#full
  }

  #look(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      if (this.#socket.bufferedAmount > 0) return this.#look()
      for (const sent of this.#sent.splice(0)) sent()
      if (!this.#full) return
      this.#full = false
      this.#handler.onDrain()
    }, LOOK_AGAIN)
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    setTimeout(() => this.#read())
  }

  #read(): void {
    while (!this.#paused && !this.#closed) {
      const bytes = this.#arrived.shift()
      if (bytes === undefined) return
      this.#handler.onBytes(bytes, bytes.length)
    }
  }

  end(): void {
    this.#socket.close()
  }

  destroy(error?: Error): void {
    this.#socket.onclose = null
    this.#socket.close()
    setTimeout(() => this.#close(error))
  }

  #close(error: Error | undefined): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#timer)
    this.#arrived = []
    this.#handler.onClose(error)
  }
}

/** What is used of a browser's WebSocket. */
interface WebSocket {
  binaryType: string
  readonly bufferedAmount: number
  readonly readyState: number
  onopen: (() => void) | null
  onmessage: ((event: { readonly data: ArrayBuffer }) => void) | null
  onclose: ((event: { readonly wasClean: boolean; readonly code: number }) => void) | null
  send(bytes: Uint8Array): void
  close(): void
}
declare const WebSocket: { new (url: string, protocol: string): WebSocket; readonly OPEN: number }
