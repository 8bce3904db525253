import type net from 'node:net'
import type tls from 'node:tls'
import { type Cancellation, onAbort } from '../../lib/abort-listeners.ts'
import { requiredBuiltin } from '../../lib/platform.ts'
import { asError } from '../../lib/thrown.ts'
import {
  type TlsOptions,
  type Transport,
  type TransportHandler,
  type TransportPeer,
  type TransportStep,
  type TransportTarget,
  transferredAway,
} from './transport.ts'

/** A `TransportFactory` of this package, which ends what is under way without a signal. */
export type MakeTransport = (
  target: TransportTarget,
  handler: TransportHandler,
  cancellation: Cancellation,
  onStep: (step: TransportStep) => void,
) => Promise<Transport>

const NO_SOCKETS = 'give "createTransport" to connect()'

const READ_BUFFER_SIZE = 65_536
/** Bytes pending from which `write()` asks to wait. */
const HIGH_WATER_MARK = 65_536
/** Milliseconds of silence before TCP asks whether the peer is there: for connections without heartbeats. */
const KEEP_ALIVE_DELAY = 60_000

/**
 * Into which all connections read: what comes is looked at before anything else can be read ("100 idle connections": 64 KiB
 * less for each).
 */
let readBuffer: Buffer | undefined

/** TCP, or TLS over TCP. */
export async function connectSocket(
  target: TransportTarget,
  handler: TransportHandler,
  signal: AbortSignal | Cancellation,
  onStep: (step: TransportStep) => void,
): Promise<Transport> {
  signal.throwIfAborted()
  const net = requiredBuiltin('node:net', NO_SOCKETS)
  readBuffer ??= Buffer.allocUnsafeSlow(READ_BUFFER_SIZE)
  const input = new Input(handler, readBuffer)
  const options = {
    highWaterMark: HIGH_WATER_MARK,
    // One buffer that is read into again and again costs 0.6 of a 'data' event with a new one each time.
    onread: { buffer: readBuffer, callback: input.read },
    host: target.host,
    port: target.port,
  }
  const isName = net.isIP(target.host) === 0
  onStep(isName ? 'lookup' : 'connect')
  const socket = target.tls === undefined ? net.connect(options) : startTls(target.host, target.tls, options, onStep)
  input.socket = socket
  return new Promise((resolve, reject) => {
    const aborted = onAbort(signal, () => socket.destroy(asError(signal.reason)))
    const transport = new SocketTransport(socket, target, handler, error => {
      aborted.cancel()
      reject(error)
    })
    const open = (): void => {
      aborted.cancel()
      transport.connected()
      resolve(transport)
    }
    if (isName) {
      socket.once('lookup', (error: Error | null) => {
        if (error === null || error === undefined) onStep('connect')
      })
    }
    socket.once('connect', () => {
      socket.setNoDelay(true)
      socket.setKeepAlive(true, KEEP_ALIVE_DELAY)
      if (target.tls === undefined) open()
      else onStep('tls')
    })
    if (target.tls !== undefined) socket.once('secureConnect', open)
  })
}

/** What a socket reads. */
class Input {
  readonly #handler: TransportHandler
  readonly #buffer: Buffer
  socket: net.Socket | undefined

  constructor(handler: TransportHandler, buffer: Buffer) {
    this.#handler = handler
    this.#buffer = buffer
  }

  readonly read = (length: number): boolean => {
    try {
      this.#handler.onBytes(this.#buffer, length)
    } catch (thrown) {
      this.socket?.destroy(asError(thrown))
    }
    return true
  }
}

type SocketOptions = net.TcpNetConnectOpts & { readonly highWaterMark: number }

function startTls(
  host: string,
  own: TlsOptions,
  options: SocketOptions,
  onStep: (step: TransportStep) => void,
): tls.TLSSocket {
  const net = requiredBuiltin('node:net', NO_SOCKETS)
  const tls = requiredBuiltin('node:tls', NO_SOCKETS)
  const verifiedName = own.servername || host
  const verify = own.checkServerIdentity ?? tls.checkServerIdentity
  try {
    return tls.connect({
      ...own,
      ...options,
      // These would take the place of the host.
      path: undefined,
      socket: undefined,
      // RFC 6066, section 3: no addresses. Node refuses or ignores them.
      servername: net.isIP(verifiedName) === 0 ? (own.servername ?? host) : '',
      checkServerIdentity: (_name, certificate) => identityFault(() => verify(verifiedName, certificate)),
    })
  } catch (error) {
    // A key or a certificate that cannot be read.
    onStep('tls')
    throw error
  }
}

