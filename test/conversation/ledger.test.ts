import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as methods from '../../src/protocol/methods.ts'
import { Recoverable } from '../support/agreeable-broker.ts'
import { delivery, methodFrame } from '../support/fake-broker.ts'
import { follow, turn } from '../support/settled.ts'

const QUEUES = 'queue.declare'
const BINDINGS = 'queue.bind'

describe("the queue that '' means", () => {
  it('is the last one declared before it, whatever is declared or answered before its reply', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    the.silent.add('basic.consume')
    const pipelined = [
      channel.queueDeclare('a'),
      channel.basicConsume(() => {}, '', { consumerTag: 'of-a' }),
      channel.queueBind('', 'amq.topic', 'k'),
      channel.queueDeclare('b'),
    ]
    await turn()
    the.peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'of-a' })
    await Promise.all(pipelined)
    the.silent.clear()
    await the.recover()
    assert.deepEqual(the.sent('basic.consume', BINDINGS), ['queue.bind a amq.topic k', 'basic.consume a of-a'])
  })

  it('is named after a recovery, but left to the broker once the new life has declared one', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('', { exclusive: true })
    await the.recover()
    await channel.queuePurge('', { noWait: true })
    const pipelined = [channel.queueDeclare('b'), channel.queueBind('', 'amq.topic', 'k')]
    await Promise.all(pipelined)
    const [, renamed] = the.seen('queueRenamed')[0] ?? []
    assert.deepEqual(the.sent('queue.purge', BINDINGS), [`queue.purge ${String(renamed)}`, 'queue.bind amq.topic k'])
    await the.recover()
    assert.deepEqual(the.sent(BINDINGS), ['queue.bind b amq.topic k'])
  })

  it('is recorded for calls with it after a recovery, and is there after the next one', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.exchangeDeclare('x', 'fanout')
    await channel.queueDeclare('')
    await the.recover()
    await channel.queueBind('', 'x', 'k')
    await the.recover()
    assert.deepEqual(the.sent('queue.bind'), ['queue.bind x k'])
    const publish = follow(channel.publish('m', 'x', 'k'))
    await turn()
    assert.equal(publish.state, 'resolved')
  })
})

describe("a binding of '' with the key ''", () => {
  const DECLARED = ['a', 'b'] as const

  it('has the name of the queue as its key, which it keeps', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    for (const queue of DECLARED) {
      await channel.queueDeclare(queue)
      await channel.queueBind('', 'amq.direct')
    }
    assert.deepEqual(the.sent(BINDINGS), ['queue.bind amq.direct', 'queue.bind amq.direct'])
    await channel.queueUnbind('', 'amq.direct')
    await the.recover()
    assert.deepEqual(the.sent(BINDINGS), ['queue.bind a amq.direct a'])
  })

  it('has the name with which the queue was declared, whatever its name is after a recovery', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const { queue } = await channel.queueDeclare('')
    await channel.queueBind('', 'amq.direct')
    await the.recover()
    assert.deepEqual(the.sent(BINDINGS), [`queue.bind amq.direct ${queue}`])
    const [, renamed] = the.seen('queueRenamed')[0] ?? []
    await channel.queueBind('', 'amq.topic')
    assert.equal(the.sent(BINDINGS)[1], `queue.bind ${renamed} amq.topic ${queue}`)
    await channel.queueUnbind('', 'amq.direct')
    assert.deepEqual(the.sent('queue.unbind'), [`queue.unbind ${renamed} amq.direct ${queue}`])
    await the.recover()
    assert.deepEqual(the.sent(BINDINGS), [`queue.bind amq.topic ${queue}`])
  })

  it('is not what a binding of a named queue becomes when it is made again', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    for (const _ of DECLARED) {
      const { queue } = await channel.queueDeclare('')
      await channel.queueBind(queue, 'amq.fanout')
      await channel.queueBind(queue, 'amq.topic', 'k')
    }
    await the.recover()
    assert.deepEqual(the.sent(QUEUES, BINDINGS), [
      'queue.declare',
      'queue.bind amq.topic k',
      'queue.declare',
      'queue.bind amq.topic k',
      'queue.bind amq.gen-3 amq.fanout',
      'queue.bind amq.gen-4 amq.fanout',
    ])
  })
})

