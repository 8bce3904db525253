import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, TLSSocket, type TlsOptions } from 'node:tls'
import type { Accept } from './memory-transport.ts'

/**
 * Half of the milliseconds for which a client may read nothing of what was written to it before the listener stopped: while
 * bytes wait, the first timeout of a socket only makes Node remember how many.
 */
const LONGEST_STANDSTILL = 1_000

interface Client {
  readonly socket: Socket
  /** What is written to: with TLS, that in the socket. */
  stream: Socket
}

/** Takes clients in on a port. */
export class Listener {
  readonly #server: Server
  /** By their addresses. */
  readonly #clients = new Map<string, Client>()
  readonly #host: string
  #port: number
  #wanted = false
  /** It begins to listen: before it says so, it cannot be closed. */
  #begins = false
  #starting: Promise<void> | undefined

  /** `tls`: as Node's `tls.createServer` takes it. */
  constructor(accept: Accept, host: string, port: number, tls?: TlsOptions) {
    this.#host = host
    this.#port = port
    const take = (socket: Socket) => this.#take(socket, accept)
    this.#server = tls === undefined ? createServer({ noDelay: true }, take) : createTlsServer(tls, take)
    // Clients that do not finish the handshake of TLS do not concern the broker.
    this.#server.on('tlsClientError', () => {})
    this.#server.on('connection', (socket: Socket) => {
      const peer = peerOf(socket)
      const client: Client = { socket, stream: socket }
      this.#clients.set(peer, client)
      socket.on('close', () => {
        if (this.#clients.get(peer) === client) this.#clients.delete(peer)
      })
      socket.on('error', () => {})
    })
  }

  get port(): number {
    return this.#port
  }

  /** Listen: on a free port the first time, and on the same one later. */
  async start(): Promise<void> {
    this.#wanted = true
    this.#starting ??= this.#listen().finally(() => {
      this.#starting = undefined
    })
    await this.#starting
  }

  async #listen(): Promise<void> {
    if (this.#server.listening) return
    this.#begins = true
    try {
      this.#server.listen(this.#port, this.#host)
      await once(this.#server, 'listening')
    } finally {
      this.#begins = false
    }
    // A caller that changed its mind meanwhile had nothing to close yet.
    if (!this.#wanted) this.#server.close()
    const address = this.#server.address()
    if (typeof address === 'object' && address !== null) this.#port = address.port
  }

  /** Accept no client; those that are connected stay. */
  refuse(): void {
    this.#wanted = false
    if (this.#server.listening && !this.#begins) this.#server.close()
  }

  /** Stop when all written bytes have left; clients that do not read are cut. */
  async stop(): Promise<void> {
    this.refuse()
    await this.#starting?.catch(() => {})
    await Promise.all(
      [...this.#clients.values()].map(({ socket, stream }) => {
        if (stream.writableFinished || !stream.writableEnded) socket.destroy()
        else {
          stream.once('finish', () => socket.destroy())
          stream.setTimeout(LONGEST_STANDSTILL, () => socket.destroy())
        }
        return socket.closed ? undefined : once(socket, 'close')
      }),
    )
  }

  /** Cut every connection as a crashed machine would: with a reset instead of an end. */
  reset(): void {
    for (const { socket } of this.#clients.values()) socket.resetAndDestroy()
  }

  #take(socket: Socket, accept: Accept): void {
    socket.on('error', () => {})
    const peer = peerOf(socket)
    const client = this.#clients.get(peer)
    if (client !== undefined) client.stream = socket
    const connection = accept({
      peer,
      certificateName: certificateName(socket),
      write: bytes => socket.destroyed || socket.write(bytes),
      end: () => void socket.end(),
      destroy: () => void socket.destroy(),
      reset: () => reset(socket),
      pause: () => void socket.pause(),
      resume: () => void socket.resume(),
    })
    socket.on('data', bytes => connection.receive(bytes))
    socket.on('drain', () => connection.drained())
    socket.on('end', () => connection.lost())
    socket.on('close', () => connection.lost())
  }
}

function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress}:${remotePort}`
}

/** Node does not reset a connection by its socket with TLS. */
function reset(socket: Socket): void {
  if (socket instanceof TLSSocket) socket.destroy()
  else socket.resetAndDestroy()
}

/** The user that EXTERNAL logs in; undefined if the TLS options do not trust the certificate. */
function certificateName(socket: Socket): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  const { CN: names } = (socket.authorized && socket.getPeerCertificate().subject) || { CN: '' }
  return typeof names === 'string' ? names : ''
}
