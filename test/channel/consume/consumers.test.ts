import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Consumer, type ConsumerOptions } from '../../../src/channel/consume/consumers.ts'
import type { Envelope } from '../../../src/channel/consume/delivery.ts'
import { Properties } from '../../../src/protocol/received-properties.ts'
import { FakeChannelPort } from '../../support/fake-channel-port.ts'
import { follow, turn } from '../../support/settled.ts'

const PROPERTIES = Properties.read(Buffer.from([0, 0]), 0, 2)

class Fixture {
  readonly port = new FakeChannelPort()
  /** Delivery tags in the order of the callbacks. */
  readonly called: number[] = []
  readonly #release: (() => void)[] = []
  readonly consumer: Consumer
  /** What a callback returns or throws. */
  answer: (tag: number) => unknown = () => undefined

  constructor(options: Partial<ConsumerOptions> = {}) {
    this.consumer = new Consumer('c', {
      queueName: 'q',
      noAck: false,
      concurrency: Number.POSITIVE_INFINITY,
      deliver: (_body, { deliveryTag }) => {
        this.called.push(deliveryTag)
        return this.answer(deliveryTag)
      },
      ...options,
    })
    this.consumer.attach(this.port)
  }

  offer(...tags: number[]): void {
    for (const deliveryTag of tags) {
      const envelope: Envelope = {
        consumerTag: 'c',
        deliveryTag,
        exchangeName: '',
        routingKey: 'q',
        isRedeliver: false,
      }
      this.consumer.offer(Buffer.alloc(100), envelope, PROPERTIES)
    }
  }

  /** Callbacks that end when `release` is called, in order. */
  hold(): void {
    this.answer = () => new Promise<void>(resolve => this.#release.push(resolve))
  }

  release(): void {
    this.#release.shift()?.()
  }
}

describe('Consumer', () => {
  it('calls nobody before basicConsume has resolved, then in the order of delivery', () => {
    const fixture = new Fixture()
    fixture.offer(1, 2)
    assert.deepEqual(fixture.called, [])
    assert.ok(fixture.port.heldBytes >= 200)
    fixture.consumer.start()
    fixture.offer(3)
    assert.deepEqual(fixture.called, [1, 2, 3])
    assert.equal(fixture.port.heldBytes, 0)
  })

  it('does not wait for a callback before it calls the next', () => {
    const fixture = new Fixture()
    fixture.hold()
    fixture.consumer.start()
    fixture.offer(1, 2, 3)
    assert.deepEqual(fixture.called, [1, 2, 3])
  })

  it('runs no more callbacks at a time than concurrency says', async () => {
    const fixture = new Fixture({ concurrency: 2 })
    fixture.hold()
    fixture.consumer.start()
    fixture.offer(1, 2, 3, 4)
    assert.deepEqual(fixture.called, [1, 2])
    fixture.release()
    await turn()
    assert.deepEqual(fixture.called, [1, 2, 3])
    assert.ok(fixture.port.heldBytes > 0)
    fixture.release()
    await turn()
    assert.deepEqual(fixture.called, [1, 2, 3, 4])
    assert.equal(fixture.port.heldBytes, 0)
  })

  it('keeps the order with concurrency 1 when callbacks end at once', () => {
    const fixture = new Fixture({ concurrency: 1 })
    fixture.consumer.start()
    fixture.offer(1, 2, 3)
    assert.deepEqual(fixture.called, [1, 2, 3])
  })

  it('reports what a callback throws or rejects with, and goes on', async () => {
    const fixture = new Fixture({ concurrency: 1 })
    fixture.answer = tag => {
      if (tag === 1) throw new Error('thrown')
      return tag === 2 ? Promise.reject(new Error('rejected')) : undefined
    }
    fixture.consumer.start()
    fixture.offer(1, 2, 3)
    await turn()
    assert.deepEqual(fixture.called, [1, 2, 3])
    assert.deepEqual(
      fixture.port.reported.map(error => (error as Error).message),
      ['thrown', 'rejected'],
    )
  })

  it('gives back what no callback has seen when it ends, and calls nobody after that', async () => {
    const fixture = new Fixture({ concurrency: 1 })
    fixture.hold()
    fixture.consumer.start()
    fixture.offer(1, 2, 3)
    const dropped = fixture.consumer.end()
    assert.deepEqual(
      dropped.map(({ deliveryTag }) => deliveryTag),
      [2, 3],
    )
    assert.equal(fixture.port.heldBytes, 0)
    fixture.release()
    await turn()
    assert.deepEqual(fixture.called, [1])
    assert.equal(fixture.consumer.ended, true)
  })

  it('is idle when no callback runs and none is to run', async () => {
    const fixture = new Fixture({ concurrency: 1 })
    fixture.hold()
    fixture.consumer.start()
    await fixture.consumer.idle()
    fixture.offer(1, 2)
    const idle = follow(fixture.consumer.idle())
    fixture.release()
    await turn()
    assert.equal(idle.state, 'pending')
    fixture.release()
    await turn()
    assert.equal(idle.state, 'resolved')
  })

  it('becomes idle when it ends, once the callback that runs has ended', async () => {
    const fixture = new Fixture({ concurrency: 1 })
    fixture.hold()
    fixture.consumer.start()
    fixture.offer(1, 2)
    const idle = follow(fixture.consumer.idle())
    fixture.consumer.end()
    await turn()
    assert.equal(idle.state, 'pending')
    fixture.release()
    await turn()
    assert.equal(idle.state, 'resolved')
  })

  it('drops what came by an earlier connection, and waits to be started again', () => {
    const fixture = new Fixture({ concurrency: 1 })
    fixture.hold()
    fixture.consumer.start()
    fixture.offer(1, 2)
    const next = new FakeChannelPort()
    fixture.consumer.attach(next)
    assert.equal(fixture.port.heldBytes, 0)
    fixture.offer(11)
    assert.ok(next.heldBytes > 0)
    assert.deepEqual(fixture.called, [1])
  })

  it('takes a thenable for a promise', async () => {
    const fixture = new Fixture({ concurrency: 1 })
    // biome-ignore lint/suspicious/noThenProperty: what this test is about.
    fixture.answer = () => ({ then: (resolve: () => void) => setImmediate(resolve) })
    fixture.consumer.start()
    fixture.offer(1, 2)
    assert.deepEqual(fixture.called, [1])
    await turn()
    assert.deepEqual(fixture.called, [1, 2])
  })
})
