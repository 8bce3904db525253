import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import { runInNewContext } from 'node:vm'
import { inOrder } from '../../src/connection/dial.ts'
import type { ServerOrder } from '../../src/connection/settings/options.ts'
import { resolveSettings } from '../../src/connection/settings/settings.ts'
import type { TransportFactory } from '../../src/connection/wire/transport.ts'
import {
  AbortError,
  type AmqpProtocol,
  AuthenticationError,
  ConnectionFailedError,
  type ConnectOptions,
  connect,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { FakeBroker, methodFrame } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { turn, within } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** Several brokers, each by the name of its host. */
class Brokers {
  readonly tried: string[] = []
  readonly #factories = new Map<string, TransportFactory>()

  good(host: string): FakeBroker {
    const broker = new FakeBroker()
    this.#factories.set(host, broker.createTransport)
    return broker
  }

  silent(host: string): FakeBroker {
    const broker = this.good(host)
    broker.prepare = peer => peer.answers.set('protocol header', () => undefined)
    return broker
  }

  refusing(host: string, replyCode = 403): FakeBroker {
    const broker = this.good(host)
    const close = { replyCode, replyText: 'ACCESS_REFUSED - no', classId: 0, methodId: 0 }
    broker.prepare = peer =>
      peer.answers.set('connection.start-ok', () => methodFrame(0, methods.ConnectionClose, close))
    return broker
  }

  failing(host: string, error: Error, step: 'lookup' | 'connect' | 'tls' = 'connect'): void {
    this.#factories.set(host, async (_target, _handler, _signal, onStep) => {
      onStep(step)
      throw error
    })
  }

  /** It hangs up with this error as soon as it is greeted. */
  breaking(host: string, error: Error): void {
    const { createTransport } = this.silent(host)
    this.#factories.set(host, async (target, handler, signal, onStep) => {
      const transport = await createTransport(target, handler, signal, onStep)
      setImmediate(() => transport.destroy(error))
      return transport
    })
  }

  connect(hosts: readonly string[], options: ConnectOptions = {}): Promise<AmqpProtocol> {
    return connect({
      servers: hosts.map(host => ({ host })),
      recovery: false,
      heartbeat: 0,
      createTransport: (target, handler, signal, onStep) => {
        this.tried.push(target.host)
        const factory = this.#factories.get(target.host)
        if (factory === undefined) throw new Error(`no broker ${target.host}`)
        return factory(target, handler, signal, onStep)
      },
      ...options,
    })
  }
}

const refused = (): Error => Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

describe('the order of servers', () => {
  const servers = resolveSettings(['amqp://a', 'amqp://b', 'amqp://c', 'amqp://d']).servers
  const hosts = (order: ServerOrder, lost?: string, seed = 1) =>
    inOrder(servers, order, lost, new VirtualClock({ seed }))
      .map(({ host }) => host)
      .join('')

  it('is the one given, and begins after the server that was lost', () => {
    assert.equal(hosts('ordered'), 'abcd')
    assert.equal(hosts('ordered', 'b:5672'), 'cdab')
    assert.equal(hosts('ordered', 'd:5672'), 'abcd')
    assert.equal(hosts('race', 'x:5672'), 'abcd')
  })

  it('is random if the option says so, with the server that was lost last', () => {
    const [fresh, behind] = [new Set<string>(), new Set<string>()]
    for (let seed = 0; seed < 500; seed++) {
      fresh.add(hosts('random', undefined, seed))
      behind.add(hosts('random', 'b:5672', seed))
    }
    assert.equal(fresh.size, 24)
    assert.equal(behind.size, 6)
    assert.ok([...behind].every(order => order.endsWith('b')))
  })
})

