import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { describe, it } from 'node:test'
import {
  AuthenticationError,
  ConnectionFailedError,
  connect,
  connectInBackground,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { broker } from '../support/broker.ts'
import { type FaultProxy, openFaultProxy } from '../support/fault-proxy.ts'
import { rejection } from '../support/rejection.ts'
import { openScriptedServer } from '../support/scripted-server.ts'
import { Stopwatch } from '../support/stopwatch.ts'
import { until } from '../support/until.ts'
import { RecoveryWatch } from './recovery-watch.ts'

interface Servers extends AsyncDisposable {
  readonly proxies: readonly FaultProxy[]
  readonly servers: readonly { readonly host: string; readonly port: number }[]
}

/** Several addresses of the shared broker. */
async function openServers(count: number): Promise<Servers> {
  const proxies: FaultProxy[] = []
  for (let n = 0; n < count; n++) proxies.push(await openFaultProxy(broker.host, broker.port))
  return {
    proxies,
    servers: proxies.map(({ port }) => ({ host: '127.0.0.1', port })),
    [Symbol.asyncDispose]: async () => {
      for (const proxy of proxies) await proxy[Symbol.asyncDispose]()
    },
  }
}

describe('a broker that starts later', { timeout: 60_000 }, () => {
  it('is found by a program that has set everything up already', async () => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await proxy.refuse()
    await using protocol = connectInBackground(proxy.url(broker.url))
    const refusals: unknown[] = []
    protocol.on('connecting', (_attempt, _delay, error) => refusals.push(error))
    const bodies: string[] = []
    const set = (async () => {
      const { queue } = await protocol.queueDeclare()
      await protocol.consumer(queue, message => void bodies.push(message.text()))
      await protocol.publish('Hello!', '', queue)
    })()
    await until('some attempts have failed', () => refusals.length > 5)
    assert.equal(protocol.state, 'connecting')
    assert.ok(refusals.at(-1) instanceof ConnectionFailedError)
    await proxy.listen()
    await protocol.ready()
    await set
    await until('the message has come', () => bodies.length > 0)
    assert.deepEqual(bodies, ['Hello!'])
    assert.equal(proxy.accepted, 1)
  })

  it('ends the program’s wait if it refuses the login', async () => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await proxy.refuse()
    const protocol = connectInBackground(proxy.url(broker.url), { password: 'wrong' })
    const declared = rejection(protocol.queueDeclare(), AuthenticationError)
    const closed = rejection(protocol.waitClosed(), AuthenticationError)
    await new Promise(resolve => protocol.once('connecting', resolve))
    await proxy.listen()
    assert.equal((await declared).replyCode, 403)
    await closed
    assert.equal(protocol.state, 'closed')
  })
})

