import assert from 'node:assert/strict'
import { afterEach, describe, it } from 'node:test'
import {
  AbortError,
  type AmqpProtocol,
  BufferFullError,
  ChannelClosedError,
  connect,
  type ProcessContext,
  type PublishContext,
  TimeoutError,
} from '../../src/index.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { TraceRecorder } from '../support/trace-recorder.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const recorders: TraceRecorder<object>[] = []

function record<C extends object>(operation: string): TraceRecorder<C> {
  const recorder = new TraceRecorder<C>(operation)
  recorders.push(recorder)
  return recorder
}

interface Scene {
  readonly clock: VirtualClock
  readonly broker: Broker
  readonly protocol: AmqpProtocol
}

async function scene(run: (scene: Scene) => Promise<void>): Promise<void> {
  const clock = new VirtualClock()
  await using broker = await startBroker({ clock })
  const protocol = await connect({ ...broker.inMemory, clock, heartbeat: 0, onError: () => {} })
  await protocol.queueDeclare('q', { durable: true })
  await run({ clock, broker, protocol })
  await clock.until(protocol.close())
}

/** How each ended, and that each has one end. */
function outcomes(recorder: TraceRecorder<ProcessContext> | TraceRecorder<PublishContext>): string[] {
  assert.deepEqual(
    recorder.events.filter(events => !/^start (end( error)?|error end) asyncStart asyncEnd$/.test(events)),
    [],
  )
  return recorder.contexts.map(context => `${context.outcome}${context.error === undefined ? '' : ' with an error'}`)
}

afterEach(() => {
  for (const recorder of recorders.splice(0)) recorder.stop()
})

describe('The trace of a publish', () => {
  it('goes on through a recovery, and counts how often it was written', () =>
    scene(async ({ clock, broker, protocol }) => {
      await protocol.publish('x', '', 'q')
      const traced = record<PublishContext>('publish')
      broker.withholdConfirms()
      const published = protocol.publish('x', '', 'q')
      await clock.until(broker.hasPublished(2))
      broker.cutConnections()
      broker.releaseConfirms()
      await clock.until(published)
      assert.deepEqual(outcomes(traced), ['confirmed'])
      assert.equal(traced.contexts[0]?.attempts, 2)
    }))

  it('ends when its caller gives it up, with what is known of it', () =>
    scene(async ({ clock, broker, protocol }) => {
      const traced = record<PublishContext>('publish')
      broker.withholdConfirms()
      const abort = new AbortController()
      const aborted = rejection(protocol.publish('x', '', 'q', {}, { signal: abort.signal }), AbortError)
      const late = rejection(protocol.publish('x', '', 'q', {}, { timeout: 50 }), TimeoutError)
      await turn()
      abort.abort()
      await aborted
      await clock.until(late)
      await rejection(protocol.publish('x', '', 'q', {}, { signal: AbortSignal.abort() }), AbortError)
      assert.deepEqual(outcomes(traced), ['unknown with an error', 'unknown with an error', 'notSent with an error'])
      broker.releaseConfirms()
    }))

  it('says what the broker made of it', () =>
    scene(async ({ broker, protocol }) => {
      const traced = record<PublishContext>('publish')
      await rejection(protocol.publish('x', '', 'nobody'), Error)
      broker.nackConfirms()
      await rejection(protocol.publish('x', '', 'q'), Error)
      await rejection(protocol.publish('x', 'nowhere', 'k'), ChannelClosedError)
      assert.deepEqual(outcomes(traced), ['returned with an error', 'nacked with an error', 'refused with an error'])
    }))

  it('ends at the write in a transaction, and of what waits when its channel is closed', () =>
    scene(async ({ protocol, broker }) => {
      const traced = record<PublishContext>('publish')
      await protocol.transaction(async channel => {
        await channel.publish('x', '', 'q')
      })
      const channel = await protocol.channel()
      broker.block()
      // It gets the block when it publishes.
      await channel.basicPublish('x', '', 'q')
      await turn()
      const waiting = follow(channel.basicPublish('x', '', 'q'))
      await turn()
      assert.equal(traced.open.length, 1)
      const closing = channel.close()
      await turn()
      assert.equal(waiting.state, 'rejected')
      broker.unblock()
      await closing
      assert.deepEqual(outcomes(traced), ['sent', 'sent', 'notSent with an error'])
    }))

  it('ends at once for a message beyond the limit', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, maxWaiting: 1 })
    const channel = await protocol.channel()
    broker.block()
    await channel.basicPublish('x', 'amq.direct', 'k')
    await turn()
    const traced = record<PublishContext>('publish')
    const waiting = protocol.publish('x', 'amq.direct', 'k')
    await rejection(protocol.publish('x', 'amq.direct', 'k'), BufferFullError)
    broker.unblock()
    await waiting
    assert.deepEqual(outcomes(traced), ['confirmed', 'notSent with an error'])
  })
})

