import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { TransportFactory, TransportHandler } from '../../src/connection/wire/transport.ts'
import {
  type Channel,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionFailedError,
  ConnectionLostError,
  connect,
  connectInBackground,
  DuplicateConsumerTagError,
  EncodeError,
  ProtocolError,
  TimeoutError,
} from '../../src/index.ts'
import { deferred } from '../../src/lib/deferred.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Recoverable } from '../support/agreeable-broker.ts'
import { delivery, FakeBroker, heartbeatFrame, methodFrame } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const FORBIDDEN = {
  replyCode: 403,
  replyText: "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'",
}
const LOCKED = { replyCode: 403, replyText: "ACCESS_REFUSED - queue 'locked' in vhost '/' in exclusive use" }
const MISSING = { replyCode: 404, replyText: "NOT_FOUND - no queue 'q' in vhost '/'" }
const OTHERWISE = { replyCode: 406, replyText: "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q'" }

/** The queue in exclusive use has as many consumers. */
function countConsumers(the: Recoverable, count: () => number): void {
  const { prepare } = the.broker
  the.broker.prepare = peer => {
    prepare(peer)
    peer.answers.set('queue.declare', frame => {
      const counts = { queue: 'locked', messageCount: 0, consumerCount: count() }
      return methodFrame(frame.channel, methods.QueueDeclareOk, counts)
    })
  }
}

/** The same handler, whose methods may be copied. */
function unbound(handler: TransportHandler): TransportHandler {
  return {
    onBytes: (buffer, length) => handler.onBytes(buffer, length),
    onDrain: () => handler.onDrain(),
    onEnd: () => handler.onEnd(),
    onClose: error => handler.onClose(error),
  }
}

/** A channel in confirm mode whose publishes the test counts. */
async function confirming(the: Recoverable): Promise<Channel> {
  return the.protocol.channel({ publisherConfirms: true })
}

describe('a connection that is lost', () => {
  it('is recovering when its listeners hear of it, so that what they begin waits', async () => {
    const the = await Recoverable.open()
    const begun: { state: string; opening: ReturnType<typeof follow<Channel>> }[] = []
    the.protocol.on('disconnected', () => {
      begun.push({ state: the.protocol.state, opening: follow(the.protocol.channel()) })
    })
    await the.recover()
    assert.equal(begun[0]?.state, 'recovering')
    assert.equal(begun[0]?.opening.state, 'resolved')
  })

  it('does not block any more when unblocked is emitted', async () => {
    const the = await Recoverable.open()
    the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' }))
    await turn()
    assert.equal(the.protocol.blocked, 'low on memory')
    const inListener: unknown[] = []
    the.protocol.on('unblocked', () => inListener.push(the.protocol.blocked))
    await the.recover()
    assert.deepEqual(inListener, [undefined])
  })

  it('emits the end of a block also if it is lost before it is recovered', async () => {
    const the = await Recoverable.open()
    await the.protocol.exchangeDeclare('orders', 'direct')
    the.silent.add('exchange.declare')
    await the.lose()
    the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' }))
    await turn()
    assert.equal(the.protocol.state, 'recovering')
    assert.deepEqual(the.seen('blocked'), [['low on memory', 'main']])
    the.silent.clear()
    await the.recover()
    assert.deepEqual(the.seen('unblocked'), [['main']])
    assert.equal(the.protocol.blocked, undefined)
  })

  it('emits a block that comes with open-ok, once, after the first connection as after a recovery', async () => {
    const broker = new FakeBroker()
    const opened = [
      methodFrame(0, methods.ConnectionOpenOk, {}),
      methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' }),
    ]
    broker.prepare = peer => peer.answers.set('connection.open', () => Buffer.concat(opened))
    const clock = new VirtualClock()
    const protocol = connectInBackground({ createTransport: broker.createTransport, clock, heartbeat: 0 })
    const events: string[] = []
    for (const name of ['connected', 'blocked', 'unblocked', 'recovered'] as const)
      protocol.on(name, () => events.push(name))
    await clock.until(protocol.ready())
    const first = await broker.accept()
    first.send(heartbeatFrame)
    assert.deepEqual(events, ['connected', 'blocked'])
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    first.transport.break(new Error('cut'))
    await clock.until(recovered)
    const second = await broker.accept()
    second.send(heartbeatFrame)
    assert.deepEqual(events.slice(2), ['unblocked', 'blocked', 'recovered'])
    await clock.until(protocol.close())
  })

  it('emits no block that came in the same read as its end', async () => {
    const the = await Recoverable.open()
    const blocked = methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    const forced = { replyCode: 320, replyText: 'CONNECTION_FORCED', classId: 0, methodId: 0 }
    const recovered = new Promise<unknown>(resolve => the.protocol.once('recovered', resolve))
    the.peer.send(Buffer.concat([blocked, methodFrame(0, methods.ConnectionClose, forced)]))
    await the.clock.until(recovered)
    assert.deepEqual([...the.seen('blocked'), ...the.seen('unblocked')], [])
  })

  it('emits the end of a block before that of a protocol that is closed meanwhile', async () => {
    const the = await Recoverable.open()
    await the.protocol.exchangeDeclare('orders', 'direct')
    the.silent.add('exchange.declare')
    await the.lose()
    the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' }))
    await turn()
    await the.clock.until(the.protocol.close())
    const told = ['blocked', 'unblocked', 'closed']
    assert.deepEqual(
      the.events.map(([name]) => name).filter(name => told.includes(name)),
      told,
    )
  })

  it('may be closed by a listener, and is not dialled again', async () => {
    const the = await Recoverable.open()
    the.protocol.once('disconnected', () => void the.protocol.close())
    the.peer.transport.break(new Error('cut'))
    await the.clock.advance(10_000)
    assert.equal(the.protocol.state, 'closed')
    assert.equal(the.broker.peers.length, 1)
    assert.equal(the.clock.keeping, 0)
  })

  it('while close() waits is the end that was asked for', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel({ publisherConfirms: true })
    const publish = follow(channel.publish('x', '', 'q'))
    const closed = the.protocol.close()
    await turn()
    the.peer.transport.break(new Error('cut'))
    await the.clock.until(closed)
    await the.protocol.waitClosed()
    assert.equal(publish.state, 'rejected')
    assert.deepEqual(the.seen('disconnected'), [])
    assert.deepEqual(the.seen('closed'), [[]])
    assert.deepEqual(the.errors, [])
  })

  it('is over by a close, and what was under way ends within its timeout, as long as the broker keeps silent', async () => {
    const the = await Recoverable.open()
    await the.protocol.queueDeclare('q')
    const client = await the.protocol.rpcClient()
    const publisher = await the.protocol.channel({ publisherConfirms: true })
    the.silent.add('queue.declare')
    await the.lose()
    const { clock } = the
    const call = follow(client.call('work', 'x', { timeout: 200 }))
    await clock.advance(100)
    the.peer.answers.delete('connection.close')
    const published = follow(publisher.publish('x', '', 'work', {}, { timeout: 100 }))
    const closed = follow(the.protocol.close())
    await clock.advance(100)
    assert.deepEqual([call.state, published.state, closed.state], ['rejected', 'rejected', 'pending'])
    await clock.advance(5_000)
    assert.equal(closed.state, 'resolved')
    assert.equal(clock.keeping, 0)
  })

  it('is over by a close at once, which waits for no callback of a restored channel', async () => {
    const the = await Recoverable.open()
    await the.protocol.queueDeclare('late')
    const channel = await the.protocol.channel()
    let acked: Promise<boolean> | undefined
    const running = deferred()
    await channel.basicConsume(async (on, _body, { deliveryTag }) => {
      await running.promise
      acked = on.basicClientAck(deliveryTag)
      acked.catch(() => {})
    }, 'q')
    the.silent.add('queue.declare')
    await the.lose()
    const { clock } = the
    const [restored] = the.peer.frames.filter(({ method }) => method === methods.BasicConsume)
    the.peer.send(delivery(restored?.channel ?? 0, String(restored?.args['consumerTag']), 1, 'x'))
    await turn()
    assert.equal(the.protocol.state, 'recovering')
    const before = clock.now()
    await clock.until(the.protocol.close())
    assert.equal(clock.now(), before)
    running.resolve()
    await turn()
    assert.ok(acked !== undefined, 'the callback had begun')
    await rejection(acked, ConnectionClosedError)
    assert.deepEqual(the.sent('basic.ack'), [])
    assert.equal(clock.keeping, 0)
  })

  it('is closed when its listeners hear of it, if no other follows', async () => {
    const the = await Recoverable.open({ recovery: false })
    const states: string[] = []
    the.protocol.on('disconnected', () => states.push(the.protocol.state))
    the.peer.transport.break(new Error('cut'))
    await turn()
    assert.deepEqual(states, ['closed'])
    assert.deepEqual(
      the.events.map(([name]) => name),
      ['disconnected', 'closed'],
    )
  })

  it('in the very turn in which it was opened is lost all the same', async () => {
    for (let delay = 0; delay < 20; delay++) {
      const broker = new FakeBroker()
      const createTransport: TransportFactory = (target, handler, ...rest) => {
        const lose = (left: number): void => {
          if (left > 0) queueMicrotask(() => lose(left - 1))
          else handler.onClose(undefined)
        }
        const onBytes: TransportHandler['onBytes'] = (buffer, length) => {
          handler.onBytes(buffer, length)
          const isOpenOk = length >= 11 && buffer.readUInt32BE(7) === methods.ConnectionOpenOk.key
          if (isOpenOk) lose(delay)
        }
        return broker.createTransport(target, { ...unbound(handler), onBytes }, ...rest)
      }
      const connecting = connect({ createTransport, recovery: false, heartbeat: 0, onError: () => {} })
      const protocol = await connecting.catch(() => undefined)
      await turn()
      assert.equal(protocol?.state ?? 'closed', 'closed', `lost ${delay} microtasks behind connection.open-ok`)
    }
  })
})

