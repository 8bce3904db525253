import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectSocket, createServer } from 'node:net'
import { describe, it } from 'node:test'
import { ConnectionClosedError, connect } from '../../src/index.ts'
import { PROTOCOL_HEADER } from '../../src/protocol/constants.ts'
import * as methods from '../../src/protocol/methods.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { EngineClient } from '../broker-engine/engine-client.ts'
import { rejection } from '../support/rejection.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

async function listens(port: number): Promise<boolean> {
  const socket = connectSocket(port, '127.0.0.1')
  return new Promise(resolve => {
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

function afterTicks(ticks: number, run: () => void): void {
  if (ticks === 0) run()
  else process.nextTick(() => afterTicks(ticks - 1, run))
}

const portsOf = (broker: Broker) => [broker.port, Number(new URL(broker.tlsUrl).port)]

describe('The life of a broker for tests', () => {
  const ends: readonly (readonly [string, (broker: Broker) => Promise<unknown>])[] = [
    ['start, then stop', broker => Promise.all([broker.start(), broker.stop()])],
    [
      'start, then stop, each some ticks later',
      async broker => {
        for (let ticks = 1; ticks <= 5; ticks++) {
          const started = broker.start()
          await new Promise<void>(resolve => afterTicks(ticks, () => resolve(broker.stop())))
          await started
        }
      },
    ],
    ['start, then kill', broker => Promise.all([broker.start(), broker.kill()])],
    ['start, then refuse', broker => Promise.all([broker.start(), broker.refuseConnections()])],
    ['start, then dispose', broker => Promise.all([broker.start(), broker[Symbol.asyncDispose]()])],
    ['restart, then stop', broker => Promise.all([broker.restart(), broker.stop()])],
    ['restart twice, then stop', broker => Promise.all([broker.restart(), broker.restart(), broker.stop()])],
    [
      'accept, then refuse',
      async broker => {
        await broker.start()
        broker.refuseConnections()
        await Promise.all([broker.acceptConnections(), broker.refuseConnections()])
      },
    ],
    [
      'accept, then dispose',
      async broker => {
        await broker.start()
        broker.refuseConnections()
        await Promise.all([broker.acceptConnections(), broker[Symbol.asyncDispose]()])
      },
    ],
  ]
  for (const [name, end] of ends) {
    it(`leaves nothing that listens, with or without TLS, after ${name}`, async () => {
      const broker = await startBroker({ tls: {} })
      const ports = portsOf(broker)
      await broker.stop()
      await end(broker)
      try {
        for (const port of ports) assert.equal(await listens(port), false)
      } finally {
        await broker[Symbol.asyncDispose]()
      }
    })
  }

  const starts: readonly (readonly [string, (broker: Broker) => Promise<unknown>])[] = [
    ['a second start', broker => Promise.race([broker.start(), broker.start()])],
    ['a second restart', broker => Promise.race([broker.restart(), broker.restart()])],
    ['a start during a restart', broker => Promise.race([broker.restart(), broker.start()])],
    [
      'taking connections twice',
      async broker => {
        await broker.start()
        broker.refuseConnections()
        await Promise.race([broker.acceptConnections(), broker.acceptConnections()])
      },
    ],
  ]
  for (const [name, start] of starts) {
    it(`goes on when it listens, also after ${name}`, async () => {
      // A name has to be looked up.
      await using broker = await startBroker({ host: 'localhost', tls: {} })
      const ports = portsOf(broker)
      await broker.stop()
      await start(broker)
      const socket = connectSocket(ports[0] ?? 0, 'localhost')
      await once(socket, 'connect')
      socket.destroy()
    })
  }

  it('does not begin while its port is taken, however often it is tried', async () => {
    await using broker = await startBroker()
    const { port } = broker
    await broker.stop()
    const server = createServer()
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    await assert.rejects(broker.start(), { code: 'EADDRINUSE' })
    await assert.rejects(broker.start(), { code: 'EADDRINUSE' })
    server.close()
    await once(server, 'close')
    await broker.start()
    assert.ok(await listens(port))
  })

  it('ends with its last words, however slow it was', async () => {
    await using broker = await startBroker()
    for (const way of [{ host: '127.0.0.1', port: broker.port }, broker.inMemory]) {
      const protocol = await connect({ ...way, recovery: false })
      broker.slowDown(60_000)
      await broker.stop()
      const error = await rejection(protocol.waitClosed(), ConnectionClosedError)
      assert.equal(error.replyText, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
      broker.slowDown(0)
      await broker.start()
    }
  })

  it('keeps back what a slow broker had to send when it froze, and ends', async () => {
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock })
    const protocol = await connect({ ...broker.inMemory, recovery: false })
    await protocol.queueDeclare('work')
    const channel = await protocol.channel()
    broker.slowDown(20)
    let isAnswered = false
    const purged = channel.queuePurge('work').then(() => {
      isAnswered = true
    })
    for (let turn = 0; turn < 5; turn++) await new Promise(resolve => setImmediate(resolve))
    broker.freeze()
    await clock.advance(60)
    assert.equal(isAnswered, false)
    broker.thaw()
    await clock.advance(60)
    await purged
    broker.freeze()
    await broker.stop()
    await rejection(protocol.waitClosed(), Error)
  })

  it('ends over TLS with its last words, too, however much comes in front of them', async () => {
    const secret = { psk: Buffer.alloc(32, 'key'), identity: 'client' }
    const psk = { ciphers: 'PSK-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' } as const
    await using broker = await startBroker({ tls: { ...psk, pskCallback: () => secret.psk } })
    const ssl = { ...psk, pskCallback: () => secret, checkServerIdentity: () => undefined }
    const protocol = await connect(broker.tlsUrl, { ssl, recovery: false })
    await protocol.queueDeclare('work')
    await protocol.publish(Buffer.alloc(12_000_000), '', 'work')
    const channel = await protocol.channel()
    await channel.basicConsume(() => {}, 'work')
    await broker.queue('work').hasUnacked(1)
    const closed = rejection(protocol.waitClosed(), ConnectionClosedError)
    await broker.stop()
    assert.match((await closed).replyText ?? '', /^CONNECTION_FORCED/)
  })

  it('ends for a client that reads nothing of what it asked for', async () => {
    await using broker = await startBroker()
    const protocol = await connect({ ...broker.inMemory, recovery: false, onError: () => {} })
    await protocol.queueDeclare('work')
    await protocol.publish(Buffer.alloc(16_000_000), '', 'work')
    const socket = connectSocket(broker.port, '127.0.0.1').pause()
    socket.on('error', () => {})
    socket.write(PROTOCOL_HEADER)
    const start = { clientProperties: {}, mechanism: 'PLAIN', response: '\0guest\0guest' }
    socket.write(EngineClient.encode(0, methods.ConnectionStartOk, start))
    socket.write(EngineClient.encode(0, methods.ConnectionTuneOk, { channelMax: 10, frameMax: 131_072, heartbeat: 0 }))
    socket.write(EngineClient.encode(0, methods.ConnectionOpen, {}))
    socket.write(EngineClient.encode(1, methods.ChannelOpen, {}))
    socket.write(EngineClient.encode(1, methods.BasicGet, { queueName: 'work' }))
    await broker.queue('work').hasUnacked(1)
    await broker.stop()
    assert.deepEqual(broker.connections, [])
    socket.destroy()
  })

  it('lets a wait see what came back of a connection that was closed, and says nothing', async () => {
    await using broker = await startBroker()
    const protocol = await connect({ ...broker.inMemory, recovery: false })
    await protocol.queueDeclare('work')
    await protocol.publish('1', '', 'work')
    const channel = await protocol.channel()
    await channel.basicConsume(() => {}, 'work')
    await broker.queue('work').hasUnacked(1)
    broker.freeze()
    const back = broker.queue('work').hasReady(1, { timeout: 60_000 })
    for (const connection of broker.connections) connection.close('for a test')
    await back
    broker.thaw()
    await rejection(protocol.waitClosed(), ConnectionClosedError)
  })
})
