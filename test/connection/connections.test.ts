import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type AmqpProtocol,
  type AmqpProtocolEvents,
  ConnectionClosedError,
  ConnectionFailedError,
  ConnectionLostError,
  type ConnectOptions,
  connect,
  connectInBackground,
  type TransportFactory,
  type TransportHandler,
} from '../../src/index.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { rejection } from '../support/rejection.ts'
import { until } from '../support/until.ts'

const NAMES = ['main', 'publisher'] as const
const WATCHED = ['blocked', 'unblocked', 'disconnected', 'recovered', 'closed'] as const

function separate(broker: Broker, options: ConnectOptions = {}): ConnectOptions {
  return { ...broker.inMemory, connectionName: 'the program', connections: 'separate', ...options }
}

/** Each event with what says which connection it is of. */
function record(protocol: AmqpProtocol): string[] {
  const events: string[] = []
  for (const name of WATCHED) {
    protocol.on(name, (...args: AmqpProtocolEvents[typeof name]) => {
      events.push([name, ...args.filter(arg => typeof arg === 'string')].join(' '))
    })
  }
  return events
}

/** Cut one of the two. Resolves when that is noticed. */
async function cut(broker: Broker, protocol: AmqpProtocol, role: (typeof NAMES)[number]): Promise<void> {
  const noticed = new Promise(resolve => protocol.once('disconnected', resolve))
  broker.cutConnections(role === 'main' ? 'the program' : 'the program.publisher')
  await noticed
}

/** Let whatever is under way go on. */
async function turns(count = 50): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(resolve => setImmediate(resolve))
}

function isSettled(promise: Promise<unknown>): () => boolean {
  let settled = false
  const settle = (): void => {
    settled = true
  }
  promise.then(settle, settle)
  return () => settled
}