describe('the attempts of a recovery', () => {
  it('say what the last one failed with, in their event and to the logger', async () => {
    const lines: string[] = []
    const log = (line: string): void => void lines.push(line)
    let refusals = 0
    const the = await Recoverable.open({
      logger: { debug: () => {}, info: log, warn: log, error: log },
      heartbeat: 600,
    })
    const { prepare } = the.broker
    the.broker.prepare = peer => {
      prepare(peer)
      if (refusals++ >= 2) return
      peer.answers.set('connection.start-ok', () =>
        methodFrame(0, methods.ConnectionClose, {
          replyCode: 403,
          replyText: 'ACCESS_REFUSED - Login was refused',
          classId: 10,
          methodId: 11,
        }),
      )
    }
    const recovered = new Promise<unknown>(resolve => the.protocol.once('recovered', resolve))
    the.peer.transport.break(new Error('cut'))
    await the.clock.until(recovered)
    const errors = the.seen('recovering').map(([, , error]) => error)
    assert.equal(errors.length, 3)
    assert.equal(errors[0], undefined)
    for (const error of errors.slice(1)) {
      assert.ok(error instanceof Error)
      assert.match(error.message, /403/)
    }
    assert.equal(lines.filter(line => /attempt \d to reconnect failed .*403/.test(line)).length, 2)
    assert.match(lines[0] ?? '', /\] connected to /)
    assert.match(lines[1] ?? '', /lost/)
    assert.match(lines.at(-1) ?? '', /connected to localhost:5672 again, .* at attempt 3/)
    assert.equal(lines.length, 5)
  })

  it('go on while giveUpOn says no, throws, or never answers, and end when it says yes', async () => {
    const answers = [
      () => Promise.resolve(false),
      () => {
        throw new Error('the program’s own')
      },
      () => Promise.reject(new Error('the program’s own')),
      () => new Promise<boolean>(() => {}),
      () => false,
      () => Promise.resolve(true),
    ]
    const asked: Error[] = []
    const giveUpOn = (error: Error): boolean | Promise<boolean> => answers[asked.push(error) - 1]?.() ?? true
    const the = await Recoverable.open({ recovery: { giveUpOn } })
    the.broker.prepare = peer => peer.answers.set('protocol header', () => Buffer.from('HTTP/1.1 400'))
    const ended = rejection(the.protocol.waitClosed(), ConnectionLostError)
    the.peer.transport.break(new Error('cut'))
    await the.clock.until(ended)
    assert.equal(asked.length, answers.length)
    assert.ok(asked.every(error => error instanceof ConnectionFailedError))
    const own = the.errors.filter(({ message }) => message === 'the program’s own')
    assert.equal(own.length, 2)
  })

  it('are over with the connection, also while giveUpOn has not answered', async () => {
    const the = await Recoverable.open({ recovery: { giveUpOn: () => new Promise<boolean>(() => {}) } })
    the.broker.prepare = peer => peer.answers.set('protocol header', () => Buffer.from('HTTP/1.1 400'))
    the.peer.transport.break(new Error('cut'))
    await the.clock.advance(200)
    await the.protocol.close()
    await turn()
    assert.equal(the.clock.keeping, 0)
  })
})

describe('calls that wait for a recovery', () => {
  it('have their timeout from the call on, and not again when they are sent', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel({ publisherConfirms: true })
    the.silent.add('confirm.select').add('queue.declare')
    await the.lose()
    const published = follow(channel.publish('x', '', 'q', {}, { timeout: 600 }))
    const declared = follow(channel.queueDeclare('q', { timeout: 700 }))
    await the.clock.advance(400)
    assert.deepEqual(the.sent('basic.publish', 'queue.declare'), [])
    the.peer.reply(channel.channelId, methods.ConfirmSelectOk, {})
    await turn()
    assert.deepEqual(the.sent('basic.publish', 'queue.declare').sort(), ['basic.publish q', 'queue.declare q'])
    await the.clock.advance(199)
    assert.equal(published.state, 'pending')
    await the.clock.advance(1)
    assert.ok(published.error instanceof TimeoutError)
    await the.clock.advance(99)
    assert.equal(declared.state, 'pending')
    await the.clock.advance(1)
    assert.ok(declared.error instanceof TimeoutError)
  })
})