describe('dial', () => {
  it('tries servers in order until one opens', async () => {
    const brokers = new Brokers()
    brokers.failing('a', refused())
    brokers.refusing('b')
    brokers.good('c')
    brokers.good('d')
    const protocol = await brokers.connect(['a', 'b', 'c', 'd'])
    assert.deepEqual(brokers.tried, ['a', 'b', 'c'])
    await protocol.close()
  })

  it('lists every attempt with server, step and cause', async () => {
    const brokers = new Brokers()
    brokers.failing('a', refused())
    brokers.failing('b', Object.assign(new Error('getaddrinfo ENOTFOUND b'), { code: 'ENOTFOUND' }), 'lookup')
    brokers.refusing('c')
    const error = await rejection(brokers.connect(['a', 'b', 'c']), ConnectionFailedError)
    assert.deepEqual(
      error.attempts.map(({ server, step }) => `${server} ${step}`),
      ['a:5672 connect', 'b:5672 lookup', 'c:5672 connection.tune'],
    )
    assert.ok(error.attempts[2]?.cause instanceof AuthenticationError)
    assert.match(
      error.message,
      /^connect to a:5672, b:5672, c:5672 failed: a:5672: connect ECONNREFUSED \(nothing listens there\); b:5672: getaddrinfo ENOTFOUND b \(is the name right\?\); c:5672: the server refused the login/,
    )
  })

  it('rejects with the refusal itself if there is one server', async () => {
    const brokers = new Brokers()
    brokers.refusing('a')
    const error = await rejection(brokers.connect(['a']), AuthenticationError)
    assert.equal(
      error.message,
      'connect to a:5672 failed: the server refused the login of user "guest" (virtual host "/"): ACCESS_REFUSED (403), no',
    )
    assert.equal(error.replyCode, 403)
  })

  it('says why in words that a person can use', async () => {
    const openssl = Object.assign(
      new Error('80EC0836DF7F0000:error:0A00010B:SSL routines:ssl3_get_record:wrong version'),
      {
        code: 'ERR_SSL_WRONG_VERSION_NUMBER',
        library: 'SSL routines',
        reason: 'wrong version number',
      },
    )
    const brokers = new Brokers()
    brokers.failing('plain', openssl, 'tls')
    brokers.silent('frozen')
    const clock = new VirtualClock()
    const wrong = await rejection(brokers.connect(['plain']), ConnectionFailedError)
    assert.equal(
      wrong.message,
      'connect to plain:5672 failed: TLS: wrong version number (this does not look like a TLS port; then use amqp:// or leave ssl out)',
    )
    const silent = rejection(brokers.connect(['frozen'], { clock, connectTimeout: 500 }), ConnectionFailedError)
    await clock.advance(500)
    assert.match(
      (await silent).message,
      /it was waiting for connection\.start \(is it frozen, still starting, or not an AMQP port\?\)/,
    )
  })

  const alerts = [
    [
      'TLSV13_ALERT_CERTIFICATE_REQUIRED',
      'does the server want a certificate of the client? then give cert and key in ssl',
    ],
    ['SSLV3_ALERT_CERTIFICATE_EXPIRED', 'the server says so of the certificate of the client'],
    ['TLSV1_ALERT_UNKNOWN_CA', 'the server says so of the certificate of the client'],
  ] as const
  for (const [alert, hint] of alerts) {
    it(`says at the first attempt what ${alert} means that comes after the handshake, as in TLS 1.3`, async () => {
      const reason = alert.toLowerCase().replaceAll('_', ' ')
      const message = `80EC0836DF7F0000:error:0A00045C:SSL routines:ssl3_read_bytes:${reason}:../deps/openssl/x.c:1601:`
      const brokers = new Brokers()
      brokers.breaking(
        'a',
        Object.assign(new Error(message), { code: `ERR_SSL_${alert}`, library: 'SSL routines', reason }),
      )
      const error = await rejection(brokers.connect(['a'], { firstAttempts: 3 }), ConnectionFailedError)
      assert.deepEqual(brokers.tried, ['a'])
      const start = `connect to a:5672 failed: the connection to a:5672 was lost: TLS: ${reason} (${hint}`
      assert.equal(error.message.slice(0, start.length), start)
    })
  }

  it('asks whether a port that resets the connection is one for TLS', async () => {
    const brokers = new Brokers()
    brokers.breaking('a', Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }))
    const error = await rejection(brokers.connect(['a']), ConnectionFailedError)
    assert.match(error.message, /read ECONNRESET \(is this the TLS port\? then use amqps:\/\/ or ssl\)$/)
  })

  it('says of keys and certificates that cannot be read where they come from', async () => {
    const error = await rejection(connect('amqps://localhost:1', { ssl: { key: 'no key' } }), ConnectionFailedError)
    assert.match(error.message, /failed: TLS: .* \(is what ssl or the URL give as key and certificate PEM, /)
  })

  it('says what a frameMax below 8192 may have to do with it if the server hangs up on that', async () => {
    const told: boolean[] = []
    for (const frameMax of [8_191, 8_192, 0]) {
      const brokers = new Brokers()
      brokers.good('a').prepare = peer =>
        peer.answers.set('connection.open', () => {
          peer.finish()
          return undefined
        })
      const error = await rejection(brokers.connect(['a'], { frameMax }), ConnectionFailedError)
      assert.equal(error.attempts[0]?.step, 'connection.open-ok')
      told.push(error.message.includes('RabbitMQ 4.3 says no to a frameMax below 8192'))
    }
    assert.deepEqual(told, [true, false, false])
  })

  it('gives each server an equal share of the time that is left', async () => {
    const brokers = new Brokers()
    brokers.silent('a')
    brokers.silent('b')
    brokers.good('c')
    const clock = new VirtualClock()
    const connecting = brokers.connect(['a', 'b', 'c'], { connectTimeout: 300, clock })
    await clock.advance(99)
    assert.deepEqual(brokers.tried, ['a'])
    await clock.advance(1)
    assert.deepEqual(brokers.tried, ['a', 'b'])
    await clock.advance(99)
    assert.deepEqual(brokers.tried, ['a', 'b'])
    await clock.advance(1)
    assert.deepEqual(brokers.tried, ['a', 'b', 'c'])
    await (await connecting).close()
  })

  it('ends within connectTimeout, and leaves nothing open', async () => {
    const brokers = new Brokers()
    const silent = [brokers.silent('a'), brokers.silent('b')]
    const clock = new VirtualClock()
    const failing = rejection(brokers.connect(['a', 'b'], { connectTimeout: 100, clock }), ConnectionFailedError)
    const error = await clock.until(failing)
    assert.equal(clock.now(), 100)
    assert.ok(error.attempts.every(({ cause, step }) => cause instanceof TimeoutError && step === 'connection.start'))
    assert.match(error.message, /a:5672: no answer within 50 ms; it was waiting for connection\.start/)
    for (const broker of silent)
      await within(1_000, 'the end', broker.peers[0]?.ended ?? Promise.reject(new Error('not tried')))
  })

  it('takes the servers in a random order if the option says so', async () => {
    const first = new Set<string>()
    for (let i = 0; i < 60; i++) {
      const brokers = new Brokers()
      for (const host of ['a', 'b', 'c']) brokers.good(host)
      await (await brokers.connect(['a', 'b', 'c'], { serverOrder: 'random' })).close()
      first.add(brokers.tried.join())
    }
    assert.deepEqual([...first].sort(), ['a', 'b', 'c'])
  })

  it('races them through the whole handshake, and closes later ones', async () => {
    const brokers = new Brokers()
    brokers.failing('a', refused())
    const slow = brokers.silent('b')
    const fast = brokers.good('c')
    const protocol = await brokers.connect(['a', 'b', 'c'], { serverOrder: 'race' })
    assert.deepEqual(brokers.tried, ['a', 'b', 'c'])
    assert.equal(protocol.state, 'open')
    await within(1_000, 'the end of the slow one', slow.peers[0]?.ended ?? Promise.reject(new Error('not tried')))
    await protocol.close()
    assert.equal(fast.peers.length, 1)
  })

  it('closes the second of a race that both won', async () => {
    const brokers = new Brokers()
    const both = [brokers.good('a'), brokers.good('b')]
    const protocol = await brokers.connect(['a', 'b'], { serverOrder: 'race' })
    await turn()
    const closed = both.filter(
      ({ peers }) => peers[0]?.transport.closed === true || peers[0]?.names.includes('0 connection.close'),
    )
    assert.ok(closed.length <= 1)
    const channel = await protocol.channel()
    assert.equal(channel.isOpen, true)
    const inUse = both.filter(({ peers }) => peers[0]?.names.includes('1 channel.open'))
    assert.equal(inUse.length, 1)
    const [loser] = both.filter(broker => broker !== inUse[0])
    await within(1_000, 'the end of the loser', loser?.peers[0]?.ended ?? Promise.reject(new Error('not tried')))
    await protocol.close()
  })

  it('says nothing of a server that blocks publishers while it is closed as the slower one', async () => {
    const brokers = new Brokers()
    const blocked = methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    for (const host of ['a', 'b']) {
      brokers.good(host).prepare = peer => peer.answers.set('connection.close', () => blocked)
    }
    const protocol = await brokers.connect(['a', 'b'], { serverOrder: 'race' })
    const events: string[] = []
    for (const name of ['blocked', 'unblocked'] as const) protocol.on(name, () => events.push(name))
    await turn()
    assert.deepEqual(events, [])
    assert.equal(protocol.blocked, undefined)
  })

  it('lists every attempt of a race without a winner', async () => {
    const brokers = new Brokers()
    brokers.failing('a', refused())
    brokers.refusing('b')
    const error = await rejection(brokers.connect(['a', 'b'], { serverOrder: 'race' }), ConnectionFailedError)
    assert.equal(error.attempts.length, 2)
  })

  it('takes the response of a SASL mechanism in bytes of another realm', async () => {
    const brokers = new Brokers()
    brokers.good('a')
    const response = (): Uint8Array => runInNewContext('new Uint8Array([0, 97, 0, 98])')
    await brokers.connect(['a'], { loginMethod: { name: 'PLAIN', response } })
  })

  const silence = new Promise<never>(() => {})
  const hanging: readonly { readonly what: string; readonly options: ConnectOptions; readonly says: RegExp }[] = [
    {
      what: 'the password function',
      options: { password: () => silence },
      says: /no answer within 300 ms; it was waiting for the answer of the password function/,
    },
    {
      what: 'a SASL mechanism',
      options: { loginMethod: { name: 'PLAIN', response: () => silence } },
      says: /it was waiting for the answer of the password function/,
    },
    {
      what: 'a SASL mechanism of the program’s own',
      options: { loginMethod: { name: 'X-OWN', response: () => silence } },
      says: /it was waiting for the response of the SASL mechanism X-OWN/,
    },
    {
      what: 'createTransport',
      options: { createTransport: () => silence },
      says: /it was waiting for the transport of createTransport/,
    },
  ]
  for (const { what, options, says } of hanging) {
    it(`ends within connectTimeout, and at the signal, if ${what} never answers`, async () => {
      const brokers = new Brokers()
      brokers.good('a').prepare = peer =>
        peer.answers.set('protocol header', () =>
          methodFrame(0, methods.ConnectionStart, { serverProperties: {}, mechanisms: 'PLAIN X-OWN' }),
        )
      const clock = new VirtualClock()
      const failing = rejection(
        brokers.connect(['a'], { connectTimeout: 300, clock, ...options }),
        ConnectionFailedError,
      )
      assert.match((await clock.until(failing)).message, says)
      assert.equal(clock.now(), 300)
      const abort = new AbortController()
      const aborted = rejection(
        brokers.connect(['a'], { connectTimeout: Number.POSITIVE_INFINITY, clock, signal: abort.signal, ...options }),
        AbortError,
      )
      await turn()
      abort.abort()
      await aborted
      // The transport's last second.
      await clock.advance(1_000)
      assert.equal(clock.pending, 0)
      assert.deepEqual(getEventListeners(abort.signal, 'abort'), [])
    })
  }

  it('waits for months if the program says so', async () => {
    const brokers = new Brokers()
    brokers.silent('a')
    const clock = new VirtualClock()
    const connectTimeout = 100 * 86_400_000
    const failing = rejection(brokers.connect(['a'], { connectTimeout, clock }), ConnectionFailedError)
    await clock.until(failing, 2 * connectTimeout)
    assert.equal(clock.now(), connectTimeout)
  })

  it('ends at the signal, and leaves nothing open', async () => {
    for (const serverOrder of ['ordered', 'race'] as const) {
      const brokers = new Brokers()
      const silent = brokers.silent('a')
      const abort = new AbortController()
      const connecting = rejection(
        brokers.connect(['a', 'b'].slice(0, 1), { signal: abort.signal, serverOrder }),
        AbortError,
      )
      await turn()
      abort.abort(new Error('changed my mind'))
      const error = await within(1_000, 'connect', connecting)
      assert.equal((error.cause as Error).message, 'changed my mind')
      await within(1_000, 'the end', silent.peers[0]?.ended ?? Promise.reject(new Error('not tried')))
    }
  })

  it('tries no server if the signal is aborted already', async () => {
    const brokers = new Brokers()
    brokers.good('a')
    await rejection(brokers.connect(['a'], { signal: AbortSignal.abort() }), AbortError)
    assert.deepEqual(brokers.tried, [])
  })
})
