import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AbortError,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionError,
  ConnectionFailedError,
  ConnectionLostError,
  connect,
  NoChannelAvailableError,
  TimeoutError,
} from '../../src/index.ts'
import { decodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import { broker } from '../support/broker.ts'
import { deliveryInbox } from '../support/fixture.ts'
import { Leftovers } from '../support/leftovers.ts'
import { management, withVhost } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { rejection } from '../support/rejection.ts'
import { openScriptedServer } from '../support/scripted-server.ts'
import { Stopwatch } from '../support/stopwatch.ts'
import { until } from '../support/until.ts'
import { methodNames } from '../support/wire.ts'
import { openRecovering } from './recovering.ts'
import { RecoveryWatch } from './recovery-watch.ts'

const vhost = await withVhost()

describe('a recovered channel', { timeout: 60_000 }, () => {
  it('is the same object, in confirm mode, with publish tags that go on rising', async () => {
    await using to = await openRecovering(vhost.url, {}, { record: true })
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const { queue } = await channel.queueDeclare(uniqueName('tags'), { exclusive: true })
    await channel.publish('one', '', queue)
    await to.cut()
    assert.equal(channel.isOpen, true)
    await channel.publish('two', '', queue)
    assert.ok(methodNames(to.proxy.last.recorded('toServer')).includes('confirm.select'))
    assert.ok(methodNames(to.proxy.last.recorded('toClient')).includes('basic.ack'))
    // A confirm of the old connection counts nothing on this one.
    await channel.waitForConfirms()
  })

  it('has every prefetch it had: of its consumers and its own', async () => {
    await using to = await openRecovering(vhost.url, {}, { record: true })
    const channel = await to.protocol.channel()
    await channel.basicQos({ prefetchCount: 7 })
    await channel.basicQos({ prefetchCount: 3 })
    await channel.basicQos({ prefetchCount: 11, connectionGlobal: true })
    const { queue } = await channel.queueDeclare()
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)
    await to.cut()
    const { queue: renamed } = await channel.queueDeclare(queue, { passive: true })
    // RabbitMQ 4.3 takes a limit for the whole channel as one for each of its consumers, in place of theirs.
    const limit = broker.isAtLeast(4, 3) ? 11 : 3
    for (let n = 0; n < 20; n++) await channel.basicPublish(String(n), '', renamed)
    await inbox.take(limit)
    await channel.queueDeclare(queue, { passive: true })
    assert.equal(inbox.received.length, limit)
    const sent = methodNames(to.proxy.last.recorded('toServer')).filter(name => name === 'basic.qos')
    assert.equal(sent.length, 2)
  })

  it('is transactional again; one that was open is over, and says so until txRollback', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const { queue } = await channel.queueDeclare(uniqueName('tx'), { exclusive: true, durable: true })
    await channel.txSelect()
    await channel.basicPublish('lost', '', queue)
    await to.cut()

    const publish = await rejection(channel.publish('no', '', queue), ConnectionLostError)
    assert.match(publish.message, /transaction/)
    assert.equal(publish.outcome, 'notSent')
    await rejection(channel.txCommit(), ConnectionLostError)
    await rejection(channel.basicGet(queue), ConnectionLostError)
    await channel.txRollback()
    await channel.basicPublish('kept', '', queue)
    assert.equal(
      await channel.basicGet(queue),
      null,
      'it is in a transaction: nothing is in the queue before the commit',
    )
    await channel.txCommit()
    assert.equal((await channel.basicGet(queue))?.body.toString(), 'kept')
    await channel.txRollback()
  })

  it('goes on at once where its transaction had done nothing', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const { queue } = await channel.queueDeclare(uniqueName('tx'), { exclusive: true })
    await channel.txSelect()
    await to.cut()
    await channel.basicPublish('in', '', queue)
    await channel.txCommit()
    assert.equal((await channel.basicGet(queue, { noAck: true }))?.body.toString(), 'in')
  })

  it('stays closed if the program closed it while the connection broke', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 0 })
    const first = await server.accept()
    await first.handshake()
    await using protocol = await connecting
    const opening = protocol.channel()
    first.answersClose = false
    const { channel: id } = await first.receive()
    first.send(id, methods.ChannelOpenOk, {})
    const channel = await opening
    const closing = channel.close()
    await first.expect(methods.ChannelClose)
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    first.destroy()
    await closing
    const second = await server.accept()
    await second.handshake()
    await recovered
    assert.equal(channel.isOpen, false)
    assert.equal(protocol.channelsIdsCount, 0)
    await channel.waitClosed()
    await rejection(channel.queueDeclare(), ChannelClosedError)
    assert.equal(second.frames.filter(frame => frame.channel !== 0).length, 0)
  })

  it('stays closed if the server closed it before', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const error = await rejection(channel.queueDeclare('missing', { passive: true }), ChannelClosedError)
    assert.equal(error.replyCode, 404)
    await to.cut()
    assert.equal(channel.isOpen, false)
    await rejection(channel.queueDeclare(), ChannelClosedError)
  })

  it('is recovered if as many channels as there may be are open', async () => {
    await using to = await openRecovering(vhost.url, { channelMax: 2 })
    const [one, two] = [await to.protocol.channel(), await to.protocol.channel()]
    const name = uniqueName('full')
    const { inbox, callback } = deliveryInbox()
    await one.queueDeclare(name, { exclusive: true })
    await two.basicConsume(callback, name)
    await to.cut()
    await one.basicPublish('both', '', name)
    assert.equal((await inbox.next()).body.toString(), 'both')
  })

  it('is closed if the next server allows fewer channels, the youngest first, and the rest goes on', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 0, recovery: { maxAttempts: 2 }, onError: () => {} })
    const first = await server.accept()
    await first.handshake({ channelMax: 10 })
    await using protocol = await connecting
    const open = async () => {
      const opening = protocol.channel()
      const { channel: id } = await first.expect(methods.ChannelOpen)
      first.send(id, methods.ChannelOpenOk, {})
      return await opening
    }
    const [one, two, three] = [await open(), await open(), await open()]
    const failed: [string, Error][] = []
    protocol.on('recoveryFailed', (what, error) => failed.push([what, error]))
    const closed = rejection(three.waitClosed(), NoChannelAvailableError)
    const lost = new Promise(resolve => protocol.once('disconnected', resolve))
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    first.destroy()
    await lost
    const waiting = rejection(three.publish('x', '', 'q'), NoChannelAvailableError)
    const second = await server.accept()
    await second.handshake({ channelMax: 2 })
    for (const _ of [one, two]) {
      const { channel: id } = await second.expect(methods.ChannelOpen)
      second.send(id, methods.ChannelOpenOk, {})
    }
    await recovered
    assert.deepEqual(failed, [['channel 3', await closed]])
    assert.match((await closed).message, /^channel 3 is closed: 127\.0\.0\.1:\d+, to which .* allows 2 channels/)
    assert.equal((await waiting).outcome, 'notSent')
    assert.deepEqual([one.isOpen, two.isOpen, three.isOpen], [true, true, false])
    await rejection(three.queueDeclare(), NoChannelAvailableError)
    void two.publish('on', '', 'q')
    assert.equal((await second.expectPublish()).body.toString(), 'on')
    await two.close()
    const opening = protocol.channel()
    const { channel: id } = await second.expect(methods.ChannelOpen)
    second.send(id, methods.ChannelOpenOk, {})
    assert.equal((await opening).isOpen, true)
  })

  it('is over for its callers if the server closes it while others are still being recovered', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 0, recovery: { topology: true }, onError: () => {} })
    const first = await server.accept()
    await first.handshake()
    await using protocol = await connecting
    const channels = []
    for (const _ of [1, 2]) {
      const opening = protocol.channel()
      const { channel: id } = await first.expect(methods.ChannelOpen)
      first.send(id, methods.ChannelOpenOk, {})
      channels.push(await opening)
    }
    const [one, two] = channels
    assert.ok(one !== undefined && two !== undefined)
    const consuming = two.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    const { channel: consumerId } = await first.expect(methods.BasicConsume)
    first.send(consumerId, methods.BasicConsumeOk, { consumerTag: 'tag' })
    await consuming
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    first.destroy()
    const second = await server.accept()
    await second.handshake()
    for (const _ of [1, 2]) {
      const { channel: id } = await second.expect(methods.ChannelOpen)
      second.send(id, methods.ChannelOpenOk, {})
    }
    const waiting = rejection(one.queueDeclare('waits'), ChannelClosedError)
    // The channel without consumers goes on at once. Which of the two is first depends on whether both open-oks came in one read.
    const sent = [await second.receive(), await second.receive()]
    const methodsSent = sent.map(({ channel, payload }) => [
      channel,
      decodeMethod(payload, 0, payload.length).method.name,
    ])
    assert.deepEqual(methodsSent.sort(), [
      [1, 'queue.declare'],
      [2, 'basic.consume'],
    ])
    second.send(1, methods.ChannelClose, { replyCode: 406, replyText: 'no', classId: 0, methodId: 0 })
    await second.expect(methods.ChannelCloseOk)
    second.send(2, methods.BasicConsumeOk, { consumerTag: 'tag' })
    await recovered
    assert.equal((await waiting).replyCode, 406)
    assert.equal(one.isOpen, false)
    assert.equal(two.isOpen, true)
    // Its basic.cancel gets no answer.
    await protocol.close({ timeout: 100 })
  })
})

