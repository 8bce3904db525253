import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel as diagnosticsChannel } from 'node:diagnostics_channel'
import { afterEach, describe, it } from 'node:test'
import { runInNewContext } from 'node:vm'
import {
  AbortError,
  ConnectionLostError,
  EncodeError,
  type Message,
  type ProcessContext,
  type PublishContext,
  PublishFailedError,
  type SettleContext,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Properties } from '../../src/protocol/received-properties.ts'
import { agreeingBroker, framesOf } from '../support/agreeing-broker.ts'
import { contentFrames, converse, deliverFrame, type SentFrame } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { turn } from '../support/settled.ts'
import { type TraceEvent, TraceRecorder } from '../support/trace-recorder.ts'

const SUCCEEDED = 'start end asyncStart asyncEnd'
const FAILED = 'start end error asyncStart asyncEnd'
const recorders: TraceRecorder<object>[] = []

function record<C extends object>(operation: string, seen?: (event: TraceEvent, context: C) => void): TraceRecorder<C> {
  const recorder = new TraceRecorder<C>(operation, seen)
  recorders.push(recorder)
  return recorder
}

/** The properties that a content header carries. */
function propertiesOf({ payload }: SentFrame): Properties {
  return Properties.read(payload, 12, payload.length)
}

afterEach(() => {
  for (const recorder of recorders.splice(0)) recorder.stop()
})

describe('The tracing channel asyncamqp:publish', () => {
  it('follows a message from the call to its confirm', async () => {
    const traced = record<PublishContext>('publish')
    const { protocol, peer } = await converse({ connectionName: 'shop' }, agreeingBroker())
    const published = protocol.publish('body', 'orders', 'new', { messageId: 'm1', correlationId: 'c1' })
    await turn()
    assert.deepEqual(traced.events, ['start end'])
    const [context] = traced.contexts
    assert.equal(context?.outcome, undefined)
    peer.reply(1, methods.BasicAck, { deliveryTag: 1 })
    await published
    assert.deepEqual(traced.events, [SUCCEEDED])
    assert.ok(context)
    const { exchangeName, routingKey, bodySize, mandatory, confirmed, messageId, correlationId, outcome } = context
    assert.deepEqual(
      { exchangeName, routingKey, bodySize, mandatory, confirmed, messageId, correlationId, outcome },
      {
        exchangeName: 'orders',
        routingKey: 'new',
        bodySize: 4,
        mandatory: false,
        confirmed: true,
        messageId: 'm1',
        correlationId: 'c1',
        outcome: 'confirmed',
      },
    )
    const { attempts, deliveryTag, channelId, serverAddress, serverPort, virtualHost, connectionName, error } = context
    assert.deepEqual(
      { attempts, deliveryTag, channelId, serverAddress, serverPort, virtualHost, connectionName, error },
      {
        attempts: 1,
        deliveryTag: 1,
        channelId: 1,
        serverAddress: 'localhost',
        serverPort: 5672,
        virtualHost: '/',
        connectionName: 'shop',
        error: undefined,
      },
    )
    await protocol.close({ timeout: 0 })
  })

  it('has what a subscriber adds to the headers sent, beside those of the program, which stay as they are', async () => {
    const own = { a: 1 }
    record<PublishContext>('publish', (event, context) => {
      if (event === 'start') context.headers['traceparent'] = '00-1-2-01'
    })
    const the = await converse({}, agreeingBroker())
    const channel = await the.protocol.channel()
    await channel.basicPublish('x', '', 'q', { headers: own, messageId: 'm1' })
    await channel.basicPublish('x', '', 'q')
    await turn()
    const headers = the.peer.frames.filter(({ name }) => name === '1 header').map(propertiesOf)
    assert.deepEqual(
      headers.map(({ headers, messageId }) => ({ ...headers, messageId })),
      [
        { a: 1, traceparent: '00-1-2-01', messageId: 'm1' },
        { traceparent: '00-1-2-01', messageId: undefined },
      ],
    )
    assert.deepEqual(own, { a: 1 })
  })

  it('sends no header that a subscriber has removed, also if it was the only one', async () => {
    record<PublishContext>('publish', (event, context) => {
      if (event === 'start') delete context.headers['secret']
    })
    const the = await converse({}, agreeingBroker())
    const channel = await the.protocol.channel()
    await channel.basicPublish('x', '', 'q', { headers: { secret: 1, a: 1 } })
    await channel.basicPublish('x', '', 'q', { headers: { secret: 1 } })
    await channel.basicPublish('x', '', 'q', {})
    await turn()
    const sent = the.peer.frames.filter(({ name }) => name === '1 header').map(propertiesOf)
    assert.deepEqual(
      sent.map(({ headers }) => headers && { ...headers }),
      [{ a: 1 }, {}, undefined],
    )
  })

  it('keeps headers in a Map of another realm, and counts the bytes of such a payload', async () => {
    const sizes: number[] = []
    record<PublishContext>('publish', (event, context) => {
      if (event !== 'start') return
      sizes.push(context.bodySize)
      context.headers['traceparent'] = '00-1-2-01'
    })
    const the = await converse({}, agreeingBroker())
    const channel = await the.protocol.channel()
    const [payload, headers] = runInNewContext("[new Uint8Array(3), new Map([['a', 1]])]")
    await channel.basicPublish(payload, '', 'q', { headers })
    await turn()
    const sent = the.peer.frames.filter(({ name }) => name === '1 header').map(propertiesOf)
    assert.deepEqual({ ...sent[0]?.headers }, { a: 1, traceparent: '00-1-2-01' })
    assert.deepEqual(sizes, [3])
  })

  it('ends once for each way in which a publish fails', async () => {
    const traced = record<PublishContext>('publish')
    const { protocol, peer } = await converse({}, agreeingBroker())
    const channel = await protocol.channel({ publisherConfirms: true })
    const nacked = rejection(channel.publish('a', '', 'q'), PublishFailedError)
    peer.reply(1, methods.BasicNack, { deliveryTag: 1 })
    await nacked
    const signal = AbortSignal.abort()
    await rejection(channel.publish('b', '', 'q', undefined, { signal }), AbortError)
    await rejection(channel.publish('c', '', 'q', { messageId: 1 as unknown as string }), EncodeError)
    await rejection(channel.basicPublish('d', '', 'q', { messageId: 1 as unknown as string }), EncodeError)
    // A subscriber relies on names that are strings: these publishes never start.
    await rejection(channel.publish('no start', '', 1 as unknown as string), EncodeError)
    await rejection(channel.basicPublish('no start', 1 as unknown as string, 'q'), EncodeError)
    await rejection(protocol.publish('no start', '', 1 as unknown as string), EncodeError)
    const lost = rejection(channel.publish('e', '', 'q'), ConnectionLostError)
    await turn()
    peer.finish()
    await lost
    await turn()
    assert.deepEqual(traced.events, [FAILED, FAILED, FAILED, FAILED, FAILED])
    assert.deepEqual(
      traced.contexts.map(({ outcome }) => outcome),
      ['nacked', 'notSent', 'notSent', 'notSent', 'unknown'],
    )
  })
})

