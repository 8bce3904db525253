import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import { loadRpc } from '../../src/amqp-protocol.ts'
import type { TransportFactory } from '../../src/connection/wire/transport.ts'
import {
  AbortError,
  type AmqpProtocol,
  AuthenticationError,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionError,
  ConnectionFailedError,
  type ConnectOptions,
  connect,
  connectInBackground,
  EncodeError,
  TimeoutError,
} from '../../src/index.ts'
// Loaded later, it would come by the machine's time.
import * as methods from '../../src/protocol/methods.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { FakeBroker, methodFrame } from '../support/fake-broker.ts'
import { PROTOCOL_EVENTS } from '../support/protocol-events.ts'
import { rejection } from '../support/rejection.ts'
import { follow, type Outcome, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const refusal = (code = 'ECONNREFUSED') => Object.assign(new Error(`connect ${code} 10.0.0.1:5672`), { code })

/** Servers that fail in given ways, by the name of the host, until they are replaced; and when each was tried. */
class Servers {
  readonly clock = new VirtualClock()
  readonly tries: number[] = []
  readonly errors: Error[] = []
  readonly logged: string[] = []
  readonly #factories = new Map<string, TransportFactory>()

  set(factory: TransportFactory, host = 'broker'): void {
    this.#factories.set(host, factory)
  }

  failing(error: Error, step: 'lookup' | 'connect' | 'tls' = 'connect', host = 'broker'): void {
    const fail: TransportFactory = async (_target, _handler, _signal, onStep) => {
      onStep(step)
      throw error
    }
    this.set(fail, host)
  }

  good(host = 'broker'): FakeBroker {
    const broker = new FakeBroker()
    this.set(broker.createTransport, host)
    return broker
  }

  /** One that closes the connection in answer to `method`. */
  closing(method: string, replyCode: number, replyText: string, host = 'broker'): void {
    const close = { replyCode, replyText, classId: 0, methodId: 0 }
    this.good(host).prepare = peer => peer.answers.set(method, () => methodFrame(0, methods.ConnectionClose, close))
  }

  get options(): ConnectOptions {
    return {
      host: 'broker',
      heartbeat: 0,
      clock: this.clock,
      onError: error => this.errors.push(error),
      logger: { warn: line => this.logged.push(line) },
      createTransport: (target, ...rest) => {
        this.tries.push(this.clock.now())
        const factory = this.#factories.get(target.host)
        if (factory === undefined) throw new Error(`no server ${target.host}`)
        return factory(target, ...rest)
      },
    }
  }

  /** Its error, once all attempts have been made that there will be. */
  async failure(options: ConnectOptions): Promise<Error> {
    const { host: _host, ...common } = this.options
    const where = options.servers === undefined ? this.options : common
    return this.clock.until(rejection(connect({ ...where, ...options }), Error))
  }
}

const hosts = (...names: string[]) => ({ servers: names.map(host => ({ host })) })

describe('connect with firstAttempts', () => {
  it('tries until a server answers, the first time at once and then within 0.25 s', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const connecting = follow(connect({ ...servers.options, firstAttempts: Number.POSITIVE_INFINITY }))
    await servers.clock.advance(60_000)
    assert.equal(connecting.state, 'pending')
    assert.equal(servers.tries[0], 0)
    const pauses = servers.tries.slice(1).map((time, i) => time - (servers.tries[i] ?? 0))
    assert.ok(Math.max(...pauses) <= 250, String(Math.max(...pauses)))
    assert.ok(servers.tries.length < 700, String(servers.tries.length))
    servers.good()
    await servers.clock.advance(300)
    assert.equal(connecting.state, 'resolved')
    await connecting.value?.close()
    assert.equal(servers.clock.pending, 0)
  })

  it('tries once by default', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const error = await servers.failure({})
    assert.ok(error instanceof ConnectionFailedError)
    assert.equal(
      error.message,
      'connect to broker:5672 failed: connect ECONNREFUSED 10.0.0.1:5672 (nothing listens there)',
    )
    assert.deepEqual([servers.tries.length, error.attempts.length, servers.errors.length], [1, 1, 0])
  })

  it('gives up after as many, and lists the last twenty', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const few = await servers.failure({ firstAttempts: 3 })
    assert.ok(few instanceof ConnectionFailedError)
    assert.equal(servers.tries.length, 3)
    assert.equal(few.attempts.length, 3)
    assert.match(
      few.message,
      /^connect to broker:5672 failed: .*nothing listens there\); that was attempt 3, 0 s after the first$/,
    )
    const many = await servers.failure({ firstAttempts: 500 })
    assert.ok(many instanceof ConnectionFailedError)
    assert.equal(many.attempts.length, 20)
    assert.match(many.message, /that was attempt 500, \d\d s after the first$/)
    assert.deepEqual(servers.errors, [])
  })

  it('waits as the options of recovery say, and asks giveUpOn', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const recovery = { initialDelay: 5_000, jitter: 0, factor: 1 }
    await servers.failure({ firstAttempts: 3, recovery })
    assert.deepEqual(servers.tries, [0, 5_000, 10_000])
    const seen: string[] = []
    await servers.failure({
      firstAttempts: 9,
      recovery: { ...recovery, giveUpOn: ({ name }) => seen.push(name) === 2 },
    })
    assert.deepEqual(seen, ['ConnectionFailedError', 'ConnectionFailedError'])
    await servers.failure({ firstAttempts: 2, recovery: false })
    assert.equal(servers.tries.length, 3 + 2 + 2)
  })

  const finals: readonly (readonly [string, (servers: Servers) => void])[] = [
    ['a refused login', servers => servers.closing('connection.start-ok', 403, 'ACCESS_REFUSED - no')],
    ['an unknown virtual host', servers => servers.closing('connection.open', 530, 'NOT_ALLOWED - vhost x not found')],
    ['a certificate that is not trusted', servers => servers.failing(refusal('CERT_HAS_EXPIRED'), 'tls')],
    [
      'a name that is not the certificate’s',
      servers => servers.failing(refusal('ERR_TLS_CERT_ALTNAME_INVALID'), 'tls'),
    ],
    ['a server that speaks HTTP', servers => answering(servers, 'HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a server of AMQP 1.0', servers => answering(servers, 'AMQP\0\x01\0\0')],
  ]
  for (const [what, prepare] of finals) {
    it(`tries once only if there is ${what}`, async () => {
      const servers = new Servers()
      prepare(servers)
      const error = await servers.failure({ firstAttempts: Number.POSITIVE_INFINITY })
      assert.ok(error instanceof ConnectionError, error.name)
      assert.equal(servers.tries.length, 1)
    })
  }

  const passing: readonly (readonly [string, (servers: Servers) => void, ConnectOptions?])[] = [
    ['a name without an address', servers => servers.failing(refusal('ENOTFOUND'), 'lookup')],
    ['a TLS handshake that breaks off', servers => servers.failing(refusal('ECONNRESET'), 'tls')],
    ['a server that ends the stream', servers => ending(servers)],
    [
      'a virtual host that is down',
      servers => servers.closing('connection.open', 541, "INTERNAL_ERROR - vhost 'x' is down"),
    ],
    ['a limit of connections', servers => servers.closing('connection.open', 530, LIMIT)],
    [
      'a password function that fails',
      servers => servers.good(),
      { password: () => Promise.reject(new Error('sealed')) },
    ],
  ]
  for (const [what, prepare, options] of passing) {
    it(`tries again if there is ${what}`, async () => {
      const servers = new Servers()
      prepare(servers)
      await servers.failure({ firstAttempts: 4, ...options })
      assert.equal(servers.tries.length, 4)
    })
  }

  it('asks for an address less often', async () => {
    const servers = new Servers()
    servers.failing(refusal('ENOTFOUND'), 'lookup')
    void servers.failure({ firstAttempts: 1_000 }).catch(() => {})
    await servers.clock.advance(60_000)
    assert.ok(servers.tries.length < 120, String(servers.tries.length))
  })

  it('ends if one of several servers refuses the login, but only if no certificate of theirs is trusted', async () => {
    const servers = new Servers()
    servers.failing(refusal(), 'connect', 'a')
    servers.closing('connection.start-ok', 403, 'ACCESS_REFUSED - no', 'b')
    const refused = await servers.failure({ firstAttempts: 9, ...hosts('a', 'b') })
    assert.ok(refused instanceof ConnectionFailedError)
    assert.equal(servers.tries.length, 2)
    servers.failing(refusal('CERT_HAS_EXPIRED'), 'tls', 'b')
    await servers.failure({ firstAttempts: 3, ...hosts('a', 'b') })
    assert.equal(servers.tries.length, 2 + 6)
    servers.failing(refusal('CERT_HAS_EXPIRED'), 'tls', 'a')
    await servers.failure({ firstAttempts: 3, ...hosts('a', 'b') })
    assert.equal(servers.tries.length, 2 + 6 + 2)
  })

  it('ends by its signal, between two attempts and within one, and says what the last one failed with', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const between = new AbortController()
    const options = { ...servers.options, firstAttempts: Number.POSITIVE_INFINITY }
    const first = follow(connect({ ...options, signal: between.signal }))
    await servers.clock.advance(1_000)
    between.abort(new Error('enough'))
    await turn()
    assert.ok(first.error instanceof AbortError)
    assert.match(first.error.message, /^connect to broker:5672 was aborted; attempt \d+ had failed: .*ECONNREFUSED/)
    assert.equal(servers.clock.pending, 0)

    let inside: AbortSignal | undefined
    servers.set((_target, _handler, signal) => {
      inside = signal
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    const within = new AbortController()
    const second = follow(connect({ ...options, signal: within.signal }))
    await turn()
    within.abort(new DOMException('late', 'TimeoutError'))
    await turn()
    assert.equal(inside?.aborted, true)
    assert.ok(second.error instanceof TimeoutError)
    assert.equal(second.error.message, 'connect to broker:5672 timed out')
    assert.equal(servers.clock.pending, 0)
    await rejection(connect({ ...options, signal: AbortSignal.abort() }), AbortError)
  })

  it('gives the event loop a turn between two attempts that fail at once, also without pauses', async () => {
    const servers = new Servers()
    servers.set(async () => {
      // Without a turn, nothing else could end the test.
      if (servers.tries.length >= 50) return new Promise(() => {})
      throw refusal()
    })
    const controller = new AbortController()
    const options = { firstAttempts: Number.POSITIVE_INFINITY, recovery: { maxDelay: 0 }, signal: controller.signal }
    const connecting = rejection(connect({ ...servers.options, ...options }), AbortError)
    await turn()
    assert.deepEqual(servers.tries, [0])
    await servers.clock.advance(3)
    assert.deepEqual(servers.tries, [0, 1, 2, 3])
    controller.abort()
    await connecting
  })

  it('ends by its signal while giveUpOn has not answered', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const recovery = { giveUpOn: () => new Promise<boolean>(() => {}) }
    const controller = new AbortController()
    const { signal } = controller
    const connecting = follow(connect({ ...servers.options, firstAttempts: 3, recovery, signal }))
    await turn()
    controller.abort(new Error('enough'))
    await turn()
    assert.ok(connecting.error instanceof AbortError)
    assert.equal(servers.clock.pending, 0)
  })

  it('refuses bad options before anything is opened', async () => {
    const servers = new Servers()
    for (const firstAttempts of [0, -1, 1.5, Number.NaN, '3' as never]) {
      const { message } = await rejection(connect({ ...servers.options, firstAttempts }), EncodeError)
      assert.match(message, /^connect: "firstAttempts" must be an integer of 1 or more, or Infinity/)
    }
    assert.deepEqual(servers.tries, [])
  })

  it('leaves one line a minute in the log, and one at its end that counts the others', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    await servers.failure({ firstAttempts: 300 })
    const lines = servers.logged.filter(line => line.includes('failed'))
    assert.match(lines[0] ?? '', /\] connect to broker:5672 failed: .*; the next attempt follows in \d+ ms$/)
    assert.match(lines.at(-1) ?? '', / \(and \d+ more like it within a minute\)$/)
    assert.ok(lines.length <= 2 + servers.clock.now() / 60_000, `${lines.length} lines`)
  })
})