describe('calls made while a connection is recovered', { timeout: 60_000 }, () => {
  it('wait, and run in the order they were made', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    await to.outage()
    const name = uniqueName('later')
    const declared = channel.queueDeclare(name, { exclusive: true })
    const published = channel.publish('first', '', name)
    const second = channel.basicPublish('second', '', name)
    const got = channel.basicGet(name, { noAck: true })
    const gotNext = channel.basicGet(name, { noAck: true })
    const opened = to.protocol.channel()
    let settled = false
    void Promise.race([declared, published, second, got, opened]).then(() => {
      settled = true
    })
    await sleep(200)
    assert.equal(settled, false)
    await to.heal()
    assert.equal((await declared).queue, name)
    await Promise.all([published, second])
    assert.equal((await got)?.body.toString(), 'first')
    assert.equal((await gotNext)?.body.toString(), 'second')
    assert.equal((await opened).isOpen, true)
  })

  it('end by their timeout or signal, and are not done then', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    await to.outage()
    const name = uniqueName('never')
    const abort = new AbortController()
    using watch = new Stopwatch()
    const timedOut = rejection(channel.queueDeclare(name, { timeout: 100 }), TimeoutError)
    const aborted = rejection(channel.queueDeclare(name, { signal: abort.signal }), AbortError)
    const publish = rejection(channel.publish('x', '', name, undefined, { timeout: 100 }), TimeoutError)
    const channelOpen = rejection(to.protocol.channel({ signal: abort.signal }), AbortError)
    abort.abort()
    await Promise.all([timedOut, aborted, channelOpen])
    assert.equal((await publish).outcome, 'notSent')
    assert.ok(watch.elapsed < 400, `${watch.elapsed} ms`)
    await to.heal()
    await channel.queueDeclare()
    assert.equal(await management().queue(vhost.name, name), undefined)
  })

  it('reject if they were in flight when the connection was lost', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    to.proxy.blackhole()
    const declared = rejection(channel.queueDeclare(), ConnectionLostError)
    const opened = rejection(to.protocol.channel(), ConnectionLostError)
    await sleep(20)
    await to.recoveredAfter(async () => {
      to.proxy.reset()
      await to.proxy.heal()
    })
    await Promise.all([declared, opened])
    assert.equal(to.protocol.channelsIdsCount, 1, 'a channel that nobody got does not come back')
  })

  it('reject all at once when close() ends the recovery', async () => {
    const to = await openRecovering(vhost.url)
    await using _ = to
    const channel = await to.protocol.channel({ publisherConfirms: true })
    await to.outage()
    const declared = rejection(channel.queueDeclare(), ConnectionClosedError)
    const published = rejection(channel.publish('x', '', 'q'), ConnectionClosedError)
    const opened = rejection(to.protocol.channel(), ConnectionClosedError)
    using watch = new Stopwatch()
    await to.protocol.close()
    assert.ok(watch.elapsed < 200, `${watch.elapsed} ms`)
    assert.equal((await published).outcome, 'notSent')
    await Promise.all([declared, opened, to.protocol.waitClosed()])
    assert.equal(to.protocol.state, 'closed')
    assert.deepEqual(to.seen('closed'), [[]])
    const { accepted } = to.proxy
    await to.proxy.heal()
    await sleep(300)
    assert.equal(to.proxy.accepted, accepted, 'nobody tries any more')
  })
})