/** The result of the certificate check. A check of the program may throw or return anything; a promise is not awaited. */
function identityFault(check: () => unknown): Error | undefined {
  try {
    const fault = check()
    if (fault === undefined || fault === null || fault instanceof Error) return fault ?? undefined
    return new Error('checkServerIdentity must return an Error or undefined')
  } catch (thrown) {
    return asError(thrown)
  }
}

class SocketTransport implements Transport {
  peer: TransportPeer
  readonly #socket: net.Socket
  /** Ends the attempt to connect. Undefined once it is connected: nothing of the attempt stays in memory with the socket. */
  #gaveUp: ((error: Error) => void) | undefined
  /** The peer has ended its side. */
  #ended = false

  constructor(
    socket: net.Socket,
    { host, port, tls }: TransportTarget,
    handler: TransportHandler,
    gaveUp: (error: Error) => void,
  ) {
    this.#socket = socket
    this.#gaveUp = gaveUp
    this.peer = { host, port, localPort: 0, encrypted: tls !== undefined }
    Object.assign(socket, { _write: writeUnlessTransferred, _writev: writevUnlessTransferred })
    socket.on('drain', () => handler.onDrain())
    let failure: Error | undefined
    socket.on('error', error => {
      failure ??= described(error)
    })
    socket.on('end', () => {
      this.#ended = true
      // An alert of TLS comes as an error, and the end after it; which of the two it was, the error says.
      if (failure === undefined && this.#gaveUp === undefined) handler.onEnd()
    })
    socket.on('close', () => {
      if (this.#gaveUp === undefined) handler.onClose(failure)
      else this.#gaveUp(failure ?? new Error('the socket was closed before it was connected'))
    })
  }

  connected(): void {
    this.#gaveUp = undefined
    this.peer = { ...this.peer, localPort: this.#socket.localPort ?? 0 }
  }

  get pending(): number {
    return this.#socket.writableLength
  }

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    const socket = this.#socket
    // Node makes an error of a write after an end, which would hide that the end was in order.
    if (this.#ended || socket.writableEnded || socket.destroyed) return false

    const last = segments.length - 1
    if (last > 0) socket.cork()
    for (let i = 0; i <= last; i++) {
      const segment = segments[i]
      if (segment === undefined) continue
      if (i < last || sent === undefined) socket.write(segment)
      else {
        socket.write(segment, error => {
          if (!error) sent()
        })
      }
    }
    if (last > 0) socket.uncork()
    // Node asks to wait before it has tried to write. Once the kernel has taken all bytes, waiting is not needed.
    return socket.writableLength === 0 || !socket.writableNeedDrain
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(agreed = false): void {
    // RabbitMQ resets the connection after its close-ok: reading on would only make an error of that. TLS would lose
    // what is pending.
    if (agreed && !this.peer.encrypted) this.#socket.destroySoon()
    else this.#socket.end()
  }

  destroy(error?: Error): void {
    this.#socket.destroy(error)
  }
}

// Bytes that waited in the socket must be unchanged when the kernel gets them.

type Chunks = Parameters<NonNullable<net.Socket['_writev']>>[0]
type Done = (error?: Error | null) => void

function writeUnlessTransferred(this: net.Socket, chunk: Uint8Array, encoding: BufferEncoding, done: Done): void {
  if (chunk.length === 0) done(transferredAway())
  else requiredBuiltin('node:net', NO_SOCKETS).Socket.prototype._write.call(this, chunk, encoding, done)
}

function writevUnlessTransferred(this: net.Socket, chunks: Chunks, done: Done): void {
  if (chunks.some(({ chunk }) => chunk.length === 0)) done(transferredAway())
  else requiredBuiltin('node:net', NO_SOCKETS).Socket.prototype._writev?.call(this, chunks, done)
}

/** The same error; one for several addresses gets the message that Node leaves empty. */
function described(error: Error): Error {
  if (error instanceof AggregateError && error.message === '') {
    error.message = error.errors.map(each => asError(each).message).join('; ')
  }
  return error
}