describe('the ledger of what a program has made', () => {
  it('keeps arguments as they were when they were sent', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const args: Record<string, number> = {}
    for (const ttl of [1, 2]) {
      args['x-message-ttl'] = ttl
      await channel.queueDeclare(`q${ttl}`, { arguments: args })
    }
    await the.lose()
    args['x-message-ttl'] = 3
    await turn()
    const declared = the.peer.frames.filter(({ method }) => method?.name === QUEUES)
    assert.deepEqual(
      declared.map(({ args: { queueName, arguments: sent } }) => [queueName, sent]),
      [
        ['q1', { 'x-message-ttl': 1 }],
        ['q2', { 'x-message-ttl': 2 }],
      ],
    )
  })

  it('follows what nothing replies to in the order in which it was sent', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    the.silent.add(QUEUES)
    const declared = channel.queueDeclare('q')
    await channel.queueDelete('q', { noWait: true })
    await channel.queueDeclare('r', { noWait: true })
    the.peer.reply(1, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await declared
    the.silent.clear()
    await the.recover()
    assert.deepEqual(the.sent(QUEUES), ['queue.declare r'])
  })

  it('follows nothing that the broker refused, nor what was sent after it', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('before', { noWait: true })
    the.refuse.set('exchange.declare refused', { replyCode: 406, replyText: 'PRECONDITION_FAILED - no' })
    await channel.exchangeDeclare('refused', 'fanout', { noWait: true })
    await channel.exchangeDeclare('after', 'fanout', { noWait: true })
    await channel.waitClosed().catch(() => {})
    await the.recover()
    assert.deepEqual(the.sent(QUEUES, 'exchange.declare'), ['queue.declare before'])
  })

  it('is not changed by a call that was lost with the connection: its caller knows', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('there')
    the.silent.add(QUEUES)
    the.silent.add('queue.delete')
    const lost = [follow(channel.queueDeclare('lost')), follow(channel.queueDelete('there'))]
    await turn()
    the.silent.clear()
    await the.recover()
    assert.deepEqual(
      lost.map(({ state }) => state),
      ['rejected', 'rejected'],
    )
    assert.deepEqual(the.sent(QUEUES), ['queue.declare there'])
  })

  it('leaves out entities with recover: false, and their bindings', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q')
    await channel.queueDeclare('own', { recover: false })
    await channel.exchangeDeclare('x', 'fanout', { recover: false })
    await channel.queueBind('own', 'amq.topic', 'k')
    await channel.queueBind('q', 'x')
    await channel.exchangeBind('x', 'amq.fanout')
    await channel.queueBind('q', 'amq.topic', 'k')
    await the.recover()
    assert.deepEqual(the.sent(QUEUES, BINDINGS, 'exchange.bind', 'exchange.declare'), [
      'queue.declare q',
      'queue.bind q amq.topic k',
    ])
  })

  it('keeps a queue that expires if a recovery has declared it since, until it has not been used for as long again', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q', { arguments: { 'x-expires': 10_000 } })
    for (const [unused, declared] of [
      [7_000, ['queue.declare q']],
      [7_000, ['queue.declare q']],
      [11_000, []],
    ] as const) {
      await the.clock.advance(unused)
      await the.recover()
      assert.deepEqual(the.sent(QUEUES), declared)
    }
  })

  it('loses an auto-delete queue whose only consumer was given up before the broker had agreed', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q', { autoDelete: true })
    the.silent.add('basic.consume')
    const { signal, abort } = aborting()
    const consuming = follow(channel.basicConsume(() => {}, 'q', { consumerTag: 'tag', signal }))
    await turn()
    abort()
    the.peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'tag' })
    await turn()
    assert.equal(consuming.state, 'rejected')
    the.silent.clear()
    await the.recover()
    assert.deepEqual(the.sent(QUEUES, 'basic.consume'), [])
  })

  it('loses an auto-delete queue with its last consumer, also if a call before that consumer had no reply when the connection was lost', async () => {
    const the = await Recoverable.open()
    const [channel, other] = [await the.protocol.channel(), await the.protocol.channel()]
    await channel.queueDeclare('q', { autoDelete: true })
    the.silent.add(QUEUES)
    const unanswered = follow(other.queueDeclare('r'))
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    the.silent.clear()
    await the.recover()
    assert.equal(unanswered.state, 'rejected')
    assert.deepEqual(the.sent(QUEUES, 'basic.consume'), ['queue.declare q', 'basic.consume q tag'])
    await channel.basicCancel('tag')
    await the.recover()
    assert.deepEqual(the.sent(QUEUES, 'basic.consume'), [])
  })

  it('keeps an auto-delete queue that was declared again after its last consumer was cancelled, pipelined', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q', { autoDelete: true })
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    the.silent.add('basic.cancel')
    const cancelled = channel.basicCancel('tag')
    const again = channel.queueDeclare('q', { autoDelete: true })
    await turn()
    the.peer.reply(1, methods.BasicCancelOk, { consumerTag: 'tag' })
    await Promise.all([cancelled, again])
    the.silent.clear()
    await the.recover()
    assert.deepEqual(the.sent(QUEUES), ['queue.declare q'])
  })

  it("keeps an auto-delete queue that was deleted and declared again, when the end of the old one's consumer comes after that", async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    await channel.queueDeclare('q', { autoDelete: true })
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'tag' })
    await Promise.all([channel.queueDelete('q'), channel.queueDeclare('q', { autoDelete: true })])
    the.peer.reply(1, methods.BasicCancel, { consumerTag: 'tag', noWait: true })
    await turn()
    await the.recover()
    assert.deepEqual(the.sent(QUEUES, 'basic.consume'), ['queue.declare q'])
  })

  it('has nothing made again that the program deletes while others are refused', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    for (const queue of ['a', 'b', 'c']) await channel.queueDeclare(queue)
    await channel.queueBind('c', 'amq.topic', 'k')
    const refusal = { replyCode: 403, replyText: 'ACCESS_REFUSED - no' }
    for (const queue of ['a', 'b', 'c']) the.refuse.set(`queue.declare ${queue}`, refusal)
    await the.recover()
    let deleted = false
    let sentBefore: string[] = []
    const sent = (): string[] => the.sent(QUEUES, BINDINGS).filter(text => text.includes(' c'))
    the.refuse.delete('queue.declare c')
    the.refuse.set('queue.declare a', () => {
      the.refuse.delete('queue.declare a')
      void channel.queueDelete('c').then(() => {
        deleted = true
        sentBefore = sent()
      })
      return refusal
    })
    await the.clock.advance(20_000)
    assert.equal(deleted, true)
    assert.deepEqual(sent(), sentBefore)
  })

  it('gives each consumer the prefetch that it was started with, and the channel its last one', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const consume = (tag: string): Promise<unknown> => channel.basicConsume(() => {}, tag, { consumerTag: tag })
    await consume('unlimited')
    await channel.basicQos({ prefetchCount: 1 })
    await consume('one')
    await consume('one too')
    await channel.basicQos({ prefetchCount: 10 })
    await consume('ten')
    await channel.basicQos({ prefetchCount: 5 })
    await the.recover()
    const wire = the.peer.frames.flatMap(({ method, args }) => {
      if (method?.name === 'basic.qos') return [args['prefetchCount']]
      return method?.name === 'basic.consume' ? [args['consumerTag']] : []
    })
    assert.deepEqual(wire, [5, 0, 'unlimited', 1, 'one', 'one too', 10, 'ten', 5])
  })

  it('keeps a consumer that took the tag of one that the server had cancelled in the same read', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const consumeAgain = (): void => void channel.basicConsume(() => {}, 'other', { consumerTag: 't' })
    await channel.basicConsume(consumeAgain, 'q', { consumerTag: 't', noAck: true })
    await turn()
    const cancel = methodFrame(1, methods.BasicCancel, { consumerTag: 't', noWait: true })
    the.peer.send(delivery(1, 't', 1, 'x'), cancel)
    await turn()
    await the.recover()
    assert.deepEqual(the.sent('basic.consume'), ['basic.consume other t'])
  })
})

