import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AmqpError,
  AmqpUriError,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionLostError,
  connect,
  connectInBackground,
  DuplicateConsumerTagError,
  EncodeError,
  type FieldTable,
  fromUrl,
  type NextOptions,
  NoChannelAvailableError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Recoverable } from '../support/agreeable-broker.ts'
import {
  converse,
  converseOnChannel,
  FakeBroker,
  type FakePeer,
  methodFrame,
  startConsumer,
} from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const REFUSED = { replyCode: 404, replyText: "NOT_FOUND - no queue 'orders' in vhost '/'", classId: 50, methodId: 10 }

/** Agree to every consumer. */
function answerConsumers({ answers }: FakePeer): void {
  answers.set('basic.qos', ({ channel }) => methodFrame(channel, methods.BasicQosOk, {}))
  answers.set('basic.consume', ({ channel, args }) =>
    methodFrame(channel, methods.BasicConsumeOk, { consumerTag: String(args['consumerTag']) }),
  )
}

/** A connection with a consumer that gets nothing. */
async function consuming(clock: VirtualClock) {
  const { peer, protocol } = await converse({ clock })
  answerConsumers(peer)
  const consumer = await protocol.consumer('q')
  return { protocol, consumer }
}

describe('the error of a call that timed out', () => {
  it('names its whole timeout, also of one that first waited for a connection', async () => {
    const the = await Recoverable.open()
    const { prepare } = the.broker
    the.broker.prepare = peer => {
      prepare?.(peer)
      for (const method of ['queue.declare', 'channel.close']) peer.answers.set(method, () => undefined)
    }
    the.peer.transport.break(new Error('cut'))
    await turn()
    const declared = follow(the.protocol.queueDeclare('q', { timeout: 1_000 }))
    await the.clock.advance(50)
    await the.broker.accept()
    await the.clock.advance(949)
    assert.deepEqual([the.protocol.state, declared.state], ['open', 'pending'])
    await the.clock.advance(1)
    assert.match(declared.error?.message ?? '', /^queue\.declare of "q" was not answered by \S+ within 1000 ms/)
  })
})

describe('the error of a message that could not be made', () => {
  it('is a rejection with its outcome, also if the program threw a frozen one', async () => {
    const frozen = Object.freeze(new EncodeError('frozen'))
    const { protocol } = await converse()
    const payload = {
      toJSON: () => {
        throw frozen
      },
    }
    const error = await rejection(protocol.publish(payload, '', 'q'), EncodeError)
    assert.deepEqual([error.message, error.outcome], ['frozen', 'notSent'])
  })

  it('is one of this package, with an outcome, whatever code of the program has thrown', async () => {
    const the = await Recoverable.open()
    const own = new Error('own')
    const fail = (): never => {
      throw own
    }
    const [channel, publisher, client] = await Promise.all([
      the.protocol.channel({ publisherConfirms: true }),
      the.protocol.publisher(),
      the.protocol.rpcClient(),
    ])
    const codecs: never[] = []
    const typed = await the.protocol.publisher({ codecs })
    const publish = [
      (properties: object, options?: object) => channel.publish('m', '', 'q', properties, options),
      (properties: object, options?: object) => publisher.publish('m', 'q', properties, options),
      (properties: object, options?: object) => the.protocol.publish('m', '', 'q', properties, options),
      (properties: object, options?: object) => typed.publish('m', 'q', properties, options),
      (properties: object, options?: object) =>
        client.call('q', 'm', Object.defineProperty(options ?? {}, 'properties', { value: properties })),
    ]
    const thrower = (name: string) => Object.defineProperty({}, name, { get: fail, enumerable: true })
    const rejected = publish.flatMap(call => [
      call(thrower('messageId')),
      call(thrower('headers')),
      call({ headers: thrower('x') }),
      call({}, thrower('timeout')),
      call({}, thrower('signal')),
    ])
    rejected.push(client.call('q', { toJSON: fail }), publisher.publish({ toJSON: fail }, 'q'))
    rejected.push(client.call('q', 'm', { timeout: -1 }), publisher.publish('m', 'q', {}, { timeout: -1 }))
    const errors = await Promise.all(rejected.map(promise => rejection(promise, EncodeError)))
    for (const error of errors) {
      assert.equal(error.outcome, 'notSent')
      if (error.cause !== undefined) assert.equal(error.cause, own)
    }
    assert.equal(errors.filter(({ cause }) => cause === own).length, errors.length - 2)
  })
})

