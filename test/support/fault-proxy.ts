import { once } from 'node:events'
import net from 'node:net'
import { resetSocket } from './sockets.ts'

/** Which way bytes go: from the client to the server, or from the server to the client. */
export type Direction = 'toServer' | 'toClient'

/** How bytes pass in one direction. */
export interface Shape {
  /** Milliseconds that each piece comes later. */
  readonly delay?: number
  readonly bytesPerSecond?: number
  /** Bytes of the largest piece that passes at once. */
  readonly pieceSize?: number
}

/** What happens once this many bytes of a link have passed in one direction. */
interface Planned {
  readonly direction: Direction
  readonly offset: number
  readonly fault: 'reset' | 'corrupt'
}

const OPEN: Shape = {}

/** One direction of one link. Bytes wait in the sockets' own buffers, as in a network's, while nothing may pass. */
class Pipe {
  /** Bytes that have passed. */
  passed = 0
  readonly recorded: Buffer[] = []
  readonly #link: Link
  readonly #direction: Direction
  readonly #from: net.Socket
  readonly #to: net.Socket
  #shape: Shape = OPEN
  #queue: Promise<void> = Promise.resolve()
  #queued = 0
  #blackhole = false
  #failed = false

  constructor(link: Link, direction: Direction, from: net.Socket, to: net.Socket) {
    this.#link = link
    this.#direction = direction
    this.#from = from
    this.#to = to
    from.on('data', bytes => this.#take(bytes))
    from.on('end', () => this.#behind(() => void to.end()))
    to.on('drain', () => this.#decide())
  }

  set blackhole(on: boolean) {
    this.#blackhole = on
    if (!on && this.#failed) resetSocket(this.#to)
    this.#decide()
  }

  /** The sender is gone: the receiver hears of it now, or when a blackhole heals. */
  failed(reset: boolean): void {
    if (this.#blackhole) this.#failed = true
    else if (reset) resetSocket(this.#to)
    else this.#to.destroySoon()
  }

  set shape(shape: Shape) {
    this.#shape = shape
  }

  #decide(): void {
    if (this.#blackhole || this.#to.writableNeedDrain || this.#queued > 0) this.#from.pause()
    else this.#from.resume()
  }

  #take(bytes: Buffer): void {
    if (this.#shape === OPEN && this.#queued === 0) this.#pass(bytes)
    else this.#behind(() => this.#passShaped(bytes))
    this.#decide()
  }

  /** Do it when all that came before has passed. */
  #behind(run: () => Promise<void> | void): void {
    this.#queued++
    this.#queue = this.#queue.then(run).then(() => {
      this.#queued--
      if (!this.#from.destroyed) this.#decide()
    })
  }

  async #passShaped(bytes: Buffer): Promise<void> {
    const { delay = 0, bytesPerSecond = Number.POSITIVE_INFINITY, pieceSize = bytes.length } = this.#shape
    if (delay > 0) await pause(delay)
    for (let start = 0; start < bytes.length; start += pieceSize) {
      const piece = bytes.subarray(start, start + pieceSize)
      const wait = (1000 * piece.length) / bytesPerSecond
      if (wait >= 1) await pause(wait)
      this.#pass(piece)
      // Each piece in a packet of its own, as far as TCP lets us say so.
      if (start + pieceSize < bytes.length) await turn()
    }
  }

  #pass(bytes: Buffer): void {
    let rest = bytes
    for (;;) {
      const planned = this.#link.planned(this.#direction, this.passed, rest.length)
      if (planned === undefined) break
      const before = planned.offset - this.passed
      if (planned.fault === 'corrupt') {
        rest = Buffer.from(rest)
        rest[before] = (rest[before] ?? 0) ^ 0xff
        continue
      }
      this.#write(rest.subarray(0, before))
      // What has passed arrives before the reset does.
      this.#to.write('', () => this.#link.reset())
      this.#from.pause()
      this.#blackhole = true
      return
    }
    this.#write(rest)
  }

  #write(bytes: Buffer): void {
    if (bytes.length === 0 || this.#to.destroyed) return
    this.passed += bytes.length
    if (this.#link.records) this.recorded.push(Buffer.from(bytes))
    this.#to.write(bytes)
  }
}

/** One connection through the proxy. */
export class Link {
  readonly client: net.Socket
  readonly server: net.Socket
  readonly records: boolean
  readonly toServer: Pipe
  readonly toClient: Pipe
  readonly #planned: Planned[]
  #over = false

  constructor(client: net.Socket, server: net.Socket, records: boolean, planned: Planned[]) {
    this.client = client
    this.server = server
    this.records = records
    this.#planned = planned
    this.toServer = new Pipe(this, 'toServer', client, server)
    this.toClient = new Pipe(this, 'toClient', server, client)
    for (const [socket, pipe] of [
      [client, this.toServer],
      [server, this.toClient],
    ] as const) {
      socket.on('error', () => pipe.failed(true))
      socket.on('close', () => pipe.failed(false))
    }
  }

  /** The bytes that passed in one direction, if the proxy records. */
  recorded(direction: Direction): Buffer {
    return Buffer.concat(this[direction].recorded)
  }

  reset(): void {
    if (this.#over) return
    this.#over = true
    resetSocket(this.client)
    resetSocket(this.server)
  }

  /** End both sides in order, after what was written to them. */
  end(): void {
    if (this.#over) return
    this.#over = true
    this.client.destroySoon()
    this.server.destroySoon()
  }

  /** Reset the client's side; the server hears nothing of it before `reset()`. */
  resetClient(): void {
    this.client.removeAllListeners('close')
    resetSocket(this.client)
  }

  /** Invert the byte that passes next but `ahead` in `direction`. */
  corrupt(direction: Direction, ahead: number): void {
    this.#planned.push({ direction, offset: this[direction].passed + ahead, fault: 'corrupt' })
  }

  /** Takes the next planned fault out that falls into these bytes. */
  planned(direction: Direction, passed: number, length: number): Planned | undefined {
    const index = this.#planned.findIndex(
      each => each.direction === direction && each.offset >= passed && each.offset < passed + length,
    )
    return index === -1 ? undefined : this.#planned.splice(index, 1)[0]
  }
}

export interface FaultProxyOptions {
  /** Keep the bytes that pass. Default: false. */
  readonly record?: boolean
}

/** A TCP proxy in front of a server that fails as networks and servers do. */
export class FaultProxy implements AsyncDisposable {
  /** Links, the last one last; those that are over are forgotten when another one begins, unless the proxy records. */
  links: Link[] = []
  /** Connections that clients have made, those without a server too. */
  accepted = 0
  #port = 0
  readonly #host: string
  #serverPort: number
  readonly #records: boolean
  readonly #blackholes: Record<Direction, boolean> = { toServer: false, toClient: false }
  readonly #shapes: Record<Direction, Shape> = { toServer: OPEN, toClient: OPEN }
  /** Clients that connected while nothing passes to the server. */
  #held: net.Socket[] = []
  #planned: Planned[] = []
  #listener: net.Server | undefined
  #resetsNew = false

  constructor(host: string, port: number, { record = false }: FaultProxyOptions = {}) {
    this.#host = host
    this.#serverPort = port
    this.#records = record
  }

  /** The port that clients connect to, on 127.0.0.1. */
  get port(): number {
    return this.#port
  }

  get open(): number {
    return this.links.filter(({ client }) => !client.destroyed).length
  }

  get last(): Link {
    const link = this.links.at(-1)
    if (link === undefined) throw new Error('nobody has connected to the proxy')
    return link
  }

  /** `url` with the proxy's address in the place of the server's. */
  url(url: string): string {
    const proxied = new URL(url)
    proxied.host = `127.0.0.1:${this.#port}`
    return proxied.href
  }

  async listen(): Promise<void> {
    const listener = net.createServer({ allowHalfOpen: true }, client => this.#accept(client))
    listener.listen(this.#port, '127.0.0.1')
    await once(listener, 'listening')
    this.#port = (listener.address() as net.AddressInfo).port
    this.#listener = listener
  }

  #accept(client: net.Socket): void {
    this.accepted++
    client.on('error', ignore)
    client.setNoDelay(true)
    if (this.#resetsNew) resetSocket(client)
    else if (this.#blackholes.toServer) {
      client.pause()
      this.#held.push(client)
    } else this.#relay(client)
  }

  #relay(client: net.Socket): void {
    const server = net.connect({ host: this.#host, port: this.#serverPort, allowHalfOpen: true, noDelay: true })
    const planned = this.#planned
    this.#planned = []
    // `Link` listens to both.
    const link = new Link(client, server, this.#records, planned)
    this.#apply(link)
    if (!this.#records) this.links = this.links.filter(each => !each.client.destroyed || !each.server.destroyed)
    this.links.push(link)
  }

  #apply(link: Link): void {
    for (const direction of ['toServer', 'toClient'] as const) {
      link[direction].blackhole = this.#blackholes[direction]
      link[direction].shape = this.#shapes[direction]
    }
  }

  #applyAll(): void {
    for (const link of this.links) if (!link.client.destroyed || !link.server.destroyed) this.#apply(link)
  }

  /** Reset every link (RST), on both sides. */
  reset(): void {
    for (const link of this.links) link.reset()
    for (const client of this.#held.splice(0)) resetSocket(client)
  }

  /** End every link in order (FIN), on both sides. */
  end(): void {
    for (const link of this.links) link.end()
  }

  /** End one direction of every link: the receiver sees the end of the stream, the other direction stays open. */
  halfClose(direction: Direction): void {
    for (const { client, server } of this.links) (direction === 'toClient' ? client : server).end()
  }

  /** Nothing passes any more, in one direction or both, without a word; new connections get no answer. */
  blackhole(direction?: Direction): void {
    for (const each of ['toServer', 'toClient'] as const) {
      if (direction === undefined || direction === each) this.#blackholes[each] = true
    }
    this.#applyAll()
  }

  /** Let everything pass as it comes in one direction, from now on. */
  shape(direction: Direction, shape: Shape): void {
    this.#shapes[direction] = shape
    this.#applyAll()
  }

  /** Refuse new connections: nothing listens. Links there are go on. */
  async refuse(): Promise<void> {
    const listener = this.#listener
    this.#listener = undefined
    if (listener === undefined) return
    listener.close()
    // Its `close` event waits for the links, its port does not.
    await turn()
  }

  /** Reset new connections as soon as they are made. */
  resetNew(on = true): void {
    this.#resetsNew = on
  }

  /** Reset the next link when `offset` bytes of it have passed in `direction`. */
  cutNextAt(direction: Direction, offset: number): void {
    this.#planned.push({ direction, offset, fault: 'reset' })
  }

  /** Invert one byte of the next link. */
  corruptNextAt(direction: Direction, offset: number): void {
    this.#planned.push({ direction, offset, fault: 'corrupt' })
  }

  /** Forget what was planned for the next link. */
  clearPlans(): void {
    this.#planned = []
  }

  /** Connect new clients to another port from now on. */
  redirect(port: number): void {
    this.#serverPort = port
  }

  /** Everything passes again; what was sent meanwhile, and resets, arrive now. */
  async heal(): Promise<void> {
    this.#resetsNew = false
    this.#blackholes.toServer = false
    this.#blackholes.toClient = false
    this.#shapes.toServer = OPEN
    this.#shapes.toClient = OPEN
    if (this.#listener === undefined) await this.listen()
    this.#applyAll()
    for (const client of this.#held.splice(0)) if (!client.destroyed) this.#relay(client)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    this.#listener?.close()
    await turn()
  }
}

/** Listens on a free port of 127.0.0.1 in front of `host` and `port`. */
export async function openFaultProxy(host: string, port: number, options?: FaultProxyOptions): Promise<FaultProxy> {
  const proxy = new FaultProxy(host, port, options)
  await proxy.listen()
  return proxy
}

function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds).unref())
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

function ignore(): void {}
