import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { describe, it } from 'node:test'
import { diag, SpanStatusCode, trace } from '@opentelemetry/api'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node'
import * as semconv from '@opentelemetry/semantic-conventions/incubating'
import { ConnectionError, connect, DecodeError, type Message, RemoteError } from '../../src/index.ts'
import { ATTRIBUTES, CONVENTIONS_VERSION, FORMER_NAMES, METRICS } from '../../src/opentelemetry/conventions.ts'
import { type InstrumentOptions, instrument } from '../../src/opentelemetry/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { HOSTILE_VALUES } from '../support/hostile-values.ts'
import { rejection } from '../support/rejection.ts'
import { Sdk } from './sdk.ts'

const sdk = new Sdk()

describe('instrument()', () => {
  it('refuses options that it does not know, and values that they cannot have', () => {
    const bad = [
      [{ tracerProvidr: sdk.provider }, /^instrument\(\) has no option 'tracerProvidr'; it has tracerProvider, /],
      [{ processParent: 'ambient' }, /'processParent'/],
      [{ recordExceptions: 1 }, /'recordExceptions'/],
      [{ meterProvider: {} }, /'meterProvider'/],
      [{ protocol: null }, /'protocol'/],
    ] as const
    for (const [options, message] of bad) {
      assert.throws(() => instrument(options as unknown as InstrumentOptions), { name: 'TypeError', message })
    }
    instrument({ tracerProvider: undefined }).disable()
  })

  it('subscribes to channels, and leaves none behind when it is disabled', () => {
    const start = channel('tracing:asyncamqp:publish:start')
    assert.equal(start.hasSubscribers, false)
    const instrumentation = instrument()
    assert.equal(start.hasSubscribers, true)
    instrumentation.enable()
    instrumentation.disable()
    assert.equal(start.hasSubscribers, false)
    instrumentation.enable()
    assert.deepEqual(instrumentation.getConfig(), { enabled: true })
    instrumentation.disable()
  })

  it('traces and measures one connection alone, if the option says so', async () => {
    await using broker = await startBroker()
    await using one = await connect(broker.url, { connectionName: 'one' })
    await using other = await connect(broker.url, { connectionName: 'other' })
    await one.queueDeclare('q')
    const instrumentation = instrument({ protocol: one })
    sdk.forget()
    await one.publish('x', '', 'q')
    await other.publish('x', '', 'q')
    assert.deepEqual(
      sdk.spans.map(({ attributes }) => attributes['messaging.client.id']),
      ['one'],
    )
    const samples = await sdk.scrape()
    const clients = samples.filter(({ name }) => name === 'asyncamqp_connections').map(({ labels }) => labels)
    assert.deepEqual(new Set(clients.map(labels => labels['messaging_client_id'])), new Set(['one']))
    instrumentation.disable()
  })

  it('traces and measures both connections of one protocol', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.url, { connections: 'separate', connectionName: 'two' })
    await protocol.queueDeclare('q')
    const instrumentation = instrument({ protocol })
    sdk.forget()
    broker.withholdConfirms()
    const published = protocol.publish('x', '', 'q')
    await broker.hasPublished(1)
    const unconfirmed = (await sdk.scrape())
      .filter(({ name, labels }) => name === 'asyncamqp_publish_unconfirmed' && labels['messaging_client_id'] === 'two')
      .map(({ value }) => value)
    assert.deepEqual(unconfirmed, [1])
    broker.releaseConfirms()
    await published
    assert.deepEqual(
      sdk.spans.map(({ name }) => name),
      ['publish q'],
    )
    instrumentation.disable()
  })

  it('sees the ends of what outlasts its connection', async () => {
    for (const one of [true, false]) {
      await using broker = await startBroker()
      await using protocol = await connect(broker.url, { recovery: false, onError: () => {} })
      for (const queue of ['q', 'work']) await protocol.queueDeclare(queue)
      const instrumentation = instrument(one ? { protocol } : {})
      let end = (): void => {}
      await protocol.consumer(
        'work',
        () =>
          new Promise<void>(resolve => {
            end = resolve
          }),
      )
      await protocol.publish('x', '', 'work')
      await broker.queue('work').hasUnacked(1)
      sdk.forget()
      broker.withholdConfirms()
      const published = rejection(protocol.publish('x', '', 'q'), ConnectionError)
      await broker.hasPublished(2)
      broker.cutConnections()
      await published
      end()
      await sdk.one('process work')
      await sdk.one('publish q')
      instrumentation.disable()
    }
  })

  it('ends the spans of calls, attempts to connect and handlers that are under way when it is disabled', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.url, { recovery: false, onError: () => {} })
    await protocol.queueDeclare('work')
    const instrumentation = instrument()
    await protocol.consumer('work', () => new Promise<void>(() => {}))
    await protocol.publish('x', '', 'work')
    await broker.queue('work').hasUnacked(1)
    const lost = rejection(protocol.waitClosed(), ConnectionError)
    broker.cutConnections()
    await lost
    await using other = await connect(broker.url)
    broker.freeze()
    const declared = sdk.provider.getTracer('test').startActiveSpan('caller', () => other.queueDeclare('q'))
    const connecting = connect(broker.url)
    await new Promise(resolve => setImmediate(resolve))
    sdk.forget()
    instrumentation.disable()
    const names = sdk.spans.map(({ name }) => name).toSorted()
    assert.deepEqual(names, [`connect 127.0.0.1:${broker.port}`, 'process work', 'queue.declare q'])
    broker.thaw()
    await declared
    await (await connecting).close()
  })

  it('goes on with other providers, and ends what is under way when it is disabled', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.url)
    await protocol.queueDeclare('q')
    const instrumentation = instrument({ protocol })
    instrumentation.setTracerProvider(new NodeTracerProvider())
    instrumentation.setMeterProvider(new MeterProvider())
    sdk.forget()
    await protocol.publish('x', '', 'q')
    assert.deepEqual(sdk.spans, [])
    instrumentation.setTracerProvider(sdk.provider)
    broker.withholdConfirms()
    const published = protocol.publish('x', '', 'q')
    await broker.hasPublished(2)
    instrumentation.disable()
    assert.deepEqual(
      sdk.spans.map(({ name }) => name),
      ['publish q'],
    )
    broker.releaseConfirms()
    await published
  })

  it('says nothing of what a program or a message says, unless the option asks for it', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.url)
    await protocol.queueDeclare('q')
    for (const recordExceptions of [false, true]) {
      const instrumentation = instrument({ recordExceptions, protocol })
      sdk.forget()
      const fail = (message: Message): never => {
        throw new DecodeError(message.text())
      }
      const consumer = await protocol.consumer('q', fail, { onFailure: 'reject' })
      await protocol.publish('jane@example.com', '', 'q', { headers: { secret: 'jane' }, userId: 'guest' })
      const process = await sdk.one('process q')
      await consumer.close()
      const all = JSON.stringify(sdk.spans.map(({ attributes, events, status }) => ({ attributes, events, status })))
      assert.equal(all.includes('jane'), recordExceptions)
      assert.equal(process.attributes['asyncamqp.error.code'], 'DECODE_ERROR')
      instrumentation.disable()
    }
  })

  it('ends the span of a handler whatever it throws, with an error of a class that has a name', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.url, { onError: () => {} })
    for (const queue of ['q', 'r']) await protocol.queueDeclare(queue)
    const thrown = Object.values(HOSTILE_VALUES)
    for (const recordExceptions of [false, true]) {
      const instrumentation = instrument({ recordExceptions, protocol })
      sdk.forget()
      let next = 0
      const fail = () => {
        throw thrown[next++]
      }
      await using _ = await protocol.consumer('q', fail, { onFailure: 'drop', concurrency: 1 })
      for (const _ of thrown) await protocol.publish('x', '', 'q')
      const processed = await sdk.named('process q', thrown.length)
      next = 0
      await using _server = await protocol.rpcServer('r', fail, { concurrency: 1 })
      await using client = await protocol.rpcClient()
      for (const _ of thrown) await assert.rejects(client.call('r', 'x'), RemoteError)
      for (const { attributes, status } of [...processed, ...(await sdk.named('handle r', thrown.length))]) {
        assert.match(String(attributes['error.type']), /^[A-Za-z_]+$/)
        assert.equal(status.code, SpanStatusCode.ERROR)
      }
      instrumentation.disable()
    }
  })

  it('keeps nothing of a message whose span its handler has ended', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.url)
    await protocol.queueDeclare('q')
    const instrumentation = instrument({ protocol })
    let ends = 0
    await protocol.consumer('q', () => {
      const span = trace.getActiveSpan()
      assert.ok(span)
      span.end()
      span.end = () => {
        ends++
      }
    })
    await protocol.publish('x', '', 'q')
    await broker.queue('q').emptied()
    assert.equal(ends, 1)
    // It ends what is under way.
    instrumentation.disable()
    assert.equal(ends, 1)
  })

  it('harms no operation when a provider throws', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.url)
    await protocol.queueDeclare('q')
    const reported: string[] = []
    const ignore = (): void => {}
    diag.setLogger({
      error: message => reported.push(message),
      warn: ignore,
      info: ignore,
      debug: ignore,
      verbose: ignore,
    })
    const getTracer = () => ({
      startSpan: () => {
        throw new Error('no span')
      },
      startActiveSpan: ignore as never,
    })
    const instrumentation = instrument({ tracerProvider: { getTracer } })
    await protocol.publish('x', '', 'q')
    instrumentation.disable()
    diag.disable()
    assert.deepEqual(reported, ['asyncamqp: tracing:asyncamqp:publish:start was not recorded'])
  })
})

describe('The table of conventions', () => {
  it('has the names of the package that is made from the conventions, in their version', () => {
    const known = new Set<unknown>(Object.values(semconv))
    const names = [
      ...Object.values(ATTRIBUTES),
      ...Object.values(FORMER_NAMES),
      ...Object.values(METRICS).map(({ name }) => name),
    ].filter(name => !name.startsWith('asyncamqp.'))
    assert.deepEqual(
      names.filter(name => !known.has(name)),
      [],
    )
    assert.equal(CONVENTIONS_VERSION, '1.45.0')
  })
})
