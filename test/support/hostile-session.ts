import { once } from 'node:events'
import net from 'node:net'
import { type AmqpProtocol, type ConnectOptions, connect } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { FakeBroker, FakePeer, methodFrame } from './fake-broker.ts'
import { follow, type Outcome, turn } from './settled.ts'

export const FRAME_MAX = 8192

/** A client in the middle of its work, with something pending of every kind. */
export interface BusySession {
  readonly protocol: AmqpProtocol
  readonly peer: FakePeer
  readonly errors: Error[]
  /** Bodies that came to the consumer `c` of channel 1. */
  readonly received: string[]
  readonly closed: Outcome<void>
  /** By name: what the program waits for. */
  readonly pending: Readonly<Record<string, Outcome<unknown>>>
}

/** How a hostile server is reached. */
export interface Hostility {
  connect(options: ConnectOptions): Promise<AmqpProtocol>
  accept(): Promise<FakePeer>
  close(): Promise<void>
}

export function inMemory(prepare: (peer: FakePeer) => void = () => {}): Hostility {
  const broker = new FakeBroker({ frameMax: FRAME_MAX })
  broker.prepare = prepare
  return {
    connect: options => connect({ ...options, createTransport: broker.createTransport }),
    accept: () => broker.accept(),
    close: async () => {},
  }
}

export async function overSocket(prepare: (peer: FakePeer) => void = () => {}): Promise<Hostility> {
  const sockets: net.Socket[] = []
  const waiting: ((peer: FakePeer) => void)[] = []
  const peers: FakePeer[] = []
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, socket => {
    sockets.push(socket)
    socket.on('error', () => {})
    const peer = new FakePeer(() => ({ deliver: bytes => void socket.write(bytes), finish: () => socket.end() }), {
      frameMax: FRAME_MAX,
    })
    prepare(peer)
    socket.on('data', bytes => peer.written(bytes))
    socket.on('end', () => {
      peer.closed()
      socket.end()
    })
    const take = waiting.shift()
    if (take === undefined) peers.push(peer)
    else take(peer)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  return {
    connect: options => connect({ ...options, host: '127.0.0.1', port }),
    accept: async () => peers.shift() ?? new Promise(resolve => waiting.push(resolve)),
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/**
 * A client whose channel 1 consumes as `c` with publisher confirms and whose channel 2 is open, with one publish, one
 * declare, one get and one consume that are not answered.
 */
export async function startBusySession(hostility: Hostility, options: ConnectOptions = {}): Promise<BusySession> {
  const errors: Error[] = []
  const received: string[] = []
  const protocol = await hostility.connect({
    recovery: false,
    heartbeat: 0,
    onError: error => errors.push(error),
    ...options,
  })
  const peer = await hostility.accept()
  const closed = follow(protocol.waitClosed())
  const [one, two] = await Promise.all([protocol.channel(), protocol.channel()])
  const started = [
    one.confirmSelect(),
    one.basicConsume((_channel, body) => received.push(String(body)), 'q', { consumerTag: 'c' }),
  ]
  await peer.took(2)
  peer.send(methodFrame(1, methods.ConfirmSelectOk, {}), methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }))
  await Promise.all(started)
  const pending = {
    publish: follow(one.publish('body', '', 'q')),
    waitForConfirms: follow(one.waitForConfirms()),
    declare: follow(one.queueDeclare('q')),
    get: follow(two.basicGet('q')),
    consume: follow(two.basicConsume(() => {}, 'q', { consumerTag: 'unanswered' })),
    secret: follow(protocol.updateSecret('new', 'old one expires')),
  }
  await peer.took(7)
  await turn()
  return { protocol, peer, errors, received, closed, pending }
}
