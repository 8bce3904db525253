import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import {
  type CallContext,
  ChannelClosedError,
  type ConnectContext,
  ConnectionFailedError,
  connect,
  DecodeError,
  type ProcessContext,
  ProtocolError,
  type PublishContext,
  RemoteError,
  type RpcCallContext,
  type RpcHandleContext,
  type SettleContext,
  type StandardSchema,
} from '../../src/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { rejection } from '../support/rejection.ts'
import { turn } from '../support/settled.ts'
import { TraceRecorder } from '../support/trace-recorder.ts'

const SUCCEEDED = 'start end asyncStart asyncEnd'
const FAILED = 'start end error asyncStart asyncEnd'
const recorders: TraceRecorder<object>[] = []

function record<C extends object>(...args: ConstructorParameters<typeof TraceRecorder<C>>): TraceRecorder<C> {
  const recorder = new TraceRecorder<C>(...args)
  recorders.push(recorder)
  return recorder
}

afterEach(() => {
  for (const recorder of recorders.splice(0)) recorder.stop()
})

describe('The tracing channel asyncamqp:connect', () => {
  it('says to which of the servers a program is connected, and each attempt to recover', async () => {
    const traced = record<ConnectContext>('connect')
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, connectionName: 'shop', virtualhost: '/' })
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    broker.cutConnections()
    await recovered
    assert.deepEqual(traced.events, [SUCCEEDED, SUCCEEDED])
    const [first, second] = traced.contexts
    assert.ok(first && second)
    const { servers, connectionName, recovering, attempt, serverAddress, serverPort, virtualHost } = first
    assert.deepEqual([connectionName, recovering, attempt, virtualHost], ['shop', false, 1, '/'])
    assert.deepEqual(servers, [`${serverAddress}:${serverPort}`])
    assert.deepEqual([second.recovering, second.attempt], [true, 1])
  })

  it('says why that failed', async () => {
    const traced = record<ConnectContext>('connect')
    const createTransport = () => Promise.reject(new Error('no way'))
    const error = await rejection(connect({ createTransport, host: 'there', port: 7 }), ConnectionFailedError)
    assert.deepEqual(traced.events, [FAILED])
    const [context] = traced.contexts
    assert.equal(context?.error, error)
    assert.deepEqual([context?.servers, context?.serverAddress], [['there:7'], undefined])
  })
})

describe('The tracing channel asyncamqp:call', () => {
  it('follows a synchronous method from the call to its reply', async () => {
    const traced = record<CallContext>('call')
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    const channel = await protocol.channel()
    const options = { durable: true }
    await channel.queueDeclare('orders', options)
    await protocol.queueBind('orders', 'amq.topic', 'new')
    const error = await rejection(protocol.exchangeDelete('amq.topic'), ChannelClosedError)
    assert.deepEqual(
      traced.contexts.map(({ method, target }) => `${method} ${target}`),
      ['queue.declare orders', 'queue.bind orders', 'exchange.delete amq.topic'],
    )
    assert.deepEqual(traced.events, [SUCCEEDED, SUCCEEDED, FAILED])
    assert.equal(traced.contexts[0]?.options, options)
    assert.deepEqual([traced.contexts[0]?.channelId, traced.contexts[2]?.error], [1, error])
  })
})

describe('The tracing channel asyncamqp:settle', () => {
  it('says what a program settles, and what a handler or a loop settles by its end', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    await protocol.queueDeclare('q', { durable: true })
    for (const name of 'abcdef') await protocol.publish(name, '', 'q')
    const traced = record<SettleContext>('settle')
    const channel = await protocol.channel()
    for (let tag = 1; tag <= 3; tag++) await channel.basicGet('q')
    await channel.basicClientAck(2, { multiple: true })
    await channel.basicReject(3)
    assert.equal(await channel.basicClientNack(3).catch(() => false), true)
    await channel.close().catch(() => {})
    const stopped = protocol.consumer('q', message => {
      if (message.text() === 'd') message.nack({ requeue: false })
      message.ack()
    })
    await broker.queue('q').emptied()
    await (await stopped).close()
    await protocol.publish('g', '', 'q')
    for await (const message of await protocol.consumer('q')) {
      assert.equal(message.text(), 'g')
      break
    }
    assert.deepEqual(
      traced.contexts.map(
        ({ method, deliveryTag, multiple, requeue, sent }) =>
          `${method} ${deliveryTag}${multiple ? ' multiple' : ''}${requeue ? ' requeue' : ''}${sent ? '' : ' not sent'}`,
      ),
      [
        'basic.ack 2 multiple',
        'basic.reject 3',
        'basic.nack 3 requeue',
        'basic.nack 1',
        'basic.ack 2',
        'basic.ack 3',
        'basic.nack 1 requeue',
      ],
    )
    assert.deepEqual(new Set(traced.events), new Set(['start end']))
  })

  it('says how a batch is acked, by a handler and by a loop', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    await protocol.queueDeclare('q', { durable: true })
    const traced = record<SettleContext>('settle')
    const publish = () => Promise.all(['a', 'b', 'c'].map(body => protocol.publish(body, '', 'q')))
    const consumer = await protocol.consumer('q', () => {}, { batch: { size: 3 } })
    await publish()
    await broker.queue('q').emptied()
    await consumer.close()
    await publish()
    const loop = await protocol.consumer('q')
    for await (const _batch of loop.batches({ size: 3 })) void loop.close()
    assert.deepEqual(
      traced.contexts.map(({ method, deliveryTag, multiple, sent }) => ({ method, deliveryTag, multiple, sent })),
      [1, 2].map(() => ({ method: 'basic.ack', deliveryTag: 3, multiple: true, sent: true })),
    )
  })
})