const LIMIT = "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached"

function answering(servers: Servers, text: string): void {
  servers.good().prepare = peer => peer.answers.set('protocol header', () => Buffer.from(text))
}

function ending(servers: Servers): void {
  servers.good().prepare = peer => {
    peer.answers.set('protocol header', () => {
      setImmediate(() => peer.finish())
      return undefined
    })
  }
}

/** A broker for tests that is not there yet, and a protocol that waits for it. */
async function early(options: ConnectOptions = {}, seed = 1) {
  const clock = new VirtualClock({ seed })
  const broker = await startBroker({ clock })
  broker.refuseConnections()
  const errors: Error[] = []
  const seen: unknown[][] = []
  const protocol = connectInBackground({
    ...broker.inMemory,
    clock,
    onError: error => errors.push(error),
    ...options,
  })
  for (const event of PROTOCOL_EVENTS) {
    protocol.on(event, (...args: unknown[]) => seen.push([event, protocol.state, ...args]))
  }
  return { clock, broker, protocol, errors, seen }
}

/** Set up what a service has, each part as soon as it can be. */
async function service(protocol: AmqpProtocol, worked: string[]): Promise<void> {
  await protocol.exchangeDeclare('orders', 'topic')
  await protocol.queueDeclare('paid')
  await protocol.queueBind('paid', 'orders', '#')
  await protocol.rpcServer((await protocol.queueDeclare('prices')).queue, request => `${request.text()} costs 3`)
  await protocol.consumer('paid', message => void worked.push(message.text()))
}