describe('calls of a protocol that are begun while it recovers', () => {
  for (const [when, isOpened] of [
    ['they are sent', true],
    ['their channels are open', false],
  ] as const) {
    it(`wait for the connection after the next if that one is lost before ${when}`, async () => {
      const the = await Recoverable.open()
      const own = await the.protocol.channel()
      await own.queueDeclare('q')
      the.silent.add(methods.QueueDeclare.name)
      await the.lose()
      await turn()
      if (!isOpened) the.peer.answers.delete(methods.ChannelOpen.name)
      const calls = [
        the.protocol.queueBind('q', 'amq.topic', 'k'),
        the.protocol.queueDelete('q'),
        the.protocol.consumer('q', () => {}),
        own.queueBind('q', 'amq.topic', 'own'),
        the.protocol.channel(),
      ].map(follow<unknown>)
      await turn()
      the.silent.clear()
      await the.recover()
      await turn()
      const states = calls.map(({ state, error }) => error?.message ?? state)
      assert.deepEqual([...new Set(states)], ['resolved'])
      assert.equal(the.protocol.channelsIdsCount, 3)
    })
  }
})

describe('basicRecoverAsync', () => {
  it('need not be awaited: if its channel ends before it is sent, onError is called once', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    the.peer.transport.break(new Error('cut'))
    await turn()
    void channel.basicRecoverAsync()
    void channel.basicRecoverAsync()
    await channel.close()
    void channel.basicRecoverAsync()
    await turn()
    assert.equal(the.errors.length, 1)
    assert.match(
      String(the.errors[0]),
      /basic\.recover-async failed: channel 1 is closed: it was closed by the program/,
    )
    await rejection(channel.basicRecoverAsync(), ChannelClosedError)
  })

  it('need not be awaited: if too many calls wait, onError is called with the first that is refused', async () => {
    const the = await Recoverable.open({ maxWaiting: 1 })
    const channel = await the.protocol.channel()
    the.peer.transport.break(new Error('cut'))
    await turn()
    for (let n = 0; n < 3; n++) void channel.basicRecoverAsync()
    await turn()
    assert.deepEqual(
      the.errors.map(({ name }) => name),
      ['BufferFullError'],
    )
  })
})

