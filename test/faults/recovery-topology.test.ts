import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError, connect, PublishFailedError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { broker } from '../support/broker.ts'
import { deliveryInbox } from '../support/fixture.ts'
import { management, withVhost } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { openScriptedServer, type ScriptedPeer } from '../support/scripted-server.ts'
import { sized } from '../support/sizes.ts'
import { Stopwatch } from '../support/stopwatch.ts'
import { until } from '../support/until.ts'
import { framesIn, methodNames } from '../support/wire.ts'
import { openRecovering } from './recovering.ts'

const vhost = await withVhost()

/**
 * That these bindings are there, each as `source -key-> destination`, and no other ones: those of exclusive queues have
 * a moment to go, since RabbitMQ 4.3 removes them only after their connection has ended.
 */
async function assertBindings(...expected: string[]): Promise<void> {
  await until(`no bindings are left but ${expected.join(', ') || 'none'}`, async () => {
    const all = await management().bindings(vhost.name)
    const texts = all.map(({ source, destination, routing_key: key }) => `${source} -${key}-> ${destination}`)
    assert.deepEqual(texts.filter(text => expected.includes(text)).sort(), expected.toSorted())
    return texts.length === expected.length
  })
}

describe('exchanges, queues and bindings that the broker lost', { timeout: 120_000 }, () => {
  it('are made again: an exclusive queue, an auto-delete exchange, and what binds them to each other', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const [source, target, name] = [uniqueName('source'), uniqueName('target'), uniqueName('queue')]
    await channel.exchangeDeclare(source, 'topic', {
      autoDelete: true,
      arguments: { 'alternate-exchange': 'amq.fanout' },
    })
    await channel.exchangeDeclare(target, 'direct', { autoDelete: true, durable: false, internal: true })
    await channel.queueDeclare(name, { exclusive: true, arguments: { 'x-max-priority': 5 } })
    await channel.exchangeBind(target, source, 'a.*')
    await channel.queueBind(name, target, 'a.b')
    await to.cut()
    const kept = await management().exchange(vhost.name, source)
    assert.deepEqual(
      [kept?.type, kept?.auto_delete, kept?.arguments],
      ['topic', true, { 'alternate-exchange': 'amq.fanout' }],
    )
    const internal = await management().exchange(vhost.name, target)
    assert.deepEqual([internal?.type, internal?.durable, internal?.internal], ['direct', false, true])
    const queue = await management().queue(vhost.name, name)
    // RabbitMQ 4 adds the type that the vhost gives to queues that name none.
    const type = broker.isAtLeast(4) ? { 'x-queue-type': 'classic' } : {}
    assert.deepEqual([queue?.exclusive, queue?.arguments], [true, { 'x-max-priority': 5, ...type }])
    await channel.publish('through both', source, 'a.b')
    assert.equal((await channel.basicGet(name))?.body.toString(), 'through both')
    assert.deepEqual(to.seen('recoveryFailed'), [])
  })

  it('come back with each of two bindings that differ only in their arguments', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const [exchange, name] = [uniqueName('headers'), uniqueName('queue')]
    await channel.exchangeDeclare(exchange, 'headers', { autoDelete: true })
    await channel.queueDeclare(name, { exclusive: true })
    for (const kind of ['a', 'b', 'c']) await channel.queueBind(name, exchange, '', { arguments: { kind } })
    await channel.queueUnbind(name, exchange, '', { arguments: { kind: 'c' } })
    await to.cut()
    for (const kind of ['a', 'b', 'c']) await channel.publish(kind, exchange, '', { headers: { kind } })
    const bodies = [await channel.basicGet(name), await channel.basicGet(name), await channel.basicGet(name)]
    assert.deepEqual(
      bodies.map(got => got?.body.toString()),
      ['a', 'b', undefined],
    )
  })

  it('stay away if the program deleted or unbound them, or asked for recover: false, or only looked', async () => {
    await using to = await openRecovering(vhost.url, {}, { record: true })
    const channel = await to.protocol.channel()
    const made = ['deleted', 'unbound', 'not-recovered', 'kept'].map(uniqueName)
    const [deleted = '', unbound = '', notRecovered = '', kept = ''] = made
    for (const name of [deleted, unbound, kept]) await channel.queueDeclare(name, { exclusive: true })
    await channel.queueDeclare(notRecovered, { exclusive: true, recover: false })
    const exchange = uniqueName('exchange')
    await channel.exchangeDeclare(exchange, 'fanout', { autoDelete: true, recover: false })
    await channel.queueDeclare(kept, { passive: true })
    await channel.queueBind(unbound, 'amq.fanout')
    await channel.queueBind(unbound, exchange)
    await channel.queueUnbind(unbound, 'amq.fanout')
    await channel.queueUnbind(unbound, exchange)
    await channel.queueDelete(deleted)
    await to.outage()
    // What is exclusive is asked for again while the broker still locks it for the connection that was cut.
    await until('the broker has forgotten the exclusive queues', async () => {
      const left = await Promise.all([unbound, notRecovered, kept].map(name => management().queue(vhost.name, name)))
      return left.every(queue => queue === undefined)
    })
    await to.heal()
    const sent = framesIn(to.proxy.last.recorded('toServer'))
    const declared = sent.filter(({ name }) => name === 'queue.declare').map(({ args }) => args['queueName'])
    assert.deepEqual(declared, [unbound, kept])
    const names = sent.map(({ name }) => name)
    assert.ok(!names.includes('queue.bind') && !names.includes('exchange.declare'), names.join(', '))
    await assertBindings()
  })

  it('are forgotten as the broker forgets them: an auto-delete queue with its last consumer, and what hung on it', async () => {
    await using to = await openRecovering(vhost.url, {}, { record: true })
    const channel = await to.protocol.channel()
    const [first, second, name] = [uniqueName('first'), uniqueName('second'), uniqueName('queue')]
    await channel.exchangeDeclare(first, 'fanout', { autoDelete: true })
    await channel.exchangeDeclare(second, 'fanout', { autoDelete: true })
    await channel.exchangeBind(second, first)
    await channel.queueDeclare(name, { autoDelete: true })
    await channel.queueBind(name, second)
    const one = await channel.basicConsume(() => {}, name)
    const two = await channel.basicConsume(() => {}, name)
    await channel.basicCancel(one.consumerTag)
    await to.cut()
    // One consumer holds them all.
    await assertBindings(`${first} --> ${second}`, `${second} --> ${name}`)
    await channel.basicCancel(two.consumerTag)
    await until('the broker has forgotten them', async () => {
      return (await management().exchange(vhost.name, first)) === undefined
    })
    await to.cut()
    const names = methodNames(to.proxy.last.recorded('toServer'))
    assert.ok(!names.some(each => /declare|bind/.test(each)), names.join(', '))
  })

  it('are forgotten with the channel whose consumers held them', async () => {
    await using to = await openRecovering(vhost.url, {}, { record: true })
    const channel = await to.protocol.channel()
    const name = uniqueName('queue')
    await channel.queueDeclare(name, { autoDelete: true })
    await channel.basicConsume(() => {}, name)
    await channel.close()
    await to.cut()
    assert.ok(!methodNames(to.proxy.last.recorded('toServer')).includes('queue.declare'))
    assert.equal(await management().queue(vhost.name, name), undefined)
  })

  it('are left as they are if they survived, messages and all', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const [exchange, name] = [uniqueName('exchange'), uniqueName('queue')]
    await channel.exchangeDeclare(exchange, 'direct')
    await channel.queueDeclare(name)
    await channel.queueBind(name, exchange, 'key')
    await channel.publish('kept', exchange, 'key', { deliveryMode: 2 })
    await to.cut()
    assert.equal((await channel.basicGet(name, { noAck: true }))?.body.toString(), 'kept')
    await channel.exchangeDelete(exchange)
    await channel.queueDelete(name)
  })

  it('are not made again with topology: false, but channels, their modes and their consumers are', async () => {
    await using to = await openRecovering(vhost.url, { recovery: { topology: false } }, { record: true })
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const { queue } = await channel.queueDeclare(uniqueName('queue'))
    await channel.basicConsume(() => {}, queue)
    await to.cut()
    const sent = methodNames(to.proxy.last.recorded('toServer'))
    assert.deepEqual(
      sent.filter(name => /^(queue|exchange)/.test(name)),
      [],
    )
    assert.ok(sent.includes('confirm.select'))
    assert.equal((await channel.queueDeclare(queue, { passive: true })).consumerCount, 1)
    await channel.publish('x', '', 'nowhere')
    await channel.queueDelete(queue)
  })

  it('are more than a thousand, and take seconds', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const prefix = uniqueName('many')
    const all: Promise<unknown>[] = []
    const count = sized(520, 5_000)
    for (let n = 0; n < count; n++) {
      all.push(channel.queueDeclare(`${prefix}-${n}`, { exclusive: true }))
      all.push(channel.queueBind(`${prefix}-${n}`, 'amq.direct', String(n)))
    }
    await Promise.all(all)
    using watch = new Stopwatch()
    await to.recoveredAfter(() => to.proxy.reset(), 90_000)
    assert.ok(watch.elapsed < sized(8_000, 60_000), `${watch.elapsed} ms`)
    await channel.publish('last', 'amq.direct', String(count - 1))
    assert.equal((await channel.basicGet(`${prefix}-${count - 1}`))?.body.toString(), 'last')
    assert.deepEqual(to.seen('recoveryFailed'), [])
  })
})

