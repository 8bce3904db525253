import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { type ConnectOptions, connect, TimeoutError } from '../../../src/index.ts'
// Loaded later, it would come by the machine's time.
import '../../../src/patterns/consume/failure-copies.ts'
import { startBroker } from '../../../src/testing/index.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

/** A consumer whose handler fails, `when` that is so, on a clock of the test's. */
async function failing(t: TestContext, options: ConnectOptions = {}, when?: Promise<void>) {
  const clock = new VirtualClock()
  const broker = await startBroker({ clock })
  const errors: Error[] = []
  const protocol = await connect({ ...broker.inMemory, clock, onError: error => errors.push(error), ...options })
  t.after(async () => {
    await clock.until(protocol.close())
    await broker.stop()
  })
  await clock.until(protocol.queueDeclare('q'))
  const attempts: string[] = []
  await clock.until(
    protocol.consumer(
      'q',
      message => {
        attempts.push(`${message.text()} ${message.attempt}`)
        const fail = () => {
          throw new Error('no use')
        }
        return when === undefined ? fail() : when.then(fail)
      },
      { onFailure: { retries: 1, delays: [1_000], otherwise: 'drop' } },
    ),
  )
  const publish = (body: string) => protocol.publish(body, '', 'q')
  return { clock, broker, errors, attempts, publish }
}

describe('A queue in which failed messages wait', () => {
  it('has a substitute if it confirms nothing', async t => {
    const { clock, broker, errors, attempts, publish } = await failing(t)
    broker.withholdConfirms()
    const published = publish('bad')
    await clock.advance(29_000)
    assert.deepEqual(broker.queueNames(), ['q', 'q.retry.1000'])
    assert.equal(broker.queue('q').unacked.length, 1, 'nobody knows whether the copy is safe')
    await clock.advance(1_500)
    assert.ok(errors.some(error => error instanceof TimeoutError))
    broker.releaseConfirms()
    await published
    await clock.advance(3_000)
    assert.deepEqual(broker.queueNames(), ['q', 'q.retry.1000', 'q.retry.1000.2'])
    assert.deepEqual(attempts.slice(-2), ['bad 1', 'bad 2'])
    assert.equal(broker.queue('q').unacked.length, 0)
    // From then on that is the one.
    void publish('worse')
    await clock.advance(100)
    assert.equal(broker.queue('q.retry.1000.2').ready.length, 1)
  })

  it('has none since the broker takes no publishes for long: the message waits for that, unacked', async t => {
    let fail = (): void => {}
    const when = new Promise<void>(resolve => {
      fail = resolve
    })
    const { clock, broker, errors, attempts, publish } = await failing(t, {}, when)
    await clock.until(publish('bad'))
    broker.block('low on disk')
    fail()
    await clock.advance(600_000)
    assert.deepEqual(broker.queueNames(), ['q', 'q.retry.1000'])
    assert.deepEqual([attempts, broker.queue('q').unacked.length], [['bad 1'], 1])
    assert.ok(!errors.some(error => error instanceof TimeoutError))
    broker.unblock()
    await clock.advance(1_000)
    assert.deepEqual(attempts, ['bad 1', 'bad 2'])
    assert.equal(broker.queue('q').unacked.length, 0)
    assert.deepEqual(broker.queueNames(), ['q', 'q.retry.1000'])
  })

  it('keeps the message in its own queue, too, while a broker that is killed would forget the new queue', async t => {
    const { clock, broker, attempts, publish } = await failing(t)
    void publish('bad')
    await clock.advance(2_400)
    assert.deepEqual(attempts, ['bad 1', 'bad 2'])
    assert.equal(broker.queue('q').unacked.length, 1)
    await clock.advance(200)
    assert.equal(broker.queue('q').unacked.length, 0)
    void publish('worse')
    await clock.advance(100)
    assert.equal(broker.queue('q').unacked.length, 0, 'the queue is no longer new')
    assert.equal(broker.queue('q.retry.1000').ready.length, 1)
  })

  it('is given up after 30 s if there is no channel to make it by: the message is requeued', async t => {
    const { clock, broker, errors, attempts } = await failing(t, { channelMax: 1 })
    await using other = await connect({ ...broker.inMemory, clock })
    await clock.until(other.publish('bad', '', 'q'))
    await clock.advance(29_000)
    assert.equal(attempts.length, 1)
    await clock.advance(5_000)
    assert.ok(
      errors.some(error => error instanceof TimeoutError && /queue\.declare of "q\.retry\.1000"/.test(error.message)),
    )
    assert.deepEqual(attempts.slice(0, 2), ['bad 1', 'bad 1'])
    await clock.until(other.close())
  })
})
