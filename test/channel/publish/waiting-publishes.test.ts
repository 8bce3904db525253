import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { boundPublish, type WaitingPublish, WaitingPublishes } from '../../../src/channel/publish/waiting-publishes.ts'
import { AbortError, type AmqpError, BufferFullError, ChannelClosedError, TimeoutError } from '../../../src/errors.ts'
import { FakeChannelPort } from '../../support/fake-channel-port.ts'
import { follow, type Outcome, turn } from '../../support/settled.ts'

function waiting(routingKey: string): { readonly publish: WaitingPublish; readonly outcome: Outcome<void> } {
  let publish: WaitingPublish | undefined
  const outcome = follow(
    new Promise<void>((resolve, reject) => {
      publish = {
        payload: '',
        exchange: '',
        routingKey,
        properties: undefined,
        mandatory: false,
        pending: undefined,
        resolve,
        reject,
      }
    }),
  )
  assert.ok(publish !== undefined)
  return { publish, outcome }
}

describe('WaitingPublishes', () => {
  it('write in the order they came, as long as it is allowed', () => {
    const queue = new WaitingPublishes(10)
    for (const key of ['a', 'b', 'c']) queue.add(waiting(key).publish, () => key)
    const written: string[] = []
    queue.drain(
      () => written.length < 2,
      ({ routingKey }) => written.push(routingKey),
    )
    assert.deepEqual(written, ['a', 'b'])
    assert.equal(queue.length, 1)
    queue.drain(
      () => true,
      ({ routingKey }) => written.push(routingKey),
    )
    assert.deepEqual(written, ['a', 'b', 'c'])
  })

  it('refuse more than maxWaiting, by name, as not sent', () => {
    const queue = new WaitingPublishes(1)
    queue.add(waiting('a').publish, () => 'a')
    assert.throws(
      () => queue.add(waiting('b').publish, () => 'publish of b'),
      (error: unknown) =>
        error instanceof BufferFullError &&
        error.outcome === 'notSent' &&
        error.message === 'publish of b was refused: 1 publishes wait already, the limit set by maxWaiting',
    )
    assert.equal(queue.length, 1)
  })

  it('tell when none waits, however the last one went', async () => {
    const queue = new WaitingPublishes(10)
    await queue.empty()
    for (const end of [
      () =>
        queue.drain(
          () => true,
          () => {},
        ),
      (publish: WaitingPublish) => assert.equal(queue.remove(publish), true),
      () => queue.takeAll(),
      () => queue.failAll(() => new ChannelClosedError('over')),
    ]) {
      const { publish } = waiting('a')
      queue.add(publish, () => 'a')
      const empty = follow(queue.empty())
      await turn()
      assert.equal(empty.state, 'pending')
      end(publish)
      await turn()
      assert.equal(empty.state, 'resolved')
    }
  })

  it('are removed once', () => {
    const queue = new WaitingPublishes(10)
    const { publish } = waiting('a')
    queue.add(publish, () => 'a')
    assert.equal(queue.remove(publish), true)
    assert.equal(queue.remove(publish), false)
  })

  it('reject all, each with an error of its own', async () => {
    const queue = new WaitingPublishes(10)
    const all = ['a', 'b'].map(waiting)
    for (const { publish } of all) queue.add(publish, () => '')
    assert.equal(
      queue.failAll(({ routingKey }) => new ChannelClosedError(routingKey)),
      2,
    )
    await turn()
    assert.deepEqual(
      all.map(({ outcome }) => outcome.error?.message),
      ['a', 'b'],
    )
  })
})

describe('boundPublish', () => {
  function bound(outcome: 'notSent' | 'unknown', signal?: AbortSignal, timeout?: number) {
    const port = new FakeChannelPort()
    const errors: AmqpError[] = []
    const unbind = boundPublish(
      signal,
      timeout,
      (ms, expired) => port.after(ms, expired),
      () => 'publish',
      makeError => errors.push(makeError(outcome) as AmqpError),
    )
    return { port, errors, unbind }
  }

  it('says of a message that it was not sent, or not confirmed', () => {
    for (const [outcome, text] of [
      ['notSent', 'publish was not sent within 50 ms'],
      ['unknown', 'publish was not confirmed within 50 ms'],
    ] as const) {
      const { port, errors } = bound(outcome, undefined, 50)
      port.running[0]?.expire()
      assert.ok(errors[0] instanceof TimeoutError)
      assert.equal(errors[0].message, text)
      assert.equal(errors[0].outcome, outcome)
    }
  })

  it('ends at the abort of its signal, and not after it was unbound', () => {
    const abort = new AbortController()
    const { errors } = bound('unknown', abort.signal)
    const other = bound('unknown', abort.signal, 50)
    other.unbind()
    abort.abort()
    assert.ok(errors[0] instanceof AbortError)
    assert.equal(errors[0].outcome, 'unknown')
    assert.deepEqual(other.errors, [])
    assert.equal(other.port.running.length, 0)
  })

  it('arms nothing where there is no bound', () => {
    assert.equal(bound('unknown').port.deadlines.length, 0)
  })
})