describe('what goes on first', () => {
  it('is a publish that needs no missing entity, and any other one as soon as its entities are back', async () => {
    const the = await Recoverable.open()
    const channel = await confirming(the)
    for (const name of ['x', 'y']) await channel.exchangeDeclare(name, 'fanout')
    for (let n = 0; n < 600; n++) await channel.queueDeclare(`q${n}`)
    await channel.queueBind('q550', 'x')
    await channel.exchangeBind('x', 'y')
    the.silent.add('queue.declare')
    const [one, two, three] = [await confirming(the), await confirming(the), await confirming(the)]
    await the.lose()
    void one.basicPublish('free', 'amq.topic', 'k')
    void two.basicPublish('through y and x', 'y', 'k')
    void three.basicPublish('default', '', 'q580')
    await turn()
    assert.deepEqual(the.sent('basic.publish'), ['basic.publish amq.topic k'])
    // Of the first batch, which was written before anything was wanted, one after another is declared.
    const answered = new Set<string>()
    const answer = (): void => {
      const declares = the.peer.frames.filter(({ method }) => method?.name === 'queue.declare')
      for (const { channel: id, args } of declares) {
        const queue = String(args['queueName'])
        if (answered.has(queue)) continue
        answered.add(queue)
        the.peer.reply(id, methods.QueueDeclareOk, { queue, messageCount: 0, consumerCount: 0 })
      }
    }
    answer()
    await turn()
    answer()
    await turn()
    assert.deepEqual(the.sent('basic.publish').slice(1).sort(), ['basic.publish q580', 'basic.publish y k'])
    assert.ok(answered.size < 600, `${answered.size} of 600 queues`)
    assert.deepEqual(the.seen('recovered'), [])
  })

  it('is each channel but that of a consumer whose queue is gone, which ends when it is given up', async () => {
    const the = await Recoverable.open()
    const cancelled: string[] = []
    const [bad, good, publishing] = [await the.protocol.channel(), await the.protocol.channel(), await confirming(the)]
    bad.addCancellationCallback((_channel, tag) => void cancelled.push(tag))
    await bad.basicConsume(() => {}, 'q', { consumerTag: 'of-q' })
    const bodies: string[] = []
    await good.basicConsume((_channel, body) => void bodies.push(String(body)), 'r', { consumerTag: 'of-r' })
    the.refuse.set('basic.consume q', MISSING)
    await the.lose()
    await turn()
    void publishing.basicPublish('x', '', 'r')
    const declared = follow(good.queueDeclare('new'))
    await turn()
    assert.deepEqual(the.sent('basic.publish'), ['basic.publish r'])
    assert.equal(declared.state, 'resolved')
    the.peer.send(delivery(good.channelId, 'of-r', 1, 'delivered'))
    await turn()
    assert.deepEqual(bodies, ['delivered'])
    assert.deepEqual(cancelled, [])
    await the.clock.advance(2_100)
    assert.deepEqual(cancelled, ['of-q'])
    assert.equal(the.protocol.state, 'open')
    assert.deepEqual(
      the.seen('recoveryFailed').map(([what]) => what),
      ['consumer "of-q" of queue "q"'],
    )
    await bad.queueDeclare('also here')
  })

  it('is never a publish that was called after a call that waits', async () => {
    const the = await Recoverable.open()
    const channel = await confirming(the)
    await channel.queueDeclare('q')
    the.silent.add('queue.declare')
    await the.lose()
    const calls = [channel.queueBind('q', 'amq.topic', 'k'), channel.basicPublish('x', 'amq.topic', 'k')]
    await turn()
    assert.deepEqual(the.sent('queue.bind', 'basic.publish'), [])
    the.silent.clear()
    the.peer.reply(2, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await Promise.all(calls)
    assert.deepEqual(the.sent('queue.bind', 'basic.publish'), ['queue.bind q amq.topic k', 'basic.publish amq.topic k'])
  })

  it('is a call that names no missing entity, in the order of the calls', async () => {
    const the = await Recoverable.open()
    const [channel, other] = [await the.protocol.channel(), await the.protocol.channel()]
    await channel.queueDeclare('q')
    the.silent.add('queue.declare')
    await the.lose()
    the.silent.clear()
    const free = [other.exchangeDeclare('x', 'fanout'), other.basicQos({ prefetchCount: 1 }), other.queueDeclare('r')]
    await Promise.all(free)
    const waiting = [follow(channel.queueBind('q', 'x')), follow(channel.exchangeDeclare('y', 'fanout'))]
    const ofLast = follow(channel.queueBind('', 'x'))
    await turn()
    assert.deepEqual(
      [...waiting, ofLast].map(({ state }) => state),
      ['pending', 'pending', 'pending'],
    )
    the.peer.reply(3, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await turn()
    assert.deepEqual(
      [...waiting, ofLast].map(({ state }) => state),
      ['resolved', 'resolved', 'resolved'],
    )
    assert.deepEqual(the.sent('exchange.declare', 'queue.bind').slice(-3), [
      'queue.bind q x',
      'exchange.declare y fanout',
      'queue.bind q x q',
    ])
  })

  it('is a declare of a queue that the broker names, which is not about the last one', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q')
    the.silent.add('queue.declare')
    await the.lose()
    the.silent.clear()
    const { queue } = await channel.queueDeclare('')
    assert.match(queue, /^amq\.gen/)
    the.refuse.set('queue.declare ', { replyCode: 403, replyText: 'ACCESS_REFUSED - no' })
    const { message } = await rejection(channel.queueDeclare(''), ChannelClosedError)
    assert.match(message, /^queue\.declare failed: ACCESS_REFUSED/)
  })

  it('may be a new channel, whose calls wait for the rest, and whose close waits for its calls', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q')
    the.silent.add('queue.declare')
    await the.lose()
    const opened = await the.protocol.channel()
    const bound = follow(opened.queueBind('q', 'amq.topic', 'k'))
    const closed = follow(opened.close())
    await turn()
    assert.deepEqual([bound.state, closed.state], ['pending', 'pending'])
    the.silent.clear()
    the.peer.reply(2, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await turn()
    assert.deepEqual([bound.state, closed.state], ['resolved', 'resolved'])
  })

  it('is a publish whose binding was deleted while that was away', async () => {
    const the = await Recoverable.open()
    const [channel, other] = [await the.protocol.channel(), await the.protocol.channel()]
    await channel.exchangeDeclare('x', 'fanout')
    await channel.queueDeclare('q')
    await channel.queueBind('q', 'x', 'k')
    the.refuse.set('queue.bind q', { replyCode: 404, replyText: 'NOT_FOUND - no exchange' })
    await the.lose()
    await the.clock.until(channel.queueDelete('q'))
    const publish = follow(other.publish('m', 'x', 'k'))
    await the.clock.advance(3_000)
    assert.equal(publish.state, 'resolved')
  })

  it('does not include a new channel that needs the last number, which waits until all is back', async () => {
    const the = await Recoverable.open({ channelMax: 3 })
    const channels = [await the.protocol.channel(), await the.protocol.channel()]
    await channels[0]?.queueDeclare('q')
    the.silent.add('queue.declare')
    the.peer.transport.break(new Error('cut'))
    await turn()
    const opening = follow(the.protocol.channel())
    await the.clock.advance(50)
    the.peer = await the.broker.accept()
    await the.clock.advance(100)
    assert.equal(opening.state, 'pending')
    the.peer.reply(3, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await the.clock.advance(100)
    assert.equal(opening.state, 'resolved')
  })

  it('is what one channel published first, also if the topology is that of another connection', async () => {
    const the = await Recoverable.open({ connections: 'separate' })
    await the.protocol.exchangeDeclare('orders', 'direct')
    const channel = await the.protocol.channel({ connection: 'publisher' })
    the.silent.add('exchange.declare')
    for (const peer of the.broker.peers) peer.transport.break(new Error('cut'))
    await turn()
    void channel.basicPublish('1', 'orders', 'k')
    void channel.basicPublish('2', '', 'q')
    await the.clock.advance(1_000)
    const next = the.broker.peers.slice(2)
    const asked = next.flatMap(peer => peer.frames.map(frame => ({ peer, frame })))
    const bodies = (): string[] =>
      next.flatMap(({ frames }) => frames.filter(({ type }) => type === 3).map(({ payload }) => String(payload)))
    assert.deepEqual(bodies(), [])
    const declare = asked.find(({ frame }) => frame.method === methods.ExchangeDeclare)
    assert.ok(declare !== undefined)
    declare.peer.reply(declare.frame.channel, methods.ExchangeDeclareOk, {})
    await turn()
    assert.deepEqual(bodies(), ['1', '2'])
  })
})

describe('an entity that the broker refuses', () => {
  it('for a while is tried on with a pause, until it is back with its bindings', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q')
    await channel.queueBind('q', 'amq.topic', 'k')
    the.refuse.set('queue.declare q', FORBIDDEN)
    the.refuse.set('queue.bind q', MISSING)
    await the.recover()
    assert.deepEqual(
      the.seen('recoveryFailed').map(([what]) => what),
      ['queue "q"', 'binding of queue "q" to exchange "amq.topic" with routing key "k"'],
    )
    await the.clock.advance(60_000)
    assert.equal(the.seen('recoveryFailed').length, 2, 'each is reported once')
    const tries = the.sent('queue.declare').length
    assert.ok(tries > 5 && tries < 40, `${tries} tries in a minute`)
    the.refuse.clear()
    await the.clock.advance(21_000)
    assert.deepEqual(the.sent('queue.declare', 'queue.bind').slice(-2), ['queue.declare q', 'queue.bind q amq.topic k'])
    const settled = the.peer.frames.length
    await the.clock.advance(60_000)
    assert.equal(the.peer.frames.length, settled, 'nothing is left to be tried')
  })

  it('for a while comes back with the next recovery, too', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q')
    the.refuse.set('queue.declare q', FORBIDDEN)
    await the.recover()
    the.refuse.clear()
    await the.recover()
    assert.deepEqual(the.sent('queue.declare'), ['queue.declare q'])
    assert.equal(the.seen('recoveryFailed').length, 1)
  })

  it('since it exists otherwise is given up', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q')
    await channel.queueDeclare('r')
    the.refuse.set('queue.declare q', OTHERWISE)
    await the.recover()
    await the.recover()
    assert.deepEqual(the.sent('queue.declare'), ['queue.declare r'])
    assert.equal(the.seen('recoveryFailed').length, 1)
  })

  it('holds up no other, however many they are', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    for (let n = 0; n < 50; n++) await channel.queueDeclare(`bad${n}`)
    for (let n = 0; n < 50; n++) await channel.queueDeclare(`good${n}`)
    for (let n = 0; n < 50; n++) the.refuse.set(`queue.declare bad${n}`, FORBIDDEN)
    await the.lose()
    await the.clock.advance(500)
    const good = the.sent('queue.declare').filter(text => text.includes('good'))
    assert.equal(new Set(good).size, 50)
    await the.clock.advance(3_000)
    assert.equal(the.seen('recoveryFailed').length, 50)
    assert.equal(the.seen('recovered').length, 1)
  })
})