describe('a server-named queue', { timeout: 60_000 }, () => {
  it('gets a new name, reported by queueRenamed, under which its bindings and consumers are recovered', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const { queue: first } = await channel.queueDeclare()
    await channel.queueBind(first, 'amq.topic', 'a.#')
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, first)
    await to.cut()
    const [[oldName, second] = []] = to.seen('queueRenamed') as [string, string][]
    assert.equal(oldName, first)
    assert.ok(second !== undefined && second !== first)
    await assertBindings(`amq.topic -a.#-> ${second}`)
    await channel.publish('found', 'amq.topic', 'a.b')
    assert.equal((await inbox.next()).body.toString(), 'found')

    await to.cut()
    const [, [oldAgain, third] = []] = to.seen('queueRenamed') as [string, string][]
    assert.equal(oldAgain, second)
    await channel.publish('again', 'amq.topic', 'a.b')
    assert.equal((await inbox.next()).body.toString(), 'again')
    await assertBindings(`amq.topic -a.#-> ${third}`)
  })

  it('is meant by each of its old names, given to any method, also on another channel', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const other = await to.protocol.channel({ publisherConfirms: true })
    const { queue: first } = await channel.queueDeclare()
    await to.cut()
    await to.cut()
    const now = (to.seen('queueRenamed')[1] as string[])[1] ?? ''
    const before = (to.seen('queueRenamed')[0] as string[])[1] ?? ''
    for (const name of [first, before, now, '']) {
      assert.equal((await channel.queueDeclare(name || first, { passive: true })).queue, now)
    }
    await other.queueBind(first, 'amq.direct', 'key')
    await other.publish('one', 'amq.direct', 'key')
    assert.equal((await other.basicGet(first, { noAck: true }))?.body.toString(), 'one')
    await other.publish('two', 'amq.direct', 'key')
    assert.equal((await channel.queuePurge(first)).messageCount, 1)
    await other.queueUnbind(before, 'amq.direct', 'key')
    const { consumerTag } = await other.basicConsume(() => {}, first)
    await other.basicCancel(consumerTag)
    await channel.queueDelete(first)
    assert.equal(await management().queue(vhost.name, now), undefined)
    await to.cut()
    assert.equal(to.seen('queueRenamed').length, 2, 'a deleted one is not made again')
  })

  it("stays the channel's last queue, which '' means", async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const { queue: first } = await channel.queueDeclare()
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, '')
    await channel.queueDeclare()
    await to.cut()
    const renamed = new Map(to.seen('queueRenamed') as [string, string][])
    await channel.queueBind('', 'amq.direct', 'last')
    await assertBindings(`amq.direct -last-> ${[...renamed.values()][1]}`)
    // The consumer is of the queue that was the last when it began.
    await channel.publish('x', '', renamed.get(first) ?? '')
    assert.equal((await inbox.next()).body.toString(), 'x')
  })
})