describe('Two connections of one protocol', { timeout: 60_000 }, () => {
  it('have names of their own at the broker, and open and end together', async () => {
    await using broker = await startBroker()
    const protocol = await connect(separate(broker))
    const events = record(protocol)
    assert.deepEqual(broker.connections.map(({ name }) => name).toSorted(), ['the program', 'the program.publisher'])
    assert.equal(protocol.state, 'open')
    const closed = protocol.waitClosed()
    await protocol.close()
    await closed
    assert.equal(protocol.state, 'closed')
    assert.deepEqual(events, ['closed'])
    assert.deepEqual(broker.connections, [])
  })

  it('ack, declare and consume while the broker takes no publishes, of whatever kind', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(separate(broker))
    const events = record(protocol)
    for (const name of ['in', 'out', 'failing', 'failed', 'asked']) await protocol.queueDeclare(name, { durable: true })
    await Promise.all(['1', '2', '3'].map(text => protocol.publish(text, '', 'in')))
    await protocol.publish('bad', '', 'failing')

    broker.block('low on disk')
    const publisher = await protocol.publisher()
    const client = await protocol.rpcClient({ timeout: 60_000 })
    await using _server = await protocol.rpcServer('asked', request => `${request.text()}!`)
    const raw = await protocol.channel({ connection: 'publisher', publisherConfirms: true })
    const published = [
      protocol.publish('a', '', 'out'),
      publisher.publish('b', 'out'),
      raw.publish('c', '', 'out'),
      protocol.transaction(channel => channel.basicPublish('d', '', 'out')),
    ]
    const reply = client.call('asked', 'what')
    await until('publishes are blocked', () => protocol.blocked === 'low on disk')
    const handled: string[] = []
    await using consumer = await protocol.consumer('in', message => void handled.push(message.text()))
    await using _failing = await protocol.consumer('failing', () => Promise.reject(new Error('no')), {
      onFailure: { exchangeName: '', routingKey: 'failed' },
    })
    await until('they are handled', () => handled.length === 3)
    await broker.queue('in').emptied()
    await consumer.close()
    await protocol.queueDeclare('new one', { durable: true })
    await broker.queue('failing').hasUnacked(1)
    assert.deepEqual(broker.queue('out').ready, [])
    assert.deepEqual(events, ['blocked low on disk publisher'])
    const { blockedReason, publisherConnection, waiting } = protocol.stats()
    assert.equal(blockedReason, 'low on disk')
    assert.equal(publisherConnection?.blockedReason, 'low on disk')
    assert.ok(waiting > 0)

    broker.unblock()
    await Promise.all(published)
    assert.equal((await reply).text(), 'what!')
    await broker.queue('failed').hasReady(1)
    await broker.queue('failing').emptied()
    assert.equal(broker.queue('out').ready.length, 4)
    assert.deepEqual(events, ['blocked low on disk publisher', 'unblocked publisher'])
  })

  it('would be blocked both if a channel of the first one published', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(separate(broker))
    const events = record(protocol)
    broker.block()
    const channel = await protocol.channel()
    await channel.basicPublish('x', '', 'out')
    await until('it is blocked', () => events.length > 0)
    assert.deepEqual(events, ['blocked low on memory main'])
    assert.equal(protocol.blocked, 'low on memory')
    broker.unblock()
  })

  it('recover one by one: what is published while the one for it is lost is sent by the next', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(separate(broker))
    const events = record(protocol)
    await protocol.queueDeclare('q', { durable: true })
    const taken: [string, boolean][] = []
    await using _consumer = await protocol.consumer('q', ({ envelope, ...message }) => {
      taken.push([String(message.body), envelope.isRedeliver])
    })
    await protocol.publish('1', '', 'q')
    broker.withholdConfirms()
    const unconfirmed = protocol.publish('2', '', 'q')
    await broker.hasPublished(2)
    await cut(broker, protocol, 'publisher')
    assert.equal(protocol.state, 'recovering')
    broker.releaseConfirms()
    const later = protocol.publish('3', '', 'q')
    await protocol.ready()
    await Promise.all([unconfirmed, later])
    await until('all are taken', () => taken.length === 4)
    assert.deepEqual(
      taken,
      ['1', '2', '2', '3'].map(text => [text, false]),
    )
    assert.deepEqual(events, ['disconnected publisher', 'recovered publisher'])
    const { reconnects, publisherConnection, openMs } = protocol.stats()
    assert.deepEqual([reconnects, publisherConnection?.reconnects], [1, 1])
    assert.ok(openMs >= 0)
  })

  it('publish nothing to what the lost one had declared until it is declared again', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(separate(broker))
    const events = record(protocol)
    await protocol.exchangeDeclare('news', 'fanout', { autoDelete: true })
    const { queue } = await protocol.queueDeclare('')
    await protocol.queueBind(queue, 'news')
    await protocol.queueDeclare('elsewhere', { durable: true })
    const taken: string[] = []
    await protocol.consumer(queue, message => void taken.push(message.text()))
    await protocol.publish('1', 'news', '')
    await until('it is taken', () => taken.length === 1)

    broker.refuseConnections()
    await cut(broker, protocol, 'main')
    assert.equal(protocol.state, 'recovering')
    const waiting = [protocol.publish('2', 'news', ''), protocol.publish('3', '', queue)]
    const settled = waiting.map(isSettled)
    // No other client gets in meanwhile.
    await using other = await connect(broker.inMemory).catch(() => undefined)
    assert.equal(other, undefined)
    await turns()
    assert.deepEqual(
      settled.map(is => is()),
      [false, false],
    )
    assert.equal(broker.published.length, 1)
    await broker.acceptConnections()
    await Promise.all(waiting)
    await until('they are taken', () => taken.length === 3)
    assert.deepEqual(taken.toSorted(), ['1', '2', '3'])
    await protocol.ready()
    assert.deepEqual(events, ['disconnected main', 'recovered main'])
    assert.equal(protocol.state, 'open')
  })

  it('keep what is declared and deleted during an alarm, whatever the other one waits for', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(separate(broker))
    await protocol.queueDeclare('old', { durable: true })
    broker.block()
    const publish = protocol.publish('1', '', 'new')
    await until('publishes are blocked', () => protocol.blocked !== undefined)
    // Its consumer is not answered.
    const opening = protocol.rpcClient()
    await turns()
    await protocol.queueDeclare('new', { exclusive: true })
    await protocol.queueDelete('old')
    await cut(broker, protocol, 'main')
    // One publish is blocked as before.
    await until('the first one is back', () => protocol.stats().reconnects === 1)
    assert.deepEqual(broker.queueNames(), ['new'])
    broker.unblock()
    await publish
    await opening
    await broker.queue('new').hasReady(1)
  })

  it('both come back when the broker is killed, and lose nothing that was confirmed', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(separate(broker))
    const events = record(protocol)
    await protocol.queueDeclare('q', { durable: true })
    const taken = new Set<string>()
    await protocol.consumer('q', message => void taken.add(message.text()))
    const publishes = Array.from({ length: 500 }, (_, index) => protocol.publish(`${index}`, '', 'q'))
    await broker.hasPublished(100)
    await broker.kill()
    await turns()
    await broker.start()
    await Promise.all(publishes)
    await until('all are taken', () => taken.size === 500)
    await protocol.ready()
    assert.deepEqual(events.slice(0, 2).toSorted(), ['disconnected main', 'disconnected publisher'])
    assert.deepEqual(events.slice(2).toSorted(), ['recovered main', 'recovered publisher'])
  })

  it('do not publish to a broker that has restarted before the lost connection to the old one is noticed', async () => {
    await using broker = await startBroker()
    const deaf = new DeafTransports(broker.createTransport)
    await using protocol = await connect(separate(broker, { createTransport: deaf.factory }))
    await protocol.queueDeclare('passing', { exclusive: true })
    await protocol.queueBind('passing', 'amq.fanout')
    await protocol.publish('1', 'amq.fanout', '')
    // The first one hears nothing of its end.
    deaf.turnOff(0)
    const noticed = new Promise(resolve => protocol.once('disconnected', resolve))
    await broker.restart()
    await noticed
    const publish = protocol.publish('2', 'amq.fanout', '')
    const settled = isSettled(publish)
    await until('the other one asks for a sign of life', () => deaf.unheard > 0)
    await turns()
    assert.equal(settled(), false)
    assert.equal(protocol.state, 'recovering')
    deaf.notice(0)
    await publish
    assert.deepEqual(
      broker.queue('passing').ready.map(({ body }) => String(body)),
      ['2'],
    )
    await protocol.ready()
  })

  it('end both when one of them ends for good', async () => {
    for (const role of NAMES) {
      await using broker = await startBroker()
      const errors: Error[] = []
      const onError = (error: Error): void => void errors.push(error)
      const protocol = await connect(separate(broker, { recovery: false, onError }))
      const events = record(protocol)
      await protocol.queueDeclare('q', { durable: true })
      broker.withholdConfirms()
      const pending = rejection(protocol.publish('1', '', 'q'), ConnectionLostError)
      await broker.hasPublished(1)
      await cut(broker, protocol, role)
      await pending
      await until('it is over', () => events.length > 1)
      assert.deepEqual(events, [`disconnected ${role}`, 'closed'])
      assert.equal(protocol.state, 'closed')
      await rejection(protocol.waitClosed(), ConnectionLostError)
      await rejection(protocol.publish('2', '', 'q'), ConnectionLostError)
      await rejection(protocol.queueDeclare('r'), ConnectionLostError)
      await until('both are gone', () => broker.connections.length === 0)
      await protocol.close()
    }
  })

  it('report an end once, to onError, if no caller waits for it', async () => {
    for (const role of NAMES) {
      await using broker = await startBroker()
      const errors: Error[] = []
      const onError = (error: Error): void => void errors.push(error)
      const protocol = await connect(separate(broker, { recovery: { maxAttempts: 1 }, onError }))
      broker.refuseConnections()
      await cut(broker, protocol, role)
      await until('it is over', () => protocol.state === 'closed')
      await turns()
      assert.equal(errors.length, 1)
      assert.ok(errors[0] instanceof ConnectionLostError)
    }
  })

  it('are not there at all if one of them cannot be opened', async () => {
    await using broker = await startBroker()
    let made = 0
    const createTransport: TransportFactory = (...args) => {
      if (++made === 2) throw new Error('one is enough')
      return broker.createTransport(...args)
    }
    const error = await rejection(connect(separate(broker, { createTransport })), ConnectionFailedError)
    assert.match(error.message, /one is enough/)
    await until('the first one is closed', () => broker.connections.length === 0)
  })

  it('open in the background, one after the other', async () => {
    await using broker = await startBroker()
    broker.refuseConnections()
    await using protocol = connectInBackground(separate(broker))
    const connected: string[] = []
    protocol.on('connected', connection => void connected.push(connection))
    const publish = protocol.queueDeclare('q', { durable: true }).then(() => protocol.publish('1', '', 'q'))
    assert.equal(protocol.state, 'connecting')
    await broker.acceptConnections()
    await protocol.ready()
    assert.equal(protocol.state, 'open')
    await publish
    assert.deepEqual(connected, ['main', 'publisher'])
  })

  it('close while they are opened in the background', async () => {
    await using broker = await startBroker()
    broker.refuseConnections()
    const protocol = connectInBackground(separate(broker))
    const publish = rejection(protocol.publish('1', '', 'q'), ConnectionClosedError)
    const ready = rejection(protocol.ready(), ConnectionClosedError)
    await protocol.close()
    await Promise.all([publish, ready])
    assert.equal(protocol.state, 'closed')
  })

  it('close in an order in which handlers can still publish', async () => {
    await using broker = await startBroker()
    const protocol = await connect(separate(broker))
    await protocol.queueDeclare('in', { durable: true })
    await protocol.queueDeclare('out', { durable: true })
    const started: string[] = []
    let go = (): void => {}
    const mayGo = new Promise<void>(resolve => {
      go = resolve
    })
    await protocol.consumer('in', async message => {
      started.push(message.text())
      await mayGo
      await protocol.publish(message.text(), '', 'out')
    })
    await Promise.all(['1', '2', '3'].map(text => protocol.publish(text, '', 'in')))
    await until('handlers run', () => started.length === 3)
    const closing = protocol.close()
    assert.equal(protocol.state, 'closing')
    go()
    await closing
    assert.equal(protocol.state, 'closed')
    assert.equal(broker.queue('out').ready.length, 3)
    assert.deepEqual(broker.queue('in').ready, [])
  })

  it('close when one of them is lost, and let the other one finish', async () => {
    await using broker = await startBroker()
    const protocol = await connect(separate(broker))
    await using other = await connect(broker.inMemory)
    await other.queueDeclare('q', { durable: true })
    broker.withholdConfirms()
    const publish = protocol.publish('1', '', 'q')
    await broker.hasPublished(1)
    broker.refuseConnections()
    await cut(broker, protocol, 'main')
    assert.equal(protocol.state, 'recovering')
    const closing = protocol.close()
    assert.equal(protocol.state, 'closing')
    broker.releaseConfirms()
    await publish
    await closing
    assert.equal(protocol.state, 'closed')

    await broker.acceptConnections()
    const second = await connect(separate(broker))
    const taken: string[] = []
    await second.consumer('q', message => void taken.push(message.text()))
    await until('it is taken', () => taken.length === 1)
    broker.refuseConnections()
    await cut(broker, second, 'publisher')
    assert.equal(second.state, 'recovering')
    await second.close()
    assert.equal(second.state, 'closed')
    assert.deepEqual([broker.queue('q').ready, broker.queue('q').unacked], [[], []])
  })

  it('close when the first one is lost meanwhile, after what the other one has published is confirmed', async () => {
    await using broker = await startBroker()
    const protocol = await connect(separate(broker))
    const events = record(protocol)
    await protocol.queueDeclare('q', { durable: true })
    broker.withholdConfirms()
    const publish = protocol.publish('1', '', 'q')
    await broker.hasPublished(1)
    const closed = isSettled(protocol.waitClosed())
    const closing = protocol.close()
    broker.cutConnections('the program')
    await turns()
    assert.equal(protocol.state, 'closing')
    assert.equal(closed(), false)
    assert.deepEqual(events, [])
    broker.releaseConfirms()
    await publish
    await closing
    assert.equal(protocol.state, 'closed')
    assert.deepEqual(events, ['closed'])
    assert.deepEqual(broker.connections, [])
  })

  it('are both at the server of the first one', async () => {
    await using one = await startBroker()
    await using other = await startBroker()
    for (let run = 0; run < 5; run++) {
      await using protocol = await connect([one.url, other.url], { connections: 'separate', serverOrder: 'random' })
      const counts = [one, other].map(({ connections }) => connections.length)
      assert.deepEqual(counts.toSorted(), [0, 2])
      const lost = counts[0] === 2 ? one : other
      lost.refuseConnections()
      lost.cutConnections()
      await until('both are at the other one', () => (lost === one ? other : one).connections.length === 2)
      await protocol.ready()
      await lost.acceptConnections()
    }
  })

  it('share a token', async () => {
    await using broker = await startBroker()
    let asked = 0
    const password = (): { password: string; expiresAt: number } => {
      asked++
      return { password: 'guest', expiresAt: Date.now() + 3_600_000 }
    }
    await using protocol = await connect(separate(broker, { password }))
    for (const role of NAMES) await cut(broker, protocol, role)
    await protocol.ready()
    assert.equal(asked, 1)
  })

  it('close within their time while the broker takes no publishes', async () => {
    await using broker = await startBroker()
    const protocol = await connect(separate(broker))
    await protocol.queueDeclare('q', { durable: true })
    broker.block()
    const sent = rejection(protocol.publish('1', '', 'q'), ConnectionClosedError)
    await until('publishes are blocked', () => protocol.blocked !== undefined)
    const waiting = rejection(protocol.publish('2', '', 'q'), ConnectionClosedError)
    await protocol.close({ timeout: 300 })
    assert.equal(protocol.state, 'closed')
    assert.equal(protocol.blocked, undefined)
    assert.deepEqual([(await sent).outcome, (await waiting).outcome], ['unknown', 'notSent'])
  })

  it('leave no promise and no socket behind a close whose time was taken by handlers that publish during an alarm', async () => {
    await using broker = await startBroker()
    const protocol = await connect(separate(broker))
    const events = record(protocol)
    await protocol.queueDeclare('in', { durable: true })
    await protocol.publish('1', '', 'in')
    broker.block()
    const raw = await protocol.channel({ connection: 'publisher', publisherConfirms: true })
    const written = rejection(raw.publish('a', '', 'out'), ConnectionClosedError)
    const waiting = rejection(
      protocol.transaction(channel => channel.basicPublish('b', '', 'out')),
      ConnectionClosedError,
    )
    let handling = false
    await protocol.consumer('in', async () => {
      handling = true
      await protocol.publish('c', '', 'out')
    })
    await until('a handler waits', () => handling && protocol.blocked !== undefined)
    const settled = [written, waiting].map(isSettled)
    await protocol.close({ timeout: 100 })
    await turns(5)
    assert.deepEqual(
      settled.map(is => is()),
      [true, true],
    )
    // A broker does not see the end of what it has blocked.
    broker.unblock()
    await turns(5)
    assert.deepEqual(broker.connections, [])
    assert.deepEqual(events.slice(1), ['unblocked publisher', 'closed'])
    assert.equal(broker.queue('in').ready.length, 1)
  })

  it('end as asked if one of them is lost for good while they are closed', async () => {
    await using broker = await startBroker()
    const protocol = await connect(separate(broker, { recovery: false }))
    const closed = protocol.waitClosed()
    await protocol.queueDeclare('in', { durable: true })
    let go: (() => void) | undefined
    await protocol.consumer('in', () => new Promise<void>(resolve => (go = resolve)))
    await protocol.publish('1', '', 'in')
    await until('a handler runs', () => go !== undefined)
    const closing = protocol.close()
    await turns()
    await cut(broker, protocol, 'publisher')
    assert.equal(protocol.state, 'closing')
    go?.()
    await closing
    await closed
    assert.equal(protocol.state, 'closed')
    assert.deepEqual([broker.queue('in').ready, broker.queue('in').unacked], [[], []])
  })

  it('leave an exclusive queue to the one that declared it', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(separate(broker))
    const renamed: string[] = []
    protocol.on('queueRenamed', name => void renamed.push(name))
    const channel = await protocol.channel({ connection: 'publisher' })
    const { queue } = await channel.queueDeclare('')
    await channel.queueBind(queue, 'amq.fanout')
    const taken: string[] = []
    await channel.basicConsume((_channel, body) => void taken.push(String(body)), queue, { noAck: true })
    await cut(broker, protocol, 'main')
    await protocol.ready()
    await protocol.publish('1', '', queue)
    await protocol.publish('2', 'amq.fanout', '')
    await until('both are taken', () => taken.length === 2)
    assert.deepEqual(renamed, [])
    assert.deepEqual(broker.queueNames(), [queue])
  })

  it('have calls of either wait for what the first one makes again', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(separate(broker))
    await protocol.queueDeclare('passing', { autoDelete: true })
    await protocol.consumer('passing', () => {})
    const channel = await protocol.channel({ connection: 'publisher' })
    broker.refuseConnections()
    await cut(broker, protocol, 'main')
    assert.deepEqual(broker.queueNames(), [])
    const purged = channel.queuePurge('passing')
    const other = channel.queueDeclare('elsewhere', { durable: true })
    const settled = isSettled(purged)
    await turns()
    assert.equal(settled(), false)
    await broker.acceptConnections()
    await Promise.all([purged, other])
    assert.ok(channel.isOpen)
  })

  it('get a new secret both', async () => {
    await using broker = await startBroker()
    const secrets: string[] = []
    await using protocol = await connect(
      separate(broker, {
        traceFrames: line => {
          if (line.includes('update-secret ')) secrets.push(line)
        },
      }),
    )
    await protocol.updateSecret('new', 'the old one expires')
    assert.equal(secrets.length, 2)
  })

  it('are one without the option, also for a channel that asks for the other', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    const channel = await protocol.channel({ connection: 'publisher' })
    assert.equal(broker.connections.length, 1)
    assert.equal(protocol.stats().publisherConnection, undefined)
    await channel.close()
  })
})

/** Transports that can be made deaf: their ends are not noticed, and nothing more comes or leaves. */
class DeafTransports {
  readonly factory: TransportFactory
  readonly #handlers: TransportHandler[] = []
  readonly #deaf = new Set<number>()
  /** Writes by a transport that is deaf. */
  unheard = 0

  constructor(factory: TransportFactory) {
    this.factory = async (target, handler, signal, onStep) => {
      const number = this.#handlers.push(handler) - 1
      const hears = (): boolean => !this.#deaf.has(number)
      const guarded: TransportHandler = {
        onBytes: (buffer, length) => hears() && handler.onBytes(buffer, length),
        onDrain: () => hears() && handler.onDrain(),
        onEnd: () => hears() && handler.onEnd(),
        onClose: error => hears() && handler.onClose(error),
      }
      const transport = await factory(target, guarded, signal, onStep)
      const write = transport.write.bind(transport)
      transport.write = (segments, sent) => {
        if (!hears()) this.unheard++
        return write(segments, sent)
      }
      return transport
    }
  }

  turnOff(number: number): void {
    this.#deaf.add(number)
  }

  notice(number: number): void {
    this.#handlers[number]?.onClose(new Error('read ECONNRESET'))
  }
}