describe('a queue that the server gives the name of another', () => {
  it('keeps its own: that connection is given up, and the next one has all of them', async () => {
    for (const asked of ['orders', '']) {
      const the = await Recoverable.open()
      for (const queueName of ['orders', 'others', '']) await the.protocol.queueDeclare(queueName)
      const { prepare } = the.broker
      the.broker.prepare = peer => {
        prepare(peer)
        the.broker.prepare = prepare
        const answer = peer.answers.get('queue.declare')
        peer.answers.set('queue.declare', frame => {
          if (frame.args['queueName'] !== asked) return answer?.(frame)
          const named = { queue: 'others', messageCount: 0, consumerCount: 0 }
          return methodFrame(frame.channel, methods.QueueDeclareOk, named)
        })
      }
      await the.recover()
      const [[, error] = []] = the.seen('recoveryAttemptFailed')
      assert.match((error as Error).message, /^queue\.declare-ok named "others" when ".*" was declared again$/)
      the.peer = await the.broker.accept()
      assert.equal(the.seen('queueRenamed').flat().includes('others'), false)
      void follow(the.protocol.publish('', '', 'orders'))
      void follow(the.protocol.publish('', '', 'others'))
      await turn()
      assert.deepEqual(the.sent('basic.publish'), ['basic.publish orders', 'basic.publish others'])
    }
  })
})