describe('a queue that the broker named', () => {
  it('keeps its name while it outlives the connection', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const { queue } = await channel.queueDeclare('', { exclusive: false })
    await channel.queueBind(queue, 'amq.topic', 'k')
    await channel.basicConsume(() => {}, queue, { consumerTag: 'tag' })
    await the.recover()
    const declare = the.peer.frames.find(({ method }) => method?.name === QUEUES)
    assert.equal(declare?.args['passive'], true)
    assert.deepEqual(the.sent(QUEUES, BINDINGS, 'basic.consume'), [
      `queue.declare ${queue}`,
      `queue.bind ${queue} amq.topic k`,
      `basic.consume ${queue} tag`,
    ])
    assert.deepEqual(the.seen('queueRenamed'), [])
  })

  it('is declared again once it is gone, and everything follows its new name, publishes included', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const { queue } = await channel.queueDeclare('', { exclusive: false })
    await channel.queueBind(queue, 'amq.topic', 'k')
    the.refuse.set(`queue.declare ${queue}`, { replyCode: 404, replyText: `NOT_FOUND - no queue '${queue}'` })
    await the.recover()
    const renamed = [[queue, 'amq.gen-2']]
    assert.deepEqual(the.seen('queueRenamed'), renamed)
    assert.deepEqual(the.seen('recoveryFailed'), [])
    await the.protocol.queueBind(queue, 'amq.topic', 'later')
    await channel.basicPublish('x', '', queue)
    await channel.basicPublish('x', 'amq.topic', queue)
    await turn()
    assert.deepEqual(the.sent(BINDINGS, 'basic.publish').slice(-3), [
      'queue.bind amq.gen-2 amq.topic later',
      'basic.publish amq.gen-2',
      `basic.publish amq.topic ${queue}`,
    ])
    await the.recover()
    assert.deepEqual(the.sent(QUEUES, BINDINGS), [
      'queue.declare amq.gen-2',
      'queue.bind amq.gen-2 amq.topic k',
      'queue.bind amq.gen-2 amq.topic later',
    ])
  })

  it('waits for its node if that is down, and is not declared again', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    const { queue } = await channel.queueDeclare('', { exclusive: false })
    const replyText = `NOT_FOUND - home node 'rabbit@b' of durable queue '${queue}' in vhost '/' is down or inaccessible`
    the.refuse.set(`queue.declare ${queue}`, { replyCode: 404, replyText })
    await the.recover()
    assert.deepEqual(
      the.seen('recoveryFailed').map(([what]) => what),
      [`queue "${queue}"`],
    )
    assert.equal(new Set(the.sent(QUEUES)).size, 1)
    the.refuse.clear()
    await the.clock.advance(20_000)
    assert.deepEqual(the.seen('queueRenamed'), [])
  })

  it('has its bindings made after its declare, in one batch', async () => {
    const the = await Recoverable.open()
    const channel = await the.protocol.channel()
    for (const key of ['a', 'b']) {
      const { queue } = await channel.queueDeclare()
      await channel.queueBind(queue, 'amq.topic', `${key}1`)
      await channel.queueBind(queue, 'amq.topic', `${key}2`)
    }
    await the.recover()
    assert.deepEqual(the.sent(QUEUES, BINDINGS), [
      'queue.declare',
      'queue.bind amq.topic a1',
      'queue.bind amq.topic a2',
      'queue.declare',
      'queue.bind amq.topic b1',
      'queue.bind amq.topic b2',
    ])
    const [first, second] = the.seen('queueRenamed')
    assert.deepEqual(
      [first, second],
      [
        ['amq.gen-1', 'amq.gen-3'],
        ['amq.gen-2', 'amq.gen-4'],
      ],
    )
    await channel.queueUnbind('amq.gen-1', 'amq.topic', 'a1')
    await the.recover()
    assert.equal(the.sent(BINDINGS).length, 3)
  })
})

function aborting(): { readonly signal: AbortSignal; abort(): void } {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}