describe('The tracing channel asyncamqp:process', () => {
  const storage = new AsyncLocalStorage<string>()

  it('follows a message until its handler has ended and it is acked, in the context that a subscriber binds', async () => {
    const traced = record<ProcessContext>('process')
    const start = diagnosticsChannel('tracing:asyncamqp:process:start')
    start.bindStore(storage, context => `span of ${(context as ProcessContext).messageId}`)
    const the = await converse({}, agreeingBroker())
    const stores: unknown[] = []
    await the.protocol.consumer('q', async () => {
      stores.push(storage.getStore())
      await undefined
      stores.push(storage.getStore())
    })
    const { channel: id = 0, args = {} } = framesOf(the, 'basic.consume').at(-1) ?? {}
    the.peer.send(deliverFrame(id, String(args['consumerTag']), 1, true), contentFrames(id, 'x', { messageId: 'm1' }))
    await turn()
    start.unbindStore(storage)
    assert.deepEqual(stores, ['span of m1', 'span of m1'])
    assert.deepEqual(traced.events, [SUCCEEDED])
    const [context] = traced.contexts
    assert.ok(context)
    const { kind, queueName, deliveryTag, redelivered, deliveryCount, attempt, bodySize, noAck, outcome } = context
    assert.deepEqual(
      { kind, queueName, deliveryTag, redelivered, deliveryCount, attempt, bodySize, noAck, outcome },
      {
        kind: 'handler',
        queueName: 'q',
        deliveryTag: 1,
        redelivered: true,
        deliveryCount: 1,
        attempt: 1,
        bodySize: 1,
        noAck: false,
        outcome: 'acked',
      },
    )
  })

  it('runs the handler within what a subscriber sets around it, and distinguishes the connections of a process', async () => {
    record<ProcessContext>('process', (event, context) => {
      if (event === 'start') context.around = run => storage.run(`around ${context.messageId}`, run)
    })
    const published = record<PublishContext>('publish')
    const the = await converse({}, agreeingBroker())
    const stores: unknown[] = []
    await the.protocol.consumer('q', async () => {
      await undefined
      stores.push(storage.getStore())
      the.protocol.publish('x', '', 'q').catch(() => {})
    })
    const { channel: id = 0, args = {} } = framesOf(the, 'basic.consume').at(-1) ?? {}
    the.peer.send(deliverFrame(id, String(args['consumerTag']), 1), contentFrames(id, 'x', { messageId: 'm1' }))
    await turn()
    assert.deepEqual(stores, ['around m1'])
    const other = await converse({}, agreeingBroker())
    other.protocol.publish('x', '', 'q').catch(() => {})
    const [one, two] = published.contexts
    assert.equal(Number(two?.connectionId) - Number(one?.connectionId), 1)
    for (const { protocol } of [the, other]) await protocol.close({ timeout: 0 })
  })

  it('has the copy of a message whose handler failed published in the context of the handler', async () => {
    record<ProcessContext>('process', (event, context) => {
      if (event === 'start') context.around = run => storage.run(`around ${context.messageId}`, run)
    })
    const stores: unknown[] = []
    record<PublishContext>('publish', event => {
      if (event === 'start') stores.push(storage.getStore())
    })
    const the = await converse({}, agreeingBroker())
    await the.protocol.consumer('q', () => Promise.reject(new RangeError('too far')), {
      onFailure: { exchangeName: '', routingKey: 'failed' },
    })
    const { channel: id = 0, args = {} } = framesOf(the, 'basic.consume').at(-1) ?? {}
    for (const [tag, messageId] of [
      ['1', 'm1'],
      ['2', 'm2'],
    ] as const) {
      the.peer.send(deliverFrame(id, String(args['consumerTag']), Number(tag)), contentFrames(id, 'x', { messageId }))
    }
    await turn()
    assert.deepEqual(stores, ['around m1', 'around m2'])
  })

  it('has a function onFailure decide in the context of the handler that failed', async () => {
    record<ProcessContext>('process', (event, context) => {
      if (event === 'start') context.around = run => storage.run(`around ${context.messageId}`, run)
    })
    const stores: unknown[] = []
    record<SettleContext>('settle', event => {
      if (event === 'start') stores.push(storage.getStore())
    })
    const the = await converse({}, agreeingBroker())
    const fail = (message: Message): unknown => {
      if (message.text() === 'late') return Promise.reject(new RangeError('too far'))
      throw new RangeError('too far')
    }
    await storage.run('registered', () =>
      the.protocol.consumer('q', fail, {
        onFailure: async message => {
          stores.push(storage.getStore())
          storage.enterWith('entered')
          await undefined
          message.ack()
        },
      }),
    )
    const { channel: id = 0, args = {} } = framesOf(the, 'basic.consume').at(-1) ?? {}
    for (const [tag, body] of ['late', 'at once', 'late', 'at once'].entries()) {
      const content = contentFrames(id, body, { messageId: `m${tag}` })
      the.peer.send(deliverFrame(id, String(args['consumerTag']), tag + 1), content)
    }
    await turn()
    const decided = stores.filter(store => store !== 'entered')
    assert.deepEqual(decided.sort(), ['around m0', 'around m1', 'around m2', 'around m3'])
    assert.equal(stores.length, 8)
    await the.protocol.close({ timeout: 0 })
  })

  it('follows a message of a callback until it is settled, however late', async () => {
    const traced = record<ProcessContext>('process')
    const the = await converse({}, agreeingBroker())
    const channel = await the.protocol.channel()
    await channel.basicConsume(() => {}, 'q', { consumerTag: 't' })
    await turn()
    for (let tag = 1; tag <= 3; tag++) the.peer.send(deliverFrame(1, 't', tag), contentFrames(1, 'x'))
    await turn()
    assert.deepEqual(traced.events, ['start end', 'start end', 'start end'])
    await channel.basicClientAck(2, { multiple: true })
    await turn()
    assert.deepEqual(traced.events, [SUCCEEDED, SUCCEEDED, 'start end'])
    the.peer.finish()
    await turn()
    assert.deepEqual(
      traced.contexts.map(({ outcome }) => outcome),
      ['acked', 'acked', 'lost'],
    )
    assert.deepEqual(traced.open, [])
  })
})