describe('consumers', () => {
  it('are recovered without the topology, too', async () => {
    const the = await Recoverable.open({ recovery: { topology: false } })
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q')
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    await the.recover()
    assert.deepEqual(the.sent('queue.declare', 'basic.consume'), ['basic.consume q tag'])
  })

  it('come back also if their tag was that of one whose cancel was not answered yet', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.basicConsume(() => {}, 'old', { consumerTag: 'tag' })
    const cancelled = channel.basicCancel('tag')
    const consumed = channel.basicConsume(() => {}, 'new', { consumerTag: 'tag' })
    await Promise.all([cancelled, consumed])
    await the.recover()
    assert.deepEqual(the.sent('basic.consume'), ['basic.consume new tag'])
  })

  it('of a queue that may be a stream go on by its time, but not if none could be one, since it had no limit', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'unlimited' })
    await channel.basicQos({ prefetchCount: 5 })
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'limited' })
    await the.recover()
    const asked = the.peer.frames.filter(({ method }) => method === methods.BasicConsume)
    assert.deepEqual(
      asked.map(({ args }) => [args['consumerTag'], Object.keys(args['arguments'] as object)]),
      [
        ['unlimited', []],
        ['limited', ['x-stream-offset']],
      ],
    )
  })

  it('that are refused for a while are tried on with a pause', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const bodies: string[] = []
    await channel.basicConsume((_channel, body) => void bodies.push(String(body)), 'q', { consumerTag: 'tag' })
    the.refuse.set('basic.consume q', FORBIDDEN)
    await the.lose()
    await the.clock.advance(1_000)
    the.refuse.clear()
    await the.clock.advance(1_000)
    assert.deepEqual(the.seen('recoveryFailed'), [])
    the.peer.send(delivery(channel.channelId, 'tag', 1, 'again'))
    await turn()
    assert.deepEqual(bodies, ['again'])
  })

  it('go on, as do publishes that wait, if a recovery is given up in which their channel had no answer', async () => {
    for (const silent of ['basic.consume', 'confirm.select']) {
      const the = await Recoverable.open({ rpcTimeout: 1_000 })
      const channel = await confirming(the)
      const bodies: string[] = []
      await channel.basicConsume((_channel, body) => void bodies.push(String(body)), 'q', { consumerTag: 'tag' })
      the.silent.add(silent)
      await the.lose()
      const publish = follow(channel.publish('x', '', 'q'))
      const recovered = new Promise<unknown>(resolve => the.protocol.once('recovered', resolve))
      await the.clock.advance(900)
      the.silent.clear()
      await the.clock.until(recovered)
      assert.equal(the.broker.peers.length, 3, silent)
      the.peer = await the.broker.accept()
      the.peer.send(delivery(channel.channelId, 'tag', 1, 'again'))
      await turn()
      assert.deepEqual(bodies, ['again'], silent)
      assert.deepEqual(the.sent('basic.publish'), ['basic.publish q'], silent)
      the.peer.send(methodFrame(channel.channelId, methods.BasicAck, { deliveryTag: 1, multiple: false }))
      await turn()
      assert.equal(publish.state, 'resolved', silent)
    }
  })

  it('that lack a permission are tried on while their channel goes on, and never given up', async () => {
    const the = await Recoverable.open()
    const channel = await confirming(the)
    const cancelled: string[] = []
    channel.addCancellationCallback((_channel, tag) => void cancelled.push(tag))
    const bodies: string[] = []
    await channel.basicConsume((_channel, body) => void bodies.push(String(body)), 'q', { consumerTag: 'tag' })
    the.refuse.set('basic.consume q', FORBIDDEN)
    await the.recover()
    assert.deepEqual(
      the.seen('recoveryFailed').map(([what]) => what),
      ['consumer "tag" of queue "q"'],
    )
    const id = channel.channelId
    await the.clock.advance(30_000)
    void channel.basicPublish('x', '', 'r')
    await channel.queueDeclare('r')
    assert.equal(channel.channelId, id, 'its channel is not closed by the tries')
    // RabbitMQ looks at the arguments once the permission is there.
    the.refuse.set('basic.consume q', ({ args }) =>
      (args['arguments'] as Record<string, unknown>)['x-priority'] === undefined ? undefined : OTHERWISE,
    )
    await the.clock.advance(11_000)
    the.peer.send(delivery(id, 'tag', 1, 'again'))
    await turn()
    assert.deepEqual(bodies, ['again'])
    assert.deepEqual(cancelled, [])
    assert.equal(the.seen('recoveryFailed').length, 1)
    const frames = the.peer.frames.length
    await the.clock.advance(60_000)
    assert.equal(the.peer.frames.length, frames, 'nothing is left to be tried')
  })

  it('that are refused long after all else is recovered are tried on, too', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const bodies: string[] = []
    await channel.basicConsume((_channel, body) => void bodies.push(String(body)), 'q', { consumerTag: 'tag' })
    the.silent.add('basic.consume')
    await the.recover()
    await the.clock.advance(5_000)
    assert.deepEqual(the.sent('basic.consume'), ['basic.consume q tag'])
    the.peer.reply(1, methods.ChannelClose, { ...FORBIDDEN, classId: 60, methodId: 20 })
    await the.clock.advance(5_000)
    assert.equal(the.seen('recoveryFailed').length, 1)
    the.silent.clear()
    // The probe is refused over its argument, and not for want of a permission.
    the.refuse.set('basic.consume q', ({ args }) =>
      (args['arguments'] as Record<string, unknown>)['x-priority'] === undefined ? undefined : OTHERWISE,
    )
    await the.clock.advance(60_000)
    the.peer.send(delivery(channel.channelId, 'tag', 1, 'again'))
    await turn()
    assert.deepEqual(bodies, ['again'])
  })

  it('are not refused for another one of their channel, whose refusal comes instead of their consume-ok', async () => {
    for (const other of ['q', 'elsewhere']) {
      const the = await Recoverable.open()
      const channel = await the.protocol.channel()
      const cancelled: string[] = []
      channel.addCancellationCallback((_channel, tag) => void cancelled.push(tag))
      for (const tag of ['good', 'better']) await channel.basicConsume(() => {}, 'q', { consumerTag: tag })
      await channel.basicConsume(() => {}, other, { consumerTag: 'bad' })
      // RabbitMQ's consume-ok comes by way of the queue: after the answers to all that came in the same write.
      const { prepare } = the.broker
      the.broker.prepare = peer => {
        prepare(peer)
        const closed = new Set<number>()
        peer.answers.set('basic.consume', ({ channel, args }) => {
          const consumerTag = String(args['consumerTag'])
          if (consumerTag === 'bad') {
            closed.add(channel)
            const replyText = `PRECONDITION_FAILED - invalid arg 'x' for queue '${other}' in vhost '/'`
            return methodFrame(channel, methods.ChannelClose, { replyCode: 406, replyText, classId: 60, methodId: 20 })
          }
          const announce = (): void => {
            if (!closed.has(channel)) peer.send(methodFrame(channel, methods.BasicConsumeOk, { consumerTag }))
          }
          setImmediate(announce)
          return undefined
        })
      }
      await the.recover()
      assert.deepEqual(
        the.seen('recoveryFailed').map(([what]) => what),
        [`consumer "bad" of queue "${other}"`],
      )
      assert.deepEqual(cancelled, ['bad'])
    }
  })

  it('that are refused cost no more than a few of their channel each', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    for (let i = 0; i < 400; i++) await channel.basicConsume(() => {}, `q${i}`, { consumerTag: `tag${i}` })
    for (let i = 100; i < 200; i++) the.refuse.set(`basic.consume q${i}`, OTHERWISE)
    await the.recover()
    assert.equal(the.seen('recoveryFailed').length, 100)
    const sent = the.sent('basic.consume')
    assert.ok(sent.length < 3_500, `${sent.length} for 400`)
    await the.clock.advance(1_000)
    await the.recover()
    assert.equal(the.sent('basic.consume').length, 300)
  })

  it('of a queue that another consumer has for itself are tried on for a while, and hold up no other', async () => {
    for (const isFreed of [true, false]) {
      const the = await Recoverable.open()
      const channel = await the.protocol.channel()
      const cancelled: string[] = []
      channel.addCancellationCallback((_channel, tag) => void cancelled.push(tag))
      await channel.basicConsume(() => {}, 'locked', { consumerTag: 'locked', exclusive: true })
      await channel.basicConsume(() => {}, 'q', { consumerTag: 'other' })
      the.refuse.set('basic.consume locked', LOCKED)
      let consumerCount = 1
      countConsumers(the, () => consumerCount)
      await the.recover()
      await the.clock.advance(3_000)
      assert.equal(the.sent('basic.consume').at(-1), 'basic.consume q other')
      const id = channel.channelId
      await channel.basicQos({ prefetchCount: 1 })
      const before = the.sent('basic.consume').length
      await the.clock.advance(5_000)
      assert.deepEqual([the.sent('basic.consume').length, cancelled.length], [before, 0])
      if (isFreed) {
        the.refuse.clear()
        consumerCount = 0
      }
      await the.clock.advance(20_000)
      assert.deepEqual(the.sent('basic.consume').slice(before), isFreed ? ['basic.consume locked locked'] : [])
      assert.deepEqual(cancelled, isFreed ? [] : ['locked'])
      assert.equal(the.seen('recoveryFailed').length, isFreed ? 0 : 1)
      assert.equal(channel.channelId, id)
      const frames = the.peer.frames.length
      await the.clock.advance(60_000)
      assert.equal(the.peer.frames.length, frames, 'nothing is left to be tried')
    }
  })

  it('come late only after the answer to a commit', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.txSelect()
    await channel.basicConsume(() => {}, 'locked', { consumerTag: 'locked', exclusive: true })
    the.refuse.set('basic.consume locked', LOCKED)
    let consumerCount = 1
    countConsumers(the, () => consumerCount)
    await the.recover()
    await the.clock.advance(3_000)
    the.refuse.clear()
    the.silent.add('tx.commit')
    const committed = channel.txCommit()
    consumerCount = 0
    const before = the.sent('basic.consume').length
    await the.clock.advance(5_000)
    assert.equal(the.sent('basic.consume').length, before)
    the.peer.reply(channel.channelId, methods.TxCommitOk, {})
    await committed
    await turn()
    assert.deepEqual(the.sent('basic.consume').slice(before), ['basic.consume locked locked'])
  })

  it('of one queue that was in exclusive use come back together: after the first, the queue has a consumer', async () => {
    const the = await Recoverable.open()
    const channels = [await the.protocol.channel(), await the.protocol.channel()]
    const cancelled: string[] = []
    for (const [n, channel] of channels.entries()) {
      channel.addCancellationCallback((_channel, tag) => void cancelled.push(tag))
      await channel.basicConsume(() => {}, 'locked', { consumerTag: `tag ${n}` })
    }
    the.refuse.set('basic.consume locked', LOCKED)
    let consumerCount = 1
    countConsumers(the, () => consumerCount)
    await the.recover()
    await the.clock.advance(3_000)
    const before = the.sent('basic.consume').length
    consumerCount = 0
    the.refuse.set('basic.consume locked', () => {
      consumerCount++
      return undefined
    })
    await the.clock.advance(20_000)
    const after = ['basic.consume locked tag 0', 'basic.consume locked tag 1']
    assert.deepEqual(the.sent('basic.consume').slice(before), after)
    assert.deepEqual([cancelled, the.seen('recoveryFailed')], [[], []])
  })

  it('have their auto-delete queue declared again, however late', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('gone', { autoDelete: true })
    await channel.basicConsume(() => {}, 'gone', { consumerTag: 'gone' })
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'refused' })
    the.silent.add('basic.consume')
    await the.recover()
    await the.clock.advance(5_000)
    the.silent.clear()
    // RabbitMQ deletes the queue with the channel of its only consumer.
    the.refuse.set('basic.consume gone', () => (the.sent('queue.declare').length > 1 ? undefined : MISSING))
    the.peer.send(
      methodFrame(channel.channelId, methods.BasicConsumeOk, { consumerTag: 'gone' }),
      methodFrame(channel.channelId, methods.ChannelClose, { ...OTHERWISE, classId: 60, methodId: 20 }),
    )
    await the.clock.advance(5_000)
    assert.deepEqual(
      the.seen('recoveryFailed').map(([what]) => what),
      ['consumer "refused" of queue "q"'],
    )
    assert.deepEqual(the.sent('queue.declare'), ['queue.declare gone', 'queue.declare gone'])
    assert.equal(the.sent('basic.consume').at(-1), 'basic.consume gone gone')
  })

  it('have it declared again as often as their channel ends over several others of one queue', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('gone', { autoDelete: true })
    const all = [
      ['gone', 'gone'],
      ['locked', 'one'],
      ['locked', 'two'],
    ] as const
    for (const [queue, consumerTag] of all) await channel.basicConsume(() => {}, queue, { consumerTag })
    let isThere = true
    let isLocked = true
    let refusals = 0
    the.refuse.set('queue.declare gone', () => {
      isThere = true
      return undefined
    })
    the.refuse.set('basic.consume gone', ({ channel: number }) => {
      if (!isThere) return { ...MISSING, replyText: "NOT_FOUND - no queue 'gone' in vhost '/'" }
      // Its consume-ok comes by way of the queue: not at all if its channel ends before that.
      the.silent.add('basic.consume')
      const before = refusals
      the.clock.after(1, () => {
        the.silent.clear()
        if (refusals === before) the.peer.send(methodFrame(number, methods.BasicConsumeOk, { consumerTag: 'gone' }))
      })
      return undefined
    })
    the.refuse.set('basic.consume locked', () => {
      the.silent.clear()
      if (!isLocked) return undefined
      // RabbitMQ deletes the queue with the channel of its only consumer.
      isThere = false
      refusals++
      return { replyCode: 405, replyText: "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'locked'" }
    })
    await the.recover()
    await the.clock.advance(4_000)
    isLocked = false
    await the.clock.advance(5_000)
    assert.deepEqual(the.seen('recoveryFailed'), [])
    assert.deepEqual([...new Set(the.sent('basic.consume').slice(-3))].sort(), [
      'basic.consume gone gone',
      'basic.consume locked one',
      'basic.consume locked two',
    ])
  })

  it('that are not back yet keep their tags', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const bodies: string[] = []
    await channel.basicConsume((_channel, body) => void bodies.push(String(body)), 'q', { consumerTag: 'tag' })
    the.refuse.set('basic.consume q', FORBIDDEN)
    await the.recover()
    const consumes = the.sent('basic.consume').length
    const taken = channel.basicConsume(() => {}, 'other', { consumerTag: 'tag' })
    await rejection(taken, DuplicateConsumerTagError)
    assert.equal(the.sent('basic.consume').length, consumes)
    the.refuse.clear()
    await the.recover()
    assert.deepEqual(the.sent('basic.consume'), ['basic.consume q tag'])
    the.peer.send(delivery(channel.channelId, 'tag', 1, 'again'))
    await turn()
    assert.deepEqual(bodies, ['again'])
    await channel.basicCancel('tag')
    await channel.basicConsume(() => {}, 'other', { consumerTag: 'tag' })
  })

  it('that are given up leave their auto-delete queue, which had none since it was made again', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q', { autoDelete: true })
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    the.refuse.set('basic.consume q', OTHERWISE)
    await the.recover()
    assert.deepEqual(the.seen('recoveryFailed').length, 1)
    await the.recover()
    assert.deepEqual(the.sent('queue.declare', 'basic.consume'), ['queue.declare q'])
    the.refuse.clear()
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    await the.recover()
    await the.clock.advance(1_000)
    await the.recover()
    assert.deepEqual(the.sent('queue.declare', 'basic.consume'), ['queue.declare q', 'basic.consume q tag'])
    await channel.basicCancel('tag')
    await the.recover()
    assert.deepEqual(the.sent('queue.declare', 'basic.consume'), [], 'the broker deleted it with its last consumer')
  })

  it('are asked for once more if the broker does not answer the limit after them, and publishes wait for that', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.basicQos({ prefetchCount: 5 })
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    await channel.basicQos({ prefetchCount: 7 })
    const { prepare } = the.broker
    let limits = 0
    the.broker.prepare = peer => {
      prepare(peer)
      peer.answers.set('basic.qos', ({ channel: id }) =>
        ++limits === 3 ? undefined : methodFrame(id, methods.BasicQosOk, {}),
      )
    }
    const peer = await the.lose()
    void channel.basicPublish('x', '', 'q')
    await the.clock.advance(20_100)
    assert.deepEqual(peer.names.slice(-3), ['1 basic.qos', '1 channel.close', '0 connection.close'])
    the.peer = await the.broker.accept()
    assert.deepEqual(the.sent('basic.consume', 'basic.publish'), ['basic.consume q tag', 'basic.publish q'])
    assert.equal(channel.isOpen, true)
  })

  it('that the program gave up meanwhile are not tried on', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    the.refuse.set('basic.consume q', FORBIDDEN)
    await the.recover()
    await channel.basicCancel('tag')
    the.refuse.clear()
    const consumes = the.sent('basic.consume').length
    await the.clock.advance(60_000)
    assert.equal(the.sent('basic.consume').length, consumes)
  })
})