describe('a connection that breaks while it is closed', { timeout: 60_000 }, () => {
  it('is closed then, whatever its handlers still do', async () => {
    using leftovers = new Leftovers()
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const { queue } = await channel.queueDeclare()
    const handling = new Promise<void>(started => {
      void channel.basicConsume(() => {
        started()
        return new Promise<never>(() => {})
      }, queue)
    })
    await channel.publish('x', '', queue)
    await handling
    using watch = new Stopwatch()
    const closing = to.protocol.close()
    await sleep(100)
    to.proxy.reset()
    await closing
    // And not the 5 s that it would wait for the handler.
    assert.ok(watch.elapsed < 4_000, `${watch.elapsed} ms`)
    watch[Symbol.dispose]()
    assert.equal(to.protocol.state, 'closed')
    assert.deepEqual(to.seen('recovering'), [])
    assert.deepEqual(await leftovers.rest(), [])
  })
})

describe('a recovery', { timeout: 60_000 }, () => {
  it('reports each of its steps: disconnected, recovering with attempt, delay and what the last one failed with, recovered', async () => {
    await using to = await openRecovering(vhost.url)
    await to.outage()
    await until('three attempts were made', () => to.seen('recovering').length >= 3)
    await to.heal()
    assert.equal(to.seen('disconnected').length, 1)
    assert.ok(to.seen('disconnected')[0]?.[0] instanceof ConnectionLostError)
    const attempts = to.seen('recovering') as [number, number, Error | undefined][]
    assert.equal(attempts[0]?.[2], undefined)
    assert.ok(attempts.slice(1).every(([, , error]) => error instanceof ConnectionFailedError))
    assert.deepEqual(
      attempts.map(([attempt]) => attempt),
      attempts.map((_attempt, index) => index + 1),
    )
    assert.ok((attempts[0]?.[1] ?? Number.NaN) <= 50, 'nearly at once')
    assert.ok(attempts.every(([, delay]) => delay <= 1_400))
    assert.equal(to.events.at(-1)?.[0], 'recovered')
  })

  it('is over with one attempt, made at once, and few turns, if the server can be reached', async () => {
    const watch = new RecoveryWatch()
    await using to = await openRecovering(vhost.url, watch.tracing)
    const channel = await to.protocol.channel()
    for (let n = 0; n < 3; n++) {
      watch.follow(to.protocol)
      await to.cut()
      await channel.queueDeclare()
      watch.checkQuick()
    }
  })

  it('gives up after maxAttempts, and everything that waits gets the reason', async () => {
    await using to = await openRecovering(vhost.url, { recovery: { maxAttempts: 2, maxDelay: 10 } })
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const ended = rejection(to.protocol.waitClosed(), ConnectionLostError)
    const channelEnded = rejection(channel.waitClosed(), ConnectionError)
    await to.proxy.refuse()
    to.proxy.reset()
    const failures = [rejection(channel.queueDeclare(), ConnectionLostError), ended, channelEnded]
    const publish = await rejection(channel.publish('x', '', 'q'), ConnectionLostError)
    assert.ok(publish.outcome === 'notSent' || publish.outcome === 'unknown')
    await Promise.all(failures)
    assert.match((await ended).message, /gave up/)
    assert.equal(to.seen('recovering').length, 2)
    assert.equal(to.seen('closed').length, 1)
    assert.equal(to.protocol.state, 'closed')
    await rejection(to.protocol.channel(), ConnectionError)
  })

  it('gives up on the error that giveUpOn says yes to, and no other', async () => {
    const asked: Error[] = []
    const giveUpOn = (error: Error): boolean => asked.push(error) === 3
    await using to = await openRecovering(vhost.url, { recovery: { giveUpOn, maxDelay: 10 } })
    const ended = rejection(to.protocol.waitClosed(), ConnectionLostError)
    await to.proxy.refuse()
    to.proxy.reset()
    await ended
    assert.equal(asked.length, 3)
    assert.ok(asked.every(error => error.name === 'ConnectionFailedError'))
  })

  it('does not happen with recovery: false', async () => {
    await using to = await openRecovering(vhost.url, { recovery: false })
    to.proxy.reset()
    await rejection(to.protocol.waitClosed(), ConnectionLostError)
    assert.equal(to.protocol.state, 'closed')
    assert.deepEqual(to.seen('recovering'), [])
  })

  it('slows down if each connection is lost again as soon as it is recovered', async () => {
    await using to = await openRecovering(vhost.url)
    to.protocol.on('recovered', () => to.proxy.reset())
    to.proxy.reset()
    await sleep(3_000)
    to.protocol.removeAllListeners('recovered')
    const tries = to.seen('recovering').length
    assert.ok(tries >= 4 && tries < 40, `${tries} in 3 s`)
  })

  it('logs in with the secret of updateSecret, also of one that came while the old one was refused', async () => {
    const user = uniqueName('user')
    await management().createUser(user, 'first')
    await management().setPermissions(vhost.name, user)
    try {
      const url = new URL(vhost.url)
      url.username = user
      url.password = 'first'
      await using to = await openRecovering(url.href)
      const channel = await to.protocol.channel()
      await management().createUser(user, 'second')
      await to.protocol.updateSecret('second', 'rotated')
      await to.cut()
      await channel.queueDeclare()

      await to.outage()
      await management().createUser(user, 'third')
      await to.proxy.heal()
      await until('a login was refused', () => to.seen('recovering').length > 3)
      await to.recoveredAfter(() => to.protocol.updateSecret('third', 'rotated again'))
      await channel.queueDeclare()
    } finally {
      await management().deleteUser(user)
    }
  })

  it('asks a password function for each login', async () => {
    let asked = 0
    const password = async (): Promise<string> => {
      asked++
      return 'guest'
    }
    await using to = await openRecovering(vhost.url, { password })
    await to.cut()
    await to.cut()
    assert.equal(asked, 3)
  })
})