async function stop(protocol: AmqpProtocol, broker: Broker, clock: VirtualClock): Promise<void> {
  await clock.until(protocol.close())
  await broker.stop()
}

describe('connectInBackground', () => {
  // Else the first call of them waits for a file, whatever the clock says.
  before(() => Promise.all([loadRpc(), import('../../src/patterns/consume/failure-copies.ts')]))

  it('has all declared and consuming within half a second of a broker that comes a minute late', async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const { clock, broker, protocol, errors } = await early({}, seed)
      const worked: string[] = []
      const set = follow(service(protocol, worked))
      await clock.advance(60_000)
      assert.equal(set.state, 'pending')
      await broker.acceptConnections()
      await clock.advance(500)
      assert.equal(set.state, 'resolved')
      await clock.until(protocol.publish('order 1', 'orders', 'order.paid'))
      await clock.advance(100)
      assert.deepEqual(worked, ['order 1'])
      assert.deepEqual(errors, [])
      await stop(protocol, broker, clock)
    }
  })

  it('has everything wait that is asked of it', async () => {
    const { clock, broker, protocol } = await early()
    await clock.advance(1_000)
    const declared = follow(protocol.queueDeclare('q'))
    await clock.advance(10)
    const waiting = [
      follow(protocol.ready()),
      follow(protocol.publish('by default', '', 'q')),
      follow(protocol.publisher().then(publisher => publisher.publish('by a publisher', 'q'))),
      follow(protocol.channel({ publisherConfirms: true }).then(channel => channel.publish('by a channel', '', 'q'))),
      follow(protocol.transaction(channel => channel.basicPublish('in a transaction', '', 'q'))),
      follow(
        protocol
          .rpcClient()
          .then(client => client.call('prices', 'an apple'))
          .then(reply => reply.text()),
      ),
      follow(protocol.updateSecret('guest', 'rotation')),
    ]
    await clock.advance(10_000)
    assert.deepEqual(
      waiting.map(({ state }) => state),
      waiting.map(() => 'pending'),
    )
    await broker.acceptConnections()
    const prices = protocol.queueDeclare('prices').then(({ queue }) => protocol.rpcServer(queue, () => 'costs 3'))
    await clock.until(prices)
    await clock.advance(1_000)
    assert.equal(declared.state, 'resolved')
    assert.deepEqual(
      waiting.map(({ state, error }) => error ?? state),
      waiting.map(() => 'resolved'),
    )
    assert.equal(broker.queue('q').ready.length, 4)
    assert.equal(broker.connections.length, 1)
    await stop(protocol, broker, clock)
  })

  it('bounds each wait by its own timeout and signal', async () => {
    const { clock, broker, protocol } = await early()
    const controller = new AbortController()
    const { signal } = controller
    const bounds = [{ timeout: 500 }, { signal }]
    const outcomes = bounds.flatMap(bound => [
      follow(protocol.queueDeclare('q', bound)),
      follow(protocol.publish('m', '', 'q', {}, bound)),
      follow(protocol.ready(bound)),
    ])
    const others = [follow(protocol.channel({ signal })), follow(protocol.consumer('q', { signal }))]
    const unbounded = follow(protocol.queueDeclare('other'))
    await clock.advance(500)
    controller.abort()
    await turn()
    const [declared, published, ready, ...aborted] = outcomes
    assert.equal(declared?.error?.message, 'queue.declare of "q" timed out: it waited 500 ms for the first connection')
    assert.equal(ready?.error?.message, 'ready timed out: it waited 500 ms for the first connection')
    assert.ok(published?.error instanceof TimeoutError)
    assert.equal(published.error.outcome, 'notSent')
    for (const { error } of [...aborted, ...others] as Outcome<unknown>[]) assert.ok(error instanceof AbortError)
    assert.equal(unbounded.state, 'pending')
    await broker.acceptConnections()
    await clock.advance(300)
    assert.equal(unbounded.state, 'resolved')
    assert.deepEqual(broker.published, [])
    await stop(protocol, broker, clock)
  })

  it('says by events and its state how it goes', async () => {
    const { clock, broker, protocol, seen } = await early()
    assert.equal(protocol.state, 'connecting')
    await turn()
    const [first, second] = seen
    assert.deepEqual(first, ['connecting', 'connecting', 1, 0, undefined, 'main'])
    assert.deepEqual(second?.slice(0, 3), ['connecting', 'connecting', 2])
    assert.ok((second?.[4] as Error) instanceof ConnectionFailedError)
    await broker.acceptConnections()
    await clock.advance(100)
    assert.deepEqual(seen.slice(2), [['connected', 'open', 'main']])
    await protocol.ready()
    await stop(protocol, broker, clock)
    assert.deepEqual(seen.slice(3), [['closed', 'closed']])
  })

  it('has something to show before it is connected', async () => {
    const { clock, broker, protocol } = await early()
    assert.deepEqual(protocol.peer, { host: '127.0.0.1', port: broker.port, localPort: 0, encrypted: false })
    assert.deepEqual(
      [protocol.serverProperties, protocol.serverMechanisms, protocol.blocked, protocol.channelsIdsCount],
      [{}, '', undefined, 0],
    )
    assert.deepEqual([protocol.serverChannelMax, protocol.serverFrameMax, protocol.serverHeartbeat], [0, 0, 0])
    await stop(protocol, broker, clock)
  })

  it('refuses what cannot be sent at once, and too many that wait', async () => {
    const { clock, broker, protocol } = await early({ maxWaiting: 1 })
    assert.throws(() => connectInBackground({ heartbeet: 1 } as never), EncodeError)
    const { outcome } = await rejection(protocol.publish('m', '', 'q', { priority: 300 }), EncodeError)
    assert.equal(outcome, 'notSent')
    const first = rejection(protocol.publish('m', '', 'q'), ConnectionClosedError)
    const { message } = await rejection(protocol.publish('m', '', 'q'), Error)
    assert.match(message, /the limit set by maxWaiting/)
    await stop(protocol, broker, clock)
    await first
  })

  it('ends with what a server refuses for good, and so does all that waits', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const protocol = connectInBackground(servers.options)
    const seen: (Error | undefined)[] = []
    protocol.on('closed', error => seen.push(error))
    const waiting = [
      protocol.ready() as Promise<unknown>,
      protocol.queueDeclare('q'),
      protocol.publish('m', '', 'q'),
      protocol.channel(),
      protocol.consumer('q', () => {}),
      protocol.rpcClient(),
      protocol.rpcServer('q', () => ''),
      protocol.transaction(() => {}),
    ].map(promise => follow(promise))
    const closed = follow(protocol.waitClosed())
    await servers.clock.advance(5_000)
    servers.closing('connection.start-ok', 403, 'ACCESS_REFUSED - no')
    await servers.clock.advance(300)
    assert.equal(protocol.state, 'closed')
    for (const { error } of waiting) {
      assert.ok(error instanceof AuthenticationError, error?.message)
      assert.equal(error.replyCode, 403)
      assert.equal(error.cause, closed.error)
    }
    assert.match(
      waiting[1]?.error?.message ?? '',
      /^queue.declare of "q" failed: connect to broker:5672 failed: the server refused the login of user "guest"/,
    )
    assert.ok(closed.error instanceof AuthenticationError)
    assert.deepEqual(seen, [closed.error])
    assert.deepEqual(servers.errors, [])
    await rejection(protocol.queueDeclare('later'), AuthenticationError)
    await rejection(protocol.ready(), AuthenticationError)
    await protocol.close()
    assert.equal(servers.clock.keeping, 0)
  })

  it('reports its end to onError, once, if nothing waits for it', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const protocol = connectInBackground({ ...servers.options, firstAttempts: 3 })
    await servers.clock.advance(1_000)
    assert.equal(protocol.state, 'closed')
    assert.equal(servers.errors.length, 1)
    assert.ok(servers.errors[0] instanceof ConnectionFailedError)
    assert.equal(servers.errors[0].attempts.length, 3)
    await rejection(protocol.waitClosed(), ConnectionFailedError)
  })

  it('ends by its signal', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const controller = new AbortController()
    const protocol = connectInBackground({ ...servers.options, signal: controller.signal })
    const declared = follow(protocol.queueDeclare('q'))
    const closed = follow(protocol.waitClosed())
    await servers.clock.advance(1_000)
    controller.abort()
    await turn()
    assert.ok(declared.error instanceof ConnectionFailedError)
    assert.ok(closed.error instanceof AbortError)
    assert.equal(servers.clock.pending, 0)
  })

  it('is closed by the program at any time, and leaves nothing behind', async () => {
    const servers = new Servers()
    const aborted: boolean[] = []
    servers.set((_target, _handler, signal) => {
      return new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          aborted.push(true)
          reject(signal.reason)
        })
      })
    })
    for (const when of ['at once', 'while it is tried'] as const) {
      const protocol = connectInBackground(servers.options)
      const declared = rejection(protocol.queueDeclare('q'), ConnectionClosedError)
      const ready = rejection(protocol.ready(), ConnectionClosedError)
      if (when === 'while it is tried') await turn()
      await protocol[Symbol.asyncDispose]()
      assert.equal(protocol.state, 'closed')
      assert.equal((await ready).message, 'ready failed: the connection to broker:5672 was closed by the program')
      await declared
      await protocol.waitClosed()
      await rejection(protocol.ready(), ConnectionClosedError)
      await turn()
      assert.equal(servers.clock.pending, 0)
    }
    assert.deepEqual([servers.tries.length, aborted.length], [1, 1])
    assert.deepEqual(servers.errors, [])
  })

  it('leaves no connection behind, in whatever moment after the server’s last word the program closes', async () => {
    for (let microtasks = 0, state = ''; state !== 'open'; microtasks++) {
      const servers = new Servers()
      const broker = servers.good()
      const protocol = connectInBackground(servers.options)
      const closed = new Promise<void>(resolve => {
        broker.prepare = ({ answers }) => {
          const agree = answers.get('connection.open')
          answers.set('connection.open', frame => {
            process.nextTick(async () => {
              for (let n = 0; n < microtasks; n++) await undefined
              state = protocol.state
              resolve(protocol.close())
            })
            return agree?.(frame)
          })
        }
      })
      await closed
      await (await broker.accept()).ended
      await turn()
      assert.equal(servers.clock.keeping, 0)
      assert.deepEqual(servers.errors, [])
      assert.ok(microtasks < 500)
    }
  })

  it('keeps the process alive between two attempts, and no more once it is closed', async () => {
    const servers = new Servers()
    servers.failing(refusal())
    const protocol = connectInBackground(servers.options)
    await turn()
    assert.equal(servers.clock.keeping, 1)
    await protocol.close()
    await turn()
    assert.equal(servers.clock.keeping, 0)
  })

  it('goes on without recovery, too, and ends with the connection then', async () => {
    const { clock, broker, protocol } = await early({ recovery: false })
    await clock.advance(2_000)
    await broker.acceptConnections()
    await clock.until(protocol.ready())
    const closed = rejection(protocol.waitClosed(), ConnectionError)
    broker.cutConnections()
    await clock.until(closed)
    await broker.stop()
  })

  it('recovers later as any connection does', async () => {
    const { clock, broker, protocol } = await early()
    await broker.acceptConnections()
    await clock.until(protocol.queueDeclare('q'))
    broker.refuseConnections()
    broker.cutConnections()
    await clock.advance(1)
    const ready = follow(protocol.ready())
    await clock.advance(2_000)
    assert.deepEqual([protocol.state, ready.state], ['recovering', 'pending'])
    await broker.acceptConnections()
    await clock.advance(1_500)
    assert.deepEqual([protocol.state, ready.state], ['open', 'resolved'])
    await stop(protocol, broker, clock)
  })

  it('rejects the consumer whose queue is not there', async () => {
    const { clock, broker, protocol } = await early()
    const consumer = follow(protocol.consumer('missing', () => {}))
    await broker.acceptConnections()
    await clock.advance(500)
    assert.ok(consumer.error instanceof ChannelClosedError)
    assert.equal(consumer.error.replyCode, 404)
    assert.equal(protocol.state, 'open')
    await stop(protocol, broker, clock)
  })
})