describe('a channel that is being recovered', () => {
  it('goes on if it could not be closed, by a getter of a message', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel({ publisherConfirms: true })
    const other = await the.protocol.channel()
    the.silent.add('confirm.select')
    await the.lose()
    await turn()
    let closed: Promise<unknown> = Promise.resolve()
    const evil = {
      get messageId(): string {
        closed = rejection(channel.close(), EncodeError)
        return 'm'
      },
    }
    await other.basicPublish('x', '', 'q', evil)
    await closed
    assert.equal(channel.isOpen, true)
    the.silent.clear()
    await the.recover()
    await channel.basicQos({ prefetchCount: 3 })
    await channel.close()
    assert.equal(channel.isOpen, false)
  })

  it('keeps its number while it is closed over a consumer: new channels wait, or are refused', async () => {
    const the = await Recoverable.open({ channelMax: 4 })
    const channels = [await the.protocol.channel(), await the.protocol.channel()]
    for (const [at, channel] of channels.entries()) {
      await channel.basicConsume(() => {}, `q${at}`, { consumerTag: 'tag' })
      the.refuse.set(`basic.consume q${at}`, MISSING)
    }
    const recovered = new Promise<unknown>(resolve => the.protocol.once('recovered', resolve))
    await the.lose()
    await turn()
    assert.deepEqual([the.protocol.state, the.protocol.channelsIdsCount], ['recovering', 0])
    the.refuse.clear()
    const opened = [1, 2, 3].map(() => follow(the.protocol.channel()))
    await the.clock.until(recovered)
    await turn()
    assert.equal(the.seen('recoveryAttemptFailed').length, 0)
    assert.deepEqual(
      opened.map(({ state }) => state),
      ['resolved', 'resolved', 'rejected'],
    )
    for (const channel of channels) await channel.basicQos({ prefetchCount: 3 })
  })

  it('waits for the next connection if this one is lost in the read of its open-ok', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const { prepare } = the.broker
    the.broker.prepare = peer => {
      prepare(peer)
      the.broker.prepare = prepare
      peer.answers.set('channel.open', ({ channel: id }) =>
        Buffer.concat([
          methodFrame(id, methods.ChannelOpenOk, {}),
          methodFrame(0, methods.ConnectionClose, { replyCode: 320, replyText: 'bye', classId: 0, methodId: 0 }),
        ]),
      )
    }
    await the.recover()
    assert.equal(the.seen('recoveryAttemptFailed').length, 1)
    assert.equal(channel.isOpen, true)
    await channel.basicQos({ prefetchCount: 3 })
  })
})

/** A transactional channel with a consumer, and the tags of what it has got. */
async function consumingInTransactions() {
  const the = await Recoverable.open()
  const channel = await the.protocol.channel()
  await channel.txSelect()
  const tags: number[] = []
  await channel.basicConsume((_channel, _body, { deliveryTag }) => void tags.push(deliveryTag), 'q', {
    consumerTag: 'tag',
  })
  return { the, channel, tags }
}