describe('The tracing channels of RPC', () => {
  it('follow a call and its handling, with the headers that a subscriber adds to the request', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    await protocol.queueDeclare('prices', { durable: true })
    const seen: unknown[] = []
    await protocol.rpcServer('prices', request => {
      seen.push(request.properties.headers)
      if (request.text() === 'no') throw new TypeError('unknown')
      return { price: 7 }
    })
    const client = await protocol.rpcClient()
    const calls = record<RpcCallContext>('rpc.call', (event, context) => {
      if (event === 'start') context.headers['traceparent'] = '1'
    })
    const handled = record<RpcHandleContext>('rpc.handle')
    const published = record<PublishContext>('publish')
    const processed = record<ProcessContext>('process')
    await client.call('prices', 'apple')
    const failed = await rejection(client.call('prices', 'no'), RemoteError)
    await rejection(client.call('nobody', 'x'), Error)
    await turn()
    assert.deepEqual(seen, [{ traceparent: '1' }, { traceparent: '1' }])
    assert.deepEqual(calls.events, [SUCCEEDED, FAILED, FAILED])
    assert.deepEqual(
      calls.contexts.map(({ outcome, routingKey, bodySize, replySize }) => ({
        outcome,
        routingKey,
        bodySize,
        replySize,
      })),
      [
        { outcome: 'replied', routingKey: 'prices', bodySize: 5, replySize: 11 },
        { outcome: 'failed', routingKey: 'prices', bodySize: 2, replySize: undefined },
        { outcome: 'returned', routingKey: 'nobody', bodySize: 1, replySize: undefined },
      ],
    )
    assert.equal(calls.contexts[1]?.error, failed)
    assert.deepEqual(handled.events, [SUCCEEDED, FAILED])
    assert.deepEqual(
      handled.contexts.map(({ outcome, queueName, bodySize, replySize }) => ({
        outcome,
        queueName,
        bodySize,
        replySize,
      })),
      [
        { outcome: 'replied', queueName: 'prices', bodySize: 5, replySize: 11 },
        { outcome: 'failed', queueName: 'prices', bodySize: 2, replySize: 7 },
      ],
    )
    assert.ok(handled.contexts[1]?.error instanceof TypeError)
    const [request] = calls.contexts
    assert.equal(handled.contexts[0]?.correlationId, request?.correlationId)
    // Requests and replies are messages as others are.
    assert.deepEqual(
      published.contexts.map(({ outcome }) => outcome),
      ['confirmed', 'confirmed', 'confirmed', 'confirmed', 'returned'],
    )
    assert.deepEqual(
      processed.contexts.map(({ kind, outcome }) => `${kind} ${outcome}`),
      ['handler acked', 'handler acked'],
    )
  })

  it('say of a call whose reply cannot be read that it failed, and not that none came', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, maxMessageSize: 100 })
    await protocol.queueDeclare('prices', { durable: true })
    await protocol.rpcServer('prices', request => request.text().repeat(20))
    const reply: StandardSchema = {
      '~standard': { version: 1, vendor: 'test', validate: () => ({ issues: [{ message: 'no price' }] }) },
    }
    const client = await protocol.rpcClient({ schema: { reply } })
    const calls = record<RpcCallContext>('rpc.call')
    await rejection(client.call('prices', 'pear'), DecodeError)
    await rejection(client.call('prices', 'pineapple'), ProtocolError)
    assert.deepEqual(calls.events, [FAILED, FAILED])
    assert.deepEqual(
      calls.contexts.map(({ outcome, replySize }) => ({ outcome, replySize })),
      [
        { outcome: 'failed', replySize: undefined },
        { outcome: 'failed', replySize: undefined },
      ],
    )
  })
})
