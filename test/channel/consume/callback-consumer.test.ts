import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Acker } from '../../../src/channel/consume/acker.ts'
import { CallbackConsumer, type CallbackConsumerOptions } from '../../../src/channel/consume/callback-consumer.ts'
import type { Envelope } from '../../../src/channel/consume/delivery.ts'
import { decodeMethod } from '../../../src/protocol/method-codec.ts'
import { BasicNack } from '../../../src/protocol/methods.ts'
import { Properties } from '../../../src/protocol/received-properties.ts'
import { FakeChannelPort } from '../../support/fake-channel-port.ts'
import { follow, turn } from '../../support/settled.ts'

const SETTLEMENT_FRAME = 7 + 13 + 1
const PROPERTIES = Properties.read(Buffer.from([0, 0]), 0, 2)

class Fixture {
  readonly port = new FakeChannelPort()
  readonly acker = new Acker(this.port, 1, 0)
  /** Delivery tags in the order of the callbacks. */
  readonly called: number[] = []
  readonly #release: (() => void)[] = []
  readonly #givenBack: number[] = []
  readonly consumer: CallbackConsumer<undefined>
  /** What a callback returns or throws. */
  answer: (tag: number) => unknown = () => undefined

  constructor(options: Partial<CallbackConsumerOptions<undefined>> = {}) {
    this.consumer = new CallbackConsumer({
      queueName: 'q',
      noAck: false,
      concurrency: Number.POSITIVE_INFINITY,
      channel: undefined,
      callback: (_channel, _body, { deliveryTag }) => {
        this.called.push(deliveryTag)
        return this.answer(deliveryTag)
      },
      ...options,
    })
    this.consumer.attach(this.acker)
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
      this.consumer.deliver(Buffer.alloc(100), envelope, PROPERTIES)
    }
  }

  /** The delivery tags of the nacks that were written. */
  givenBack(): number[] {
    const written = Buffer.concat(this.port.writer.take())
    for (let at = 0; at < written.length; at += SETTLEMENT_FRAME) {
      const { method, args } = decodeMethod(written, at + 7, at + SETTLEMENT_FRAME - 1)
      assert.equal(method, BasicNack)
      assert.equal(args['requeue'], true)
      this.#givenBack.push(Number(args['deliveryTag']))
    }
    return this.#givenBack
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
  it('calls no callback before basicConsume has resolved, then in the order of delivery', () => {
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

  it('gives back what no callback has seen when it ends, and calls none after that', async () => {
    const fixture = new Fixture({ concurrency: 1 })
    fixture.hold()
    fixture.consumer.start()
    fixture.offer(1, 2, 3)
    fixture.consumer.cancelled()
    assert.deepEqual(fixture.givenBack(), [2, 3])
    assert.equal(fixture.port.heldBytes, 0)
    fixture.release()
    fixture.offer(4)
    await turn()
    assert.deepEqual(fixture.called, [1])
    assert.deepEqual(fixture.givenBack(), [2, 3, 4], 'what still comes goes back, too')
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
    fixture.consumer.cancelled()
    await turn()
    assert.equal(idle.state, 'pending')
    fixture.release()
    await turn()
    assert.equal(idle.state, 'resolved')
  })

  it('starts no callback with a delivery of a lost connection, and goes on with the next', async () => {
    const fixture = new Fixture({ concurrency: 1 })
    fixture.hold()
    fixture.consumer.start()
    fixture.offer(1, 2)
    fixture.consumer.lost()
    assert.equal(fixture.port.heldBytes, 0)
    fixture.release()
    await turn()
    assert.deepEqual(fixture.called, [1])
    const next = new FakeChannelPort()
    fixture.consumer.attach(new Acker(next, 1, 2))
    fixture.offer(11, 12)
    assert.ok(next.heldBytes > 0)
    assert.deepEqual(fixture.called, [1, 11])
  })

  it('runs all that arrived without acks, after a lost connection and after a cancel', async () => {
    const fixture = new Fixture({ concurrency: 1, noAck: true })
    fixture.hold()
    fixture.consumer.start()
    fixture.offer(1, 2, 3)
    fixture.consumer.lost()
    const next = new FakeChannelPort()
    fixture.consumer.attach(new Acker(next, 1, 3))
    assert.equal(fixture.port.heldBytes, 0)
    assert.ok(next.heldBytes > 0, 'it counts on the connection there is')
    fixture.release()
    await turn()
    fixture.consumer.cancelled()
    fixture.release()
    await turn()
    assert.deepEqual(fixture.called, [1, 2, 3])
    assert.equal(next.heldBytes, 0)
  })

  it('drops what arrived if it is not wanted', async () => {
    const fixture = new Fixture({ noAck: true })
    fixture.offer(1, 2)
    fixture.consumer.discard()
    assert.equal(fixture.port.heldBytes, 0)
    fixture.offer(3)
    fixture.consumer.start()
    assert.equal(fixture.port.heldBytes, 0)
    assert.deepEqual(fixture.called, [])
    await fixture.consumer.idle()
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