describe('The trace of the work on a message', () => {
  it('says what became of messages whose handlers failed', () =>
    scene(async ({ clock, broker, protocol }) => {
      await protocol.queueDeclare('errors', { durable: true })
      const traced = record<ProcessContext>('process')
      const fail = (): never => {
        throw new Error('failed')
      }
      for (const onFailure of ['reject', { exchangeName: '', routingKey: 'errors' }] as const) {
        const consumer = await protocol.consumer('q', fail, { onFailure })
        await protocol.publish('x', '', 'q')
        await clock.until(broker.queue('q').emptied())
        await turn()
        await clock.until(consumer.close())
      }
      let handled = 0
      const requeued = await protocol.consumer('q', () => {
        handled++
        if (handled === 1) fail()
      })
      await protocol.publish('x', '', 'q')
      await turn()
      await clock.advance(2_000)
      await clock.until(broker.queue('q').emptied())
      await turn()
      await clock.until(requeued.close())
      assert.deepEqual(outcomes(traced), [
        'rejected with an error',
        'copied with an error',
        'requeued with an error',
        'acked',
      ])
      assert.deepEqual(
        traced.contexts.map(({ redelivered }) => redelivered),
        [false, false, false, true],
      )
    }))

  it('ends with its connection, and with its handler if that runs on', () =>
    scene(async ({ clock, broker, protocol }) => {
      const traced = record<ProcessContext>('process')
      let end: () => void = () => {}
      await protocol.consumer('q', () => new Promise<void>(resolve => (end = resolve)), { concurrency: 1 })
      await protocol.publish('x', '', 'q')
      await turn()
      const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
      broker.cutConnections()
      await clock.until(recovered)
      assert.deepEqual(traced.contexts[0]?.outcome, 'lost')
      assert.deepEqual(traced.events[0], 'start end')
      end()
      await turn()
      assert.deepEqual(traced.events[0], 'start end asyncStart asyncEnd')
      end()
      await turn()
      assert.deepEqual(outcomes(traced), ['lost', 'acked'])
    }))

  it('of a batch ends when its handler has ended, also if that fails after the connection was lost', () =>
    scene(async ({ clock, broker, protocol }) => {
      const traced = record<ProcessContext>('process')
      let end: (error?: Error) => void = () => {}
      const handler = () => new Promise<void>((resolve, reject) => (end = error => (error ? reject(error) : resolve())))
      await protocol.consumer('q', handler, { batch: { size: 1, wait: 10 } })
      await protocol.publish('x', '', 'q')
      await turn()
      const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
      broker.cutConnections()
      await clock.until(recovered)
      assert.equal(traced.contexts[0]?.outcome, 'lost')
      assert.equal(traced.events[0], 'start end')
      end(new Error('not yet'))
      await turn()
      assert.equal(traced.events[0], 'start end error asyncStart asyncEnd')
      end()
      await turn()
      assert.deepEqual(outcomes(traced), ['lost with an error', 'acked'])
      assert.equal(traced.events[1], 'start end asyncStart asyncEnd')
    }))

  it('of a consumer that is closed ends when its handler has ended, though the message was given back', () =>
    scene(async ({ clock, protocol }) => {
      const traced = record<ProcessContext>('process')
      let end: () => void = () => {}
      const consumer = await protocol.consumer('q', () => new Promise<void>(resolve => (end = resolve)))
      await protocol.publish('x', '', 'q')
      await turn()
      await clock.until(consumer.close({ timeout: 100 }))
      assert.deepEqual(traced.events, ['start end'])
      end()
      await turn()
      assert.deepEqual(outcomes(traced), ['requeued'])
    }))

  it('without acks ends with the handler or callback, and for a loop when it gets the message', () =>
    scene(async ({ clock, broker, protocol }) => {
      const traced = record<ProcessContext>('process')
      const handled = await protocol.consumer('q', () => {}, { noAck: true })
      await protocol.publish('x', '', 'q')
      await clock.until(broker.queue('q').emptied())
      await clock.until(handled.close())
      const channel = await protocol.channel()
      const { consumerTag } = await channel.basicConsume(() => Promise.reject(new Error('failed')), 'q', {
        noAck: true,
      })
      await protocol.publish('x', '', 'q')
      await turn()
      await channel.basicCancel(consumerTag)
      const loop = await protocol.consumer('q', { noAck: true })
      await protocol.publish('x', '', 'q')
      await loop.next()
      await turn()
      assert.deepEqual(outcomes(traced), ['noAck', 'noAck with an error', 'noAck'])
      assert.deepEqual(
        traced.contexts.map(({ kind }) => kind),
        ['handler', 'callback', 'next'],
      )
    }))

  it('of a callback that throws ends at once, and of one that has settled the message with that', () =>
    scene(async ({ protocol }) => {
      const traced = record<ProcessContext>('process')
      const channel = await protocol.channel()
      await channel.basicConsume((_channel, body, { deliveryTag }) => {
        if (body.toString() === 'settled') void channel.basicReject(deliveryTag)
        throw new Error('failed')
      }, 'q')
      await protocol.publish('unsettled', '', 'q')
      await protocol.publish('settled', '', 'q')
      await turn()
      assert.deepEqual(outcomes(traced), ['unsettled with an error', 'rejected with an error'])
    }))

  it('of loops and next() lasts from the hand-over until the message is settled', () =>
    scene(async ({ clock, protocol }) => {
      for (const body of ['a', 'b', 'c', 'd']) await protocol.publish(body, '', 'q')
      const traced = record<ProcessContext>('process')
      const consumer = await protocol.consumer('q')
      const { value: taken } = await consumer.next()
      assert.deepEqual(traced.events, ['start end'])
      taken?.reject()
      await turn()
      assert.deepEqual(outcomes(traced), ['rejected'])
      await consumer.next()
      const loop = consumer[Symbol.asyncIterator]()
      await loop.next()
      await loop.next()
      await turn()
      assert.deepEqual(
        traced.contexts.map(({ kind, outcome }) => `${kind} ${outcome}`),
        ['next rejected', 'next undefined', 'loop acked', 'loop undefined'],
      )
      await clock.until(consumer.close({ timeout: 50 }))
      await clock.advance(100)
      await turn()
      assert.deepEqual(outcomes(traced), ['rejected', 'requeued', 'acked', 'requeued'])
    }))
})