describe('a transaction whose connection is lost', () => {
  it('takes no other with it: none begins on its channel before its commit has come to an end', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    the.silent.add('tx.commit')
    const first = follow(channel.transaction(() => channel.basicPublish('first', 'e', 'k')))
    await turn()
    const second = await rejection(
      channel.transaction(() => channel.basicPublish('second', 'e', 'k')),
      ProtocolError,
    )
    assert.match(second.message, /another one is under way/)
    the.silent.clear()
    await the.recover()
    assert.ok(first.error instanceof ConnectionLostError)
    assert.equal(await channel.transaction(async () => 'third'), 'third')
  })

  it('rejects with the error of its work at once, however long the outage, and the next one works', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const failed = follow(
      channel.transaction(async () => {
        await channel.basicPublish('x', '', 'q')
        the.peer.transport.break(new Error('cut'))
        await turn()
        throw new RangeError('mine')
      }),
    )
    await turn()
    await turn()
    assert.ok(failed.error instanceof RangeError)
    assert.equal(the.protocol.state, 'recovering')
    await the.clock.advance(100)
    const second = channel.transaction(async () => {
      await channel.basicPublish('y', '', 'q')
      return 'done'
    })
    assert.equal(await the.clock.until(second), 'done')
  })

  it('rejects at its commit, and the next one works', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await rejection(
      channel.transaction(async () => {
        await channel.basicPublish('x', '', 'q')
        await the.recover()
      }),
      ConnectionLostError,
    )
    assert.equal(await channel.transaction(async () => 'done'), 'done')
  })

  it('lets no ack through that its rollback would undo', async () => {
    const { the, channel, tags } = await consumingInTransactions()
    await channel.basicPublish('x', '', 'q')
    await the.recover()
    the.peer.send(delivery(1, 'tag', 1, 'new'))
    await turn()
    await rejection(channel.basicClientAck(tags[0] ?? 0), ConnectionLostError)
    // Not awaited: no unhandled rejection comes of it.
    void channel.basicClientAck(tags[0] ?? 0)
    await turn()
    assert.deepEqual(the.sent('basic.ack'), [])
    await channel.txRollback()
    assert.equal(await channel.basicClientAck(tags[0] ?? 0), true)
    await channel.txCommit()
    assert.deepEqual(the.sent('tx.rollback'), [], 'the broker has rolled it back itself')
  })

  it('is lost also if its work began before the commit of the last one was answered', async () => {
    const { the, channel, tags } = await consumingInTransactions()
    for (const work of [() => channel.basicPublish('y', '', 'q'), () => channel.basicClientAck(tags.at(-1) ?? 0)]) {
      the.peer.send(delivery(1, 'tag', 1, 'new'))
      await turn()
      await channel.basicPublish('x', '', 'q')
      the.silent.add('tx.commit')
      const committed = channel.txCommit()
      const worked = work()
      await turn()
      the.peer.send(methodFrame(1, methods.TxCommitOk, {}))
      await Promise.all([committed, worked])
      the.silent.clear()
      await the.recover()
      await rejection(channel.txCommit(), ConnectionLostError)
      await channel.txRollback()
    }
  })

  it('is none if nothing was sent for it: an ack from before a recovery, or one that cannot be sent', async () => {
    const { the, channel, tags } = await consumingInTransactions()
    the.peer.send(delivery(1, 'tag', 1, 'old'))
    await turn()
    await the.recover()
    assert.equal(await channel.basicClientAck(tags[0] ?? 0), false)
    await rejection(channel.basicClientAck(-1), EncodeError)
    await the.recover()
    await channel.queueDeclare('q')
    await channel.txCommit()
  })

  it('is lost also if tx.select was called in it again', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.txSelect()
    await channel.basicPublish('x', '', 'q')
    await channel.txSelect()
    await the.recover()
    await rejection(channel.txCommit(), ConnectionLostError)
    await channel.txRollback()
    the.silent.add('tx.select')
    void channel.txSelect().catch(() => {})
    await turn()
    the.silent.clear()
    await the.recover()
    assert.deepEqual(the.sent('tx.select'), ['tx.select'], 'the channel is transactional all the same')
  })
})

describe('an entry of the ledger that the server closes the connection over', () => {
  it('leaves with its bindings, and each exchange they were from stays', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.exchangeDeclare('e', 'direct', { autoDelete: true })
    await channel.queueDeclare('q')
    await channel.queueBind('q', 'e', 'k')
    const { prepare } = the.broker
    the.broker.prepare = peer => {
      prepare(peer)
      peer.answers.set('queue.declare', () =>
        methodFrame(0, methods.ConnectionClose, {
          replyCode: 541,
          replyText: 'INTERNAL_ERROR',
          classId: 50,
          methodId: 10,
        }),
      )
    }
    await the.lose()
    the.broker.prepare = prepare
    await the.clock.advance(5_000)
    the.peer = await the.broker.accept()
    await the.recover()
    assert.deepEqual(
      the.seen('recoveryFailed').map(([what]) => what),
      ['queue "q"'],
    )
    assert.deepEqual(the.sent('exchange.declare', 'queue.declare', 'queue.bind'), ['exchange.declare e direct'])
  })
})

describe('a new secret', () => {
  it('is used by the next login also if its reply was lost', async () => {
    const the = await Recoverable.open()
    const logins: string[] = []
    const { prepare } = the.broker
    the.broker.prepare = peer => {
      prepare(peer)
      const agree = peer.answers.get('connection.start-ok')
      peer.answers.set('connection.start-ok', frame => {
        logins.push(String(frame.args['response']))
        return agree?.(frame)
      })
    }
    const lost = rejection(the.protocol.updateSecret('newer', 'rotated'), ConnectionLostError)
    await turn()
    assert.equal(the.peer.names.at(-1), '0 connection.update-secret')
    await the.recover()
    await lost
    assert.match(String(logins), /newer/)
  })

  it('with a reason that AMQP has no room for is not used', async () => {
    const the = await Recoverable.open()
    const logins: string[] = []
    const { prepare } = the.broker
    the.broker.prepare = peer => {
      prepare(peer)
      const agree = peer.answers.get('connection.start-ok')
      peer.answers.set('connection.start-ok', frame => {
        logins.push(String(frame.args['response']))
        return agree?.(frame)
      })
    }
    await rejection(the.protocol.updateSecret('newer', 'r'.repeat(256)), EncodeError)
    await the.recover()
    assert.match(String(logins), /guest/)
  })
})

describe('a call that the server closed the connection over', () => {
  it('rejects, and is not part of what is recovered', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    the.silent.add('basic.qos')
    const refused = rejection(channel.basicQos({ prefetchSize: 1 }), ConnectionClosedError)
    await turn()
    the.peer.reply(0, methods.ConnectionClose, {
      replyCode: 540,
      replyText: 'NOT_IMPLEMENTED - prefetch_size!=0 (1)',
      classId: 60,
      methodId: 10,
    })
    await refused
    the.silent.clear()
    await the.clock.advance(1_000)
    the.peer = await the.broker.accept()
    assert.equal(the.protocol.state, 'open')
    assert.deepEqual(the.sent('basic.qos'), [])
  })
})