describe('errors of connecting', () => {
  it('show the line of the program, however deep the fault was found', async () => {
    const urls = ['amqp://localhost?hartbeat=1']
    async function start(): Promise<unknown> {
      return await connect(urls)
    }
    async function startFrom(): Promise<unknown> {
      return await fromUrl(urls)
    }
    async function startInBackground(): Promise<unknown> {
      return connectInBackground(urls)
    }
    for (const call of [start, startFrom, startInBackground]) {
      const { stack = '' } = await rejection(call(), AmqpUriError)
      assert.match(
        stack,
        new RegExp(`^AmqpUriError: the AMQP URI .*"hartbeat"; did you mean "heartbeat".*\n\\s+at ${call.name} `),
      )
    }
  })
})

describe('errors of rejected calls', () => {
  it('show the line of the program that made the call', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    const failing = askForOrders()
    async function askForOrders(): Promise<unknown> {
      return await channel.queueDeclare('orders', { passive: true })
    }
    await peer.expect(methods.QueueDeclare)
    peer.reply(1, methods.ChannelClose, REFUSED)
    const error = await rejection(failing, ChannelClosedError)
    assert.match(
      error.stack ?? '',
      /^ChannelClosedError: queue\.declare of "orders" failed: NOT_FOUND \(404\)[^\n]*\n\s+at askForOrders .*errors\.test/,
    )
    assert.equal(
      error.message,
      "queue.declare of \"orders\" failed: NOT_FOUND (404), no queue 'orders' in vhost '/'; channel 1 is closed",
    )
    assert.ok(error.cause instanceof ChannelClosedError)
    assert.match(error.cause.message, /^channel 1 was closed by the server because of queue\.declare: /)
    assert.equal(error.code, 'CHANNEL_CLOSED')
    assert.equal(protocol.state, 'open')
  })

  it('show it, and what was called, if a part of the intent level waited for a connection that never came', async () => {
    const { peer, protocol } = await converse({ recovery: { initialDelay: 60_000 } })
    peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    const parts: Record<string, () => Promise<unknown>> = {
      'consuming from "orders"': () => protocol.consumer('orders'),
      'consuming from "orders.paid"': () => protocol.consumer('orders.paid', () => {}),
      'consuming from "prices"': () => protocol.rpcServer('prices', () => {}),
      rpcClient: () => protocol.rpcClient(),
      'channel.open': () => protocol.channel(),
    }
    const waiting = Object.entries(parts).map(async ([what, part]) => {
      const { message, stack } = await rejection(part(), ConnectionClosedError)
      assert.ok(message.startsWith(`${what} failed: `), message)
      assert.match(stack ?? '', /\n\s+at .*errors\.test/)
    })
    await turn()
    await protocol.close()
    await Promise.all(waiting)
  })

  it('show it for every synchronous method, also when the connection is lost', async () => {
    const { peer, channel } = await converseOnChannel()
    const methodsOfTheirs: Record<string, () => Promise<unknown>> = {
      queueDeclare: () => channel.queueDeclare('q'),
      queueDelete: () => channel.queueDelete('q'),
      queueBind: () => channel.queueBind('q', 'e'),
      queueUnbind: () => channel.queueUnbind('q', 'e'),
      queuePurge: () => channel.queuePurge('q'),
      exchangeDeclare: () => channel.exchangeDeclare('e', 'fanout'),
      exchangeDelete: () => channel.exchangeDelete('e'),
      exchangeBind: () => channel.exchangeBind('e', 'f'),
      exchangeUnbind: () => channel.exchangeUnbind('e', 'f'),
      basicQos: () => channel.basicQos(),
      basicConsume: () => channel.basicConsume(() => {}, 'q'),
      basicCancel: () => channel.basicCancel('c'),
      basicGet: () => channel.basicGet('q'),
      basicRecover: () => channel.basicRecover(),
      confirmSelect: () => channel.confirmSelect(),
      waitForConfirms: async () => {
        void channel.basicPublish('x', '', 'q')
        return channel.waitForConfirms()
      },
      txSelect: () => channel.txSelect(),
      flow: () => channel.flow(true),
    }
    const outcomes = Object.entries(methodsOfTheirs).map(([name, call]) => ({ name, outcome: follow(call()) }))
    await turn()
    peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    for (const { name, outcome } of outcomes) {
      const { error } = outcome
      assert.ok(error instanceof ConnectionLostError, `${name}: ${outcome.state}`)
      assert.equal(error.reason, 'socket', name)
      assert.match(error.message, /^\S+.* failed: the connection to localhost:5672 was lost: read ECONNRESET$/, name)
      assert.ok(error.cause instanceof ConnectionLostError, name)
      assert.match(error.stack ?? '', /errors\.test/, `${name}: ${error.stack}`)
    }
  })

  it('show it however deep the fault was found, and however late', async () => {
    const clock = new VirtualClock()
    const { channel, protocol, broker, peer } = await converseOnChannel({ clock, recovery: {}, rpcTimeout: 50 })
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'taken' })
    const nested = (depth: number): FieldTable => (depth === 0 ? { bad: Number.NaN } : { inner: nested(depth - 1) })
    const calls: Record<string, () => Promise<unknown>> = {
      'a nested argument of a declare': () => channel.queueDeclare('q', { arguments: nested(20) }),
      'a nested argument of a consume': () => channel.basicConsume(() => {}, 'q', { arguments: nested(20) }),
      'a long name': () => channel.queueBind('q'.repeat(256), 'e'),
      'a long name, with noWait': () => channel.queuePurge('q'.repeat(256), { noWait: true }),
      'a tag that is in use': () => channel.basicConsume(() => {}, 'q', { consumerTag: 'taken' }),
      'a transaction': () => channel.transaction(() => {}),
      'a transaction of the protocol': () => protocol.transaction(() => {}),
      'a new secret': () => protocol.updateSecret('secret', 'reason'),
    }
    const failed = async (what: string, call: () => Promise<unknown>): Promise<void> => {
      async function caller(): Promise<unknown> {
        return await call()
      }
      const { stack = '' } = await rejection(clock.until(caller()), AmqpError)
      assert.match(stack, /errors\.test/, `${what}: ${stack}`)
    }
    for (const [what, call] of Object.entries(calls)) await failed(what, call)
    const again = await protocol.channel()
    peer.finish()
    await turn()
    assert.equal(protocol.state, 'recovering')
    broker.prepare = next => next.answers.set('basic.consume', () => undefined)
    const late = [
      failed('a long name, late', () => again.queuePurge('q'.repeat(256))),
      failed('a long name with noWait, late', () => again.queuePurge('q'.repeat(256), { noWait: true })),
    ]
    await Promise.all(late)
    await clock.until(protocol.close())
  })

  it('show it first if an argument is refused, whatever the method', async () => {
    const { peer, protocol, channel } = await converseOnChannel()
    answerConsumers(peer)
    const [consumer, server] = [await protocol.consumer('q'), await protocol.rpcServer('q', () => {})]
    const handling = await protocol.consumer('q', () => {})
    const publisher = await protocol.publisher()
    const bad = { nonsense: true } as never
    const calls: Record<string, () => unknown> = {
      'channel.basicPublish': () => channel.basicPublish('x', '', 'q', undefined, bad),
      'channel.basicPublish of a number': () => channel.basicPublish(5 as never, '', 'q'),
      'channel.publish': () => channel.publish('x', '', 'q', undefined, bad),
      'channel.basicQos': () => channel.basicQos(bad),
      'channel.basicClientAck': () => channel.basicClientAck('1' as never),
      'channel.basicClientAck with options': () => channel.basicClientAck(1, bad),
      'channel.basicClientNack': () => channel.basicClientNack(-1),
      'channel.basicReject': () => channel.basicReject(1, bad),
      'channel.transaction': () => channel.transaction(5 as never),
      'channel.addCancellationCallback': () => channel.addCancellationCallback(5 as never),
      'channel.close': () => channel.close(bad),
      'protocol.publish': () => protocol.publish('x', '', 'q', undefined, bad),
      'protocol.publisher': () => protocol.publisher(bad),
      'protocol.consumer': () => protocol.consumer('q', bad),
      'protocol.transaction': () => protocol.transaction(5 as never),
      'protocol.on': () => protocol.on('nonsense' as 'closed', () => {}),
      'protocol.close': () => protocol.close(bad),
      'publisher.publish': () => publisher.publish('x', 'q', undefined, bad),
      'publisher.close': () => publisher.close(bad),
      'consumer.next': () => consumer.next(bad),
      'consumer.batches': () => consumer.batches(bad),
      'consumer.close': () => consumer.close(bad),
      'next() beside a handler': () => handling.next(),
      'a loop beside a handler': () => handling[Symbol.asyncIterator]().next(),
      'server.close': () => server.close(bad),
    }
    for (const [what, call] of Object.entries(calls)) {
      async function caller(): Promise<unknown> {
        // Anonymous functions of this file are between it and the method.
        return await call()
      }
      const { stack = '' } = await rejection(caller(), EncodeError)
      const [first = ''] = stack.split('\n').filter(line => /^ {4}at /.test(line) && !/\(?(node|ext):/.test(line))
      assert.match(first, /errors\.test/, `${what}: ${stack}`)
    }
    await protocol.close()
  })

  it('show it if the next message of a consumer does not come', async () => {
    const clock = new VirtualClock()
    const { protocol, consumer } = await consuming(clock)
    async function caller(options: NextOptions): Promise<unknown> {
      return await consumer.next(options)
    }
    const abort = new AbortController()
    const waits = [caller({ timeout: 10 }), caller({ signal: abort.signal }), caller({ timeout: -1 }), caller({})]
    const failed = Promise.all(waits.map(wait => rejection(wait, AmqpError)))
    await clock.advance(10)
    abort.abort()
    await clock.until(protocol.close())
    for (const { stack = '' } of await failed) assert.match(stack, /\n\s+at (async )?caller .*errors\.test/)
  })

  it('show the line of a loop over a consumer that ends', async () => {
    const clock = new VirtualClock()
    const { protocol, consumer } = await consuming(clock)
    async function caller(loop: AsyncIterable<unknown>): Promise<unknown> {
      for await (const one of loop) return one
      return undefined
    }
    const asked = Promise.all([consumer, consumer.batches({ size: 2 })].map(loop => rejection(caller(loop), AmqpError)))
    await turn()
    await clock.until(protocol.close())
    const late = [consumer, consumer.batches({ size: 2 })].map(loop => rejection(caller(loop), AmqpError))
    for (const { stack = '' } of [...(await asked), ...(await Promise.all(late))]) {
      assert.match(stack, /\n\s+at (async )?caller .*errors\.test/)
    }
  })

  it('show no frame of this package for what the server did, which no call made', async () => {
    const { peer, protocol, channel } = await converseOnChannel()
    const first = rejection(channel.queueDeclare('orders'), ChannelClosedError)
    await peer.expect(methods.QueueDeclare)
    peer.reply(1, methods.ChannelClose, REFUSED)
    const ended = rejection(protocol.waitClosed(), ConnectionClosedError)
    const second = rejection(protocol.queueDeclare('bills'), ConnectionClosedError)
    peer.reply(0, methods.ConnectionClose, { replyCode: 541, replyText: 'INTERNAL_ERROR', classId: 0, methodId: 0 })
    const causes = [(await first).cause, (await second).cause, await ended]
    for (const cause of causes) {
      assert.ok(cause instanceof AmqpError)
      assert.equal(cause.stack, `${cause.name}: ${cause.message}`)
    }
  })

  it('show none for an attempt to recover that failed', async () => {
    const clock = new VirtualClock()
    const { peer, protocol, broker } = await converse({ clock, recovery: { maxAttempts: 1 } })
    broker.prepare = next =>
      next.answers.set('connection.start-ok', () =>
        methodFrame(0, methods.ConnectionClose, { replyCode: 403, replyText: 'no', classId: 0, methodId: 0 }),
      )
    const failed = new Promise<Error>(resolve => protocol.once('recoveryAttemptFailed', (_, error) => resolve(error)))
    peer.transport.break(new Error('cut'))
    const error = await clock.until(failed)
    assert.ok(error instanceof AmqpError)
    assert.equal(error.stack, `${error.name}: ${error.message}`)
  })

  it('are fresh ones with a common cause', async () => {
    const { peer, channel } = await converseOnChannel()
    const calls = [follow(channel.basicQos()), follow(channel.queueDeclare('q'))]
    await turn()
    peer.transport.break(new Error('gone'))
    await turn()
    const [a, b] = calls.map(({ error }) => error)
    assert.notEqual(a, b)
    assert.equal(a?.cause, b?.cause)
    assert.ok(a?.cause instanceof ConnectionLostError && a.cause.cause instanceof Error)
    assert.equal(a.cause.cause.message, 'gone')
  })

  it('of a publish name exchange, routing key, message id and tag', async () => {
    const { peer, channel } = await converseOnChannel()
    await channel.confirmSelect({ noWait: true })
    const publish = follow(channel.publish('x', 'logs', 'info', { messageId: 'm-7' }))
    await turn()
    peer.reply(0, methods.ConnectionClose, { replyCode: 541, replyText: 'INTERNAL_ERROR', classId: 0, methodId: 0 })
    await turn()
    assert.ok(publish.error instanceof ConnectionClosedError)
    assert.equal(
      publish.error.message,
      'publish of message "m-7" to exchange "logs" with routing key "info" (delivery tag 1) failed: the connection to localhost:5672 was closed by the server: INTERNAL_ERROR (541)',
    )
    assert.equal(publish.error.outcome, 'unknown')
  })

  it('blame the method that the server found at fault, when it closes the connection', async () => {
    const { peer, channel } = await converseOnChannel()
    const [innocent, guilty] = [follow(channel.basicQos()), follow(channel.exchangeDeclare('e', 'nonsense'))]
    await turn()
    peer.reply(0, methods.ConnectionClose, {
      replyCode: 503,
      replyText: "COMMAND_INVALID - unknown exchange type 'nonsense'",
      classId: 40,
      methodId: 10,
    })
    await turn()
    assert.ok(guilty.error instanceof ConnectionClosedError)
    assert.match(
      guilty.error.message,
      /^exchange\.declare of "e" failed: COMMAND_INVALID \(503\), unknown exchange type 'nonsense'/,
    )
    assert.match(
      innocent.error?.message ?? '',
      /^basic\.qos failed: the connection .* because of exchange\.declare: COMMAND_INVALID/,
    )
  })

  it('say that all channels are in use', async () => {
    const { protocol } = await converse({}, new FakeBroker({ channelMax: 1 }))
    await protocol.channel()
    const error = await rejection(protocol.channel(), NoChannelAvailableError)
    assert.equal(
      error.message,
      'channel.open was not sent: all 1 channels of the connection to localhost:5672 are in use',
    )
  })

  it('say that a consumer tag is in use, with nothing sent', async () => {
    const { peer, channel } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    const sent = peer.writes.length
    const error = await rejection(
      channel.basicConsume(() => {}, 'q', { consumerTag: 'c' }),
      DuplicateConsumerTagError,
    )
    assert.equal(error.consumerTag, 'c')
    await turn()
    assert.equal(peer.writes.length, sent)
    assert.equal(channel.isOpen, true)
  })

  const bad: readonly (readonly [
    string,
    (channel: Awaited<ReturnType<typeof converseOnChannel>>['channel']) => Promise<unknown>,
    RegExp,
  ])[] = [
    ['a routing key of 256 bytes', c => c.basicPublish('', '', 'k'.repeat(256)), /routingKey takes 256 bytes/],
    [
      'a header that is a function',
      c => c.basicPublish('', '', 'k', { headers: { f: (() => 1) as unknown as string } }),
      /properties\.headers/,
    ],
    ['a body that is a number', c => c.basicPublish(5 as unknown as string, '', 'k'), /payload must be/],
    ['a negative prefetch', c => c.basicQos({ prefetchCount: -1 }), /basic\.qos: prefetchCount/],
    ['an unknown option', c => c.queueDeclare('q', { durabel: true } as object), /durabel.*did you mean.*durable/],
    ['a queue name that is a number', c => c.queueDeclare(5 as unknown as string), /queue\.declare: queueName/],
    [
      'a timeout that is a string',
      c => c.queueDeclare('q', { timeout: '5' as unknown as number }),
      /queue\.declare.*timeout/,
    ],
    ['a signal that is none', c => c.queueDeclare('q', { signal: {} as AbortSignal }), /queue\.declare.*signal/],
    ['a callback that is none', c => c.basicConsume('x' as unknown as () => void, 'q'), /basic\.consume.*callback/],
    ['a concurrency of 0', c => c.basicConsume(() => {}, 'q', { concurrency: 0 }), /concurrency/],
    [
      'a delivery tag of 0 without multiple',
      c => c.basicClientAck(0),
      /basic\.ack: deliveryTag must be a positive integer/,
    ],
    ['a delivery tag that is none', c => c.basicClientNack(1.5), /basic\.nack: deliveryTag/],
    ['a requeue that is none', c => c.basicReject(1, { requeue: 1 as unknown as boolean }), /basic\.reject.*requeue/],
    [
      'a noWait of confirmSelect that is none',
      c => c.confirmSelect({ noWait: 'yes' as unknown as boolean }),
      /confirm\.select.*noWait/,
    ],
    [
      'a noWait of basicCancel that is none',
      c => c.basicCancel('c', { noWait: 1 as unknown as boolean }),
      /basic\.cancel.*noWait/,
    ],
    ['noWait without a queue name', c => c.queueDeclare('', { noWait: true }), /noWait needs a queueName/],
  ]
  for (const [what, call, message] of bad) {
    it(`name the argument for ${what}; nothing is sent and the channel goes on`, async () => {
      const { peer, channel, errors } = await converseOnChannel()
      const sent = peer.writes.length
      let promise: Promise<unknown> | undefined
      assert.doesNotThrow(() => {
        promise = call(channel)
      })
      const error = await rejection(promise ?? Promise.resolve(), EncodeError)
      assert.match(error.message, message)
      assert.equal(error.code, 'ENCODE_ERROR')
      await turn()
      assert.equal(peer.writes.length, sent)
      assert.equal(channel.isOpen, true)
      assert.deepEqual(errors, [])
    })
  }
})
