import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, it } from 'node:test'
import { trace } from '@opentelemetry/api'
import { registerInstrumentations } from '@opentelemetry/instrumentation'
import { AmqplibInstrumentation } from '@opentelemetry/instrumentation-amqplib'
import { connect } from '../../src/index.ts'
import { instrument } from '../../src/opentelemetry/index.ts'
import { withVhost } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { type ReadableSpan, Sdk } from './sdk.ts'

const vhost = await withVhost()
const sdk = new Sdk()
const ours = instrument()
const unload = registerInstrumentations({ instrumentations: [new AmqplibInstrumentation(), ours] })
// It patches the files of amqplib by their paths, when they are required.
const amqplib = createRequire(import.meta.url)('amqplib') as typeof import('amqplib')

/** What the instrumentation of amqplib calls a span is up to its version: it is known by its scope. */
function theirs(kind: string): ReadableSpan | undefined {
  return sdk.spans.find(
    ({ instrumentationScope, name }) => instrumentationScope.name.includes('amqplib') && name.includes(kind),
  )
}

async function inOrder<T>(work: () => Promise<T>): Promise<string> {
  return await trace.getTracer('app').startActiveSpan('order', async span => {
    await work()
    span.end()
    return span.spanContext().traceId
  })
}

describe("amqplib with OpenTelemetry's instrumentation at the other end", () => {
  it('goes on with the trace of a message that this client sent', async () => {
    await using protocol = await connect(vhost.url)
    const queue = uniqueName('to-amqplib')
    await protocol.queueDeclare(queue)
    const model = await amqplib.connect(vhost.url)
    const channel = await model.createChannel()
    sdk.forget()
    const received = new Promise<string | undefined>(resolve => {
      void channel.consume(queue, message => {
        if (message !== null) channel.ack(message)
        resolve(trace.getActiveSpan()?.spanContext().traceId)
      })
    })
    const traceId = await inOrder(() => protocol.publish('x', '', queue))
    assert.equal(await received, traceId)
    const publish = await sdk.one(`publish ${queue}`)
    const process = theirs(queue)
    assert.equal(process?.parentSpanContext?.spanId, publish.spanContext().spanId)
    await model.close()
  })

  it('starts the trace that this client goes on with', async () => {
    await using protocol = await connect(vhost.url)
    const queue = uniqueName('from-amqplib')
    await protocol.queueDeclare(queue)
    const model = await amqplib.connect(vhost.url)
    const channel = await model.createChannel()
    sdk.forget()
    const received = new Promise<string | undefined>(resolve => {
      void protocol.consumer(queue, () => resolve(trace.getActiveSpan()?.spanContext().traceId))
    })
    const traceId = await inOrder(async () => channel.sendToQueue(queue, Buffer.from('x')))
    assert.equal(await received, traceId)
    const process = await sdk.one(`process ${queue}`)
    const publish = theirs('publish')
    assert.equal(process.parentSpanContext?.spanId, publish?.spanContext().spanId)
    assert.deepEqual(
      process.links.map(({ context }) => context.spanId),
      [publish?.spanContext().spanId],
    )
    await model.close()
  })

  it('is unloaded with ours by one call', async () => {
    await using protocol = await connect(vhost.url)
    const queue = uniqueName('unloaded')
    await protocol.queueDeclare(queue)
    assert.deepEqual(ours.getConfig(), { enabled: true })
    unload()
    assert.deepEqual(ours.getConfig(), { enabled: false })
    sdk.forget()
    await protocol.publish('x', '', queue)
    assert.deepEqual(sdk.spans, [])
  })
})
