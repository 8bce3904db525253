import { once } from 'node:events'
import net from 'node:net'
import { resetSocket } from './sockets.ts'

/** A TCP relay in front of a server, whose links can be cut. */
export class Relay implements AsyncDisposable {
  readonly port: number
  readonly #server: net.Server
  readonly #links: Set<net.Socket>

  constructor(server: net.Server, port: number, links: Set<net.Socket>) {
    this.#server = server
    this.port = port
    this.#links = links
  }

  /** Resets every link, on both sides. */
  cut(): void {
    for (const socket of this.#links) resetSocket(socket)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.close()
    if (this.#server.listening) await once(this.#server, 'close')
  }
}

/** Listens on a free port of 127.0.0.1 and relays to `host` and `port`. */
export async function openRelay(host: string, port: number): Promise<Relay> {
  const links = new Set<net.Socket>()
  const server = net.createServer(near => {
    const far = net.connect(port, host)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      links.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        links.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the relay has no port')
  return new Relay(server, address.port, links)
}