describe('what the broker refuses during a recovery', { timeout: 120_000 }, () => {
  it('is reported by its name, and the rest goes on', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const [good, bad, exchange, late] = ['good', 'bad', 'exchange', 'late'].map(uniqueName) as [
      string,
      string,
      string,
      string,
    ]
    await channel.queueDeclare(good, { exclusive: true })
    await channel.queueDeclare(bad, { arguments: { 'x-max-length': 5 } })
    await channel.exchangeDeclare(exchange, 'fanout')
    await channel.queueDeclare(late, { exclusive: true })
    await channel.queueBind(late, exchange)
    await to.outage()
    // Somebody else has made them otherwise.
    await management().request('DELETE', `queues/${vhost.name}/${bad}`)
    await management().request('PUT', `queues/${vhost.name}/${bad}`, {
      durable: true,
      arguments: { 'x-max-length': 6 },
    })
    await management().request('DELETE', `exchanges/${vhost.name}/${exchange}`)
    await management().request('PUT', `exchanges/${vhost.name}/${exchange}`, { type: 'direct', durable: true })
    await to.heal()
    const failed = to.seen('recoveryFailed') as [string, Error][]
    assert.deepEqual(failed.map(([what]) => what).sort(), [`exchange "${exchange}"`, `queue "${bad}"`].sort())
    for (const [, error] of failed) {
      assert.ok(error instanceof ChannelClosedError)
      assert.equal(error.replyCode, 406)
    }
    await channel.queueDeclare(good, { passive: true })
    await assertBindings(`${exchange} --> ${late}`)
    await to.cut()
    assert.equal(to.seen('recoveryFailed').length, 2, 'what was refused is not asked for again')
    await channel.queueDelete(bad)
    await channel.exchangeDelete(exchange)
  })

  it('costs no more patience where it is many bindings than where it is one', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const [exchange, name] = [uniqueName('gone'), uniqueName('queue')]
    await management().request('PUT', `exchanges/${vhost.name}/${exchange}`, { type: 'direct' })
    await channel.queueDeclare(name, { exclusive: true })
    for (let n = 0; n < 30; n++) await channel.queueBind(name, exchange, String(n))
    await to.outage()
    await management().request('DELETE', `exchanges/${vhost.name}/${exchange}`)
    using watch = new Stopwatch()
    await to.heal()
    assert.equal(to.seen('recoveryFailed').length, 30)
    // Each has 2 s: one after the other would take a minute.
    assert.ok(watch.elapsed < 15_000, `${watch.elapsed} ms`)
  })

  it('is tried again where it is an exclusive queue that the old connection still holds (405)', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const name = uniqueName('locked')
    await channel.queueDeclare(name, { exclusive: true })
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, name)
    // The broker hears nothing of the end of the old connection.
    const old = to.proxy.last
    await to.recoveredAfter(() => {
      old.resetClient()
      setTimeout(() => old.reset(), 700)
    })
    await channel.publish('mine again', '', name)
    assert.equal((await inbox.next()).body.toString(), 'mine again')
    assert.deepEqual(to.seen('recoveryFailed'), [])
  })

  it('keeps nothing else waiting if it is a queue that stays locked (405), which comes back after all others', async () => {
    await using to = await openRecovering(vhost.url)
    const [channel, other] = [await to.protocol.channel(), await to.protocol.channel({ publisherConfirms: true })]
    const [locked, free, exchange] = [uniqueName('locked'), uniqueName('free'), uniqueName('exchange')]
    const [ofLocked, ofFree] = [deliveryInbox(), deliveryInbox()]
    await channel.exchangeDeclare(exchange, 'fanout')
    for (let n = 1; n < 10; n++) await channel.queueDeclare(`${locked}-${n}`, { exclusive: true })
    await channel.queueDeclare(locked, { exclusive: true })
    await channel.queueDeclare(free)
    await channel.queueBind(locked, exchange)
    await channel.basicConsume(ofLocked.callback, locked)
    await channel.basicConsume(ofFree.callback, free)
    // The broker hears nothing of the end of the old connection.
    const old = to.proxy.last
    using watch = new Stopwatch()
    await to.recoveredAfter(() => old.resetClient())
    // Each of the ten has 2 s.
    assert.ok(watch.elapsed < 15_000, `${watch.elapsed} ms`)
    // Of the queue that is not locked, the old connection is a consumer still: every second message is its.
    const works = async (): Promise<void> => {
      const before = ofFree.inbox.received.length
      await until('a message of the other queue', async () => {
        await other.publish('x', '', free)
        return ofFree.inbox.received.length > before
      })
      await channel.queueDeclare(free, { passive: true })
    }
    await works()
    // It is lost once more, and locked as before.
    await to.recoveredAfter(() => to.proxy.last.reset())
    await works()
    assert.deepEqual(ofLocked.inbox.received, [])
    old.reset()
    await until('the queue that was locked is bound and consumed', async () => {
      // RabbitMQ refuses what it has just routed to the old queue when that is deleted.
      await other.publish('to all', exchange, '').catch(error => assert.ok(error instanceof PublishFailedError))
      return ofLocked.inbox.received.length > 0
    })
    assert.ok(ofLocked.inbox.received.every(({ channel: by }) => by === channel))
    assert.deepEqual(to.seen('recoveryFailed'), [])
    assert.deepEqual(to.errors, [])
    await channel.exchangeDelete(exchange)
  })

  it('is given up, with its consumers, if another connection has the queue', async () => {
    await using to = await openRecovering(vhost.url, { heartbeat: 5 })
    const channel = await to.protocol.channel()
    const name = uniqueName('taken')
    const cancelled: string[] = []
    channel.addCancellationCallback((_channel, tag) => void cancelled.push(tag))
    await channel.queueDeclare(name, { exclusive: true })
    await channel.queueBind(name, 'amq.fanout')
    const { consumerTag } = await channel.basicConsume(() => {}, name)
    await to.outage()
    await using thief = await connect(vhost.url)
    const its = await thief.channel()
    await until('the queue is another connection’s', async () => {
      const taker = await thief.channel()
      return taker.queueDeclare(name, { exclusive: true }).then(
        () => true,
        () => false,
      )
    })
    await to.heal()
    await channel.queueDeclare(uniqueName('other'), { exclusive: true })
    await until('it is given up', () => cancelled.length > 0, { timeout: 25_000 })
    assert.deepEqual(cancelled, [consumerTag])
    const failed = to.seen('recoveryFailed') as [string, Error][]
    assert.deepEqual(
      failed.map(([what]) => what),
      [
        `queue "${name}"`,
        `binding of queue "${name}" to exchange "amq.fanout" with routing key ""`,
        `consumer "${consumerTag}" of queue "${name}"`,
      ],
    )
    assert.ok(failed.every(([, error]) => error instanceof ChannelClosedError && error.replyCode === 405))
    assert.equal(channel.isOpen, true)
    await its.close()
  })

  it('is left out at the next attempt if the server closes the connection because of it', async () => {
    await using server = await openScriptedServer()
    const failed: string[] = []
    const connecting = connect(server.url, { heartbeat: 0, onError: () => {} })
    const peer = await server.accept()
    await peer.handshake()
    await using protocol = await connecting
    protocol.on('recoveryFailed', what => failed.push(what))
    const opening = protocol.channel()
    await grant(peer, methods.ChannelOpen, methods.ChannelOpenOk, {})
    const channel = await opening
    for (const name of ['one', 'two', 'three']) {
      const declared = channel.queueDeclare(name)
      await grant(peer, methods.QueueDeclare, methods.QueueDeclareOk, {
        queue: name,
        messageCount: 0,
        consumerCount: 0,
      })
      await declared
    }
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    peer.destroy()

    const second = await server.accept()
    await second.handshake()
    await grant(second, methods.ChannelOpen, methods.ChannelOpenOk, {})
    await grant(second, methods.ChannelOpen, methods.ChannelOpenOk, {})
    await grant(second, methods.QueueDeclare, methods.QueueDeclareOk, {
      queue: 'one',
      messageCount: 0,
      consumerCount: 0,
    })
    second.send(0, methods.ConnectionClose, { replyCode: 541, replyText: 'INTERNAL_ERROR', classId: 50, methodId: 10 })

    const third = await server.accept()
    await third.handshake()
    await grant(third, methods.ChannelOpen, methods.ChannelOpenOk, {})
    await grant(third, methods.ChannelOpen, methods.ChannelOpenOk, {})
    for (const name of ['one', 'three']) {
      const { args } = await grant(third, methods.QueueDeclare, methods.QueueDeclareOk, {
        queue: name,
        messageCount: 0,
        consumerCount: 0,
      })
      assert.equal(args.queueName, name)
    }
    await recovered
    assert.deepEqual(failed, ['queue "two"'])
  })

  it('is found among the consumers if one makes the server close the connection', async () => {
    await using server = await openScriptedServer()
    const failed: string[] = []
    const connecting = connect(server.url, { heartbeat: 0, onError: () => {} })
    const peer = await server.accept()
    await peer.handshake()
    await using protocol = await connecting
    protocol.on('recoveryFailed', what => failed.push(what))
    for (const queue of ['one', 'two']) {
      const opening = protocol.channel()
      await grant(peer, methods.ChannelOpen, methods.ChannelOpenOk, {})
      const channel = await opening
      const consuming = channel.basicConsume(() => {}, queue, { consumerTag: queue })
      await grant(peer, methods.BasicConsume, methods.BasicConsumeOk, { consumerTag: queue })
      await consuming
    }
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    peer.destroy()
    // At first both are asked for, and it is unknown which it was; then one by one.
    for (const _attempt of [1, 2]) {
      const next = await server.accept()
      await next.handshake()
      for (const _ of [1, 2]) await grant(next, methods.ChannelOpen, methods.ChannelOpenOk, {})
      await grant(next, methods.BasicConsume, methods.BasicConsumeOk, { consumerTag: 'one' })
      const { args } = await next.expect(methods.BasicConsume)
      assert.equal(args.queueName, 'two')
      next.send(0, methods.ConnectionClose, { replyCode: 541, replyText: 'INTERNAL_ERROR', classId: 60, methodId: 20 })
    }
    const last = await server.accept()
    await last.handshake()
    for (const _ of [1, 2]) await grant(last, methods.ChannelOpen, methods.ChannelOpenOk, {})
    await grant(last, methods.BasicConsume, methods.BasicConsumeOk, { consumerTag: 'one' })
    await recovered
    assert.deepEqual(failed, ['consumer "two" of queue "two"'])
    await protocol.close({ timeout: 100 })
  })

  it('ends the attempt, and its connection with it, if nothing comes for an answer', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 0, rpcTimeout: 150, onError: () => {} })
    const peer = await server.accept()
    await peer.handshake()
    await using protocol = await connecting
    const opening = protocol.channel()
    await grant(peer, methods.ChannelOpen, methods.ChannelOpenOk, {})
    await opening
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    peer.destroy()
    const silent = await server.accept()
    await silent.handshake()
    await silent.expect(methods.ChannelOpen)
    await silent.closed
    const next = await server.accept()
    await next.handshake()
    await grant(next, methods.ChannelOpen, methods.ChannelOpenOk, {})
    await recovered
  })
})

/** Takes a method that must come next, and replies. */
async function grant<M extends methods.AnyMethod, R extends methods.AnyMethod>(
  peer: ScriptedPeer,
  method: M,
  reply: R,
  args: methods.ArgumentsOf<R>,
): Promise<{ readonly channel: number; readonly args: methods.DecodedOf<M> }> {
  const came = await peer.expect(method)
  peer.send(came.channel, reply, args)
  return came
}