describe('several servers', { timeout: 60_000 }, () => {
  it('are tried in their order, each with its share of the time, and again in it after a loss', async () => {
    await using given = await openServers(3)
    const [first, second, third] = given.proxies
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    await first.refuse()
    second.blackhole()
    const started = performance.now()
    await using protocol = await connect({ servers: given.servers, connectTimeout: 3_000, login: broker.login })
    const took = performance.now() - started
    assert.equal(protocol.peer.port, third.port)
    assert.ok(took > 1_400, `${took} ms: half of what was left went to the silent one`)
    await first.heal()
    const recovered = once(protocol, 'recovered')
    third.reset()
    await recovered
    assert.equal(protocol.peer.port, first.port)
  })

  it('are each named by the error, with what each failed at, if none can be reached', async () => {
    await using given = await openServers(3)
    const [first, second, third] = given.proxies
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    await first.refuse()
    second.blackhole()
    third.resetNew()
    const error = await rejection(connect({ servers: given.servers, connectTimeout: 900 }), ConnectionFailedError)
    assert.deepEqual(
      error.attempts.map(({ server }) => server),
      given.servers.map(({ host, port }) => `${host}:${port}`),
    )
    const [refused, unanswered, reset] = error.attempts
    assert.deepEqual([refused?.step, unanswered?.step], ['connect', 'connection.start'])
    // The reset may come before the client knows that it is connected.
    assert.ok(reset?.step === 'connect' || reset?.step === 'connection.start', reset?.step)
    for (const { server } of error.attempts) assert.ok(error.message.includes(server))
  })

  it('are each tried first at some time with serverOrder: random', async () => {
    await using given = await openServers(3)
    await until(
      'each was the first once',
      async () => {
        const protocol = await connect({ servers: given.servers, serverOrder: 'random' })
        await protocol.close()
        return given.proxies.every(({ accepted }) => accepted > 0)
      },
      { interval: 1 },
    )
  })

  it('race with serverOrder: race: the fastest wins, and the connections of the others are closed', async () => {
    await using given = await openServers(3)
    const [first, second, third] = given.proxies
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    // More than a busy broker takes.
    first.shape('toClient', { delay: 3_000 })
    third.shape('toClient', { delay: 2_000 })
    await using protocol = await connect({ servers: given.servers, serverOrder: 'race' })
    assert.equal(protocol.peer.port, second.port)
    await until('the others are closed', () => first.open === 0 && third.open === 0)
    assert.equal(second.open, 1)
    assert.deepEqual([first.accepted, second.accepted, third.accepted], [1, 1, 1])

    third.shape('toClient', { delay: 0 })
    const recovered = once(protocol, 'recovered')
    await second.refuse()
    second.reset()
    await recovered
    assert.equal(protocol.peer.port, third.port)
    await until('the loser is closed', () => first.open === 0)
  })

  it('take over at once if the one that was lost is silent: it is asked again last', async () => {
    await using given = await openServers(2)
    const [first, second] = given.proxies
    assert.ok(first !== undefined && second !== undefined)
    const watch = new RecoveryWatch()
    await using protocol = await connect({ servers: given.servers, heartbeat: 1, ...watch.tracing })
    watch.follow(protocol)
    first.blackhole()
    await once(protocol, 'recovered')
    watch.checkQuick()
    assert.equal(protocol.peer.port, second.port)
    await first.heal()
    const recovered = once(protocol, 'recovered')
    second.reset()
    await recovered
    assert.equal(protocol.peer.port, first.port)
  })

  it('take over at once after a loss, and one that refuses costs no further attempt', async () => {
    await using given = await openServers(3)
    const [first, second, third] = given.proxies
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    const watch = new RecoveryWatch()
    await using protocol = await connect({ servers: given.servers, ...watch.tracing })
    const channel = await protocol.channel({ publisherConfirms: true })
    assert.equal(protocol.peer.port, first.port)
    await first.refuse()
    await second.refuse()
    const recovered = once(protocol, 'recovered')
    watch.follow(protocol)
    first.reset()
    await recovered
    await channel.publish('x', '', 'nowhere')
    watch.checkQuick()
    assert.equal(protocol.peer.port, third.port)
  })
})

describe('a server that falls silent', { timeout: 60_000 }, () => {
  it('is left within connectTimeout, and the error names the step: TCP only, or TLS', async () => {
    const silent = net.createServer(socket => socket.on('error', () => {}).resume())
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as net.AddressInfo
    try {
      for (const [scheme, step, words] of [
        ['amqp', 'connection.start', /connection\.start/],
        ['amqps', 'tls', /TLS handshake/],
      ] as const)
        await leftAt(`${scheme}://127.0.0.1:${port}`, step, words)
    } finally {
      silent.close()
    }
  })

  for (const [after, step] of [
    ['start-ok', 'connection.tune'],
    ['tune-ok', 'connection.open-ok'],
  ] as const) {
    it(`is left if nothing comes after ${after}`, async () => {
      await using server = await openScriptedServer()
      const left = leftAt(server.url, step, new RegExp(step.replace('.', '\\.')))
      const peer = await server.accept()
      await peer.login()
      if (after === 'tune-ok') {
        peer.send(0, methods.ConnectionTune, { channelMax: 0, frameMax: 131_072, heartbeat: 0 })
        await peer.expect(methods.ConnectionTuneOk)
        await peer.expect(methods.ConnectionOpen)
      }
      await left
      await peer.closed
    })
  }

  it('lets no call wait longer than rpcTimeout', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 0, rpcTimeout: 200, recovery: false, onError: () => {} })
    const peer = await server.accept()
    await peer.handshake()
    await using protocol = await connecting
    using watch = new Stopwatch()
    const error = await rejection(protocol.channel(), TimeoutError)
    assert.match(error.message, /channel\.open/)
    assert.ok(watch.elapsed < 400, `${watch.elapsed} ms`)
    await protocol.close({ timeout: 200 })
    assert.ok(watch.elapsed < 800, `${watch.elapsed} ms`)
  })
})

/** Connects, and checks that the attempt ends in time, at this step. */
async function leftAt(url: string, step: string, words: RegExp): Promise<void> {
  using watch = new Stopwatch()
  const started = performance.now()
  const error = await rejection(connect(url, { connectTimeout: 250 }), ConnectionFailedError)
  const took = performance.now() - started
  assert.ok(took > 200 && watch.elapsed < 500, `${took} ms`)
  assert.deepEqual(
    error.attempts.map(attempt => attempt.step),
    [step],
  )
  assert.match(error.message, words)
}
