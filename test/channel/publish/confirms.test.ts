import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { ReturnedMessage } from '../../../src/channel/consume/delivery.ts'
import { Confirms, type PendingPublish } from '../../../src/channel/publish/confirms.ts'
import { ChannelClosedError, MessageReturnedError, PublishFailedError } from '../../../src/errors.ts'
import { Properties } from '../../../src/protocol/received-properties.ts'
import { rejection } from '../../support/rejection.ts'
import { follow, type Outcome, turn } from '../../support/settled.ts'

class Fixture {
  readonly confirms: Confirms
  /** Operations that wait for the broker. */
  awaiting = 0
  keepsNacked = false

  constructor(offset = 0) {
    this.confirms = new Confirms(offset, {
      makeNackError: tag => new PublishFailedError(`nack ${tag}`, { deliveryTag: tag }),
      makeReturnError: (tag, _publish, { body, envelope, properties }) =>
        new MessageReturnedError(`returned ${tag}`, { ...envelope, body, envelope, properties }),
      keepsNacked: () => this.keepsNacked,
      settled: count => {
        this.awaiting -= count
      },
    })
  }

  /** Publish to the default exchange; with a payload it is mandatory. */
  publish(details: Details = {}): Outcome<void> & { readonly entry: PendingPublish } {
    const { routingKey = 'q', messageId, payload } = details
    const [resolvers, promise] = withResolvers()
    const entry: PendingPublish = {
      exchange: '',
      routingKey,
      mandatory: payload !== undefined,
      properties: messageId === undefined ? undefined : { messageId },
      payload,
      returned: undefined,
      ...resolvers,
    }
    this.confirms.add(entry)
    this.awaiting++
    return Object.assign(follow(promise), { entry })
  }
}

interface Details {
  readonly routingKey?: string
  readonly messageId?: string
  readonly payload?: Uint8Array | string
}

function withResolvers(): [{ resolve: () => void; reject: (error: Error) => void }, Promise<void>] {
  let resolvers = { resolve: (): void => {}, reject: (_error: Error): void => {} }
  const promise = new Promise<void>((resolve, reject) => {
    resolvers = { resolve, reject }
  })
  return [resolvers, promise]
}

function returned(body: string, routingKey = 'q', messageId?: string): ReturnedMessage {
  const list = messageId === undefined ? [0, 0] : [0, 0x80, messageId.length, ...Buffer.from(messageId)]
  return {
    body: Buffer.from(body),
    envelope: { replyCode: 312, replyText: 'NO_ROUTE', exchangeName: '', routingKey },
    properties: Properties.read(Buffer.from(list), 0, list.length),
  }
}

describe('Confirms', () => {
  it('settle one publish by its tag', async () => {
    const fixture = new Fixture()
    const [a, b] = [fixture.publish(), fixture.publish()]
    fixture.confirms.settle(2, false, true)
    await turn()
    assert.deepEqual([a.state, b.state], ['pending', 'resolved'])
    assert.equal(fixture.awaiting, 1)
  })

  it('settle a range with multiple, and everything with tag 0', async () => {
    const fixture = new Fixture()
    const all = Array.from({ length: 5 }, () => fixture.publish())
    fixture.confirms.settle(3, true, true)
    await turn()
    assert.deepEqual(
      all.map(({ state }) => state),
      ['resolved', 'resolved', 'resolved', 'pending', 'pending'],
    )
    fixture.confirms.settle(0, true, true)
    await turn()
    assert.ok(all.every(({ state }) => state === 'resolved'))
    assert.equal(fixture.confirms.unsettled, 0)
    assert.equal(fixture.awaiting, 0)
  })

  it('reject with the tag that was nacked', async () => {
    const fixture = new Fixture(100)
    const publish = fixture.publish()
    fixture.confirms.settle(101, false, false)
    await turn()
    assert.ok(publish.error instanceof PublishFailedError)
    assert.equal(publish.error.deliveryTag, 101)
  })

  it('ignore tags that were never given or are settled already', async () => {
    const fixture = new Fixture()
    const publish = fixture.publish()
    for (const tag of [0, 2, 1000, Number.MAX_SAFE_INTEGER]) fixture.confirms.settle(tag, false, true)
    fixture.confirms.settle(2, true, true)
    await turn()
    assert.equal(publish.state, 'pending')
    fixture.confirms.settle(1, false, true)
    fixture.confirms.settle(1, false, false)
    fixture.confirms.settle(1, true, false)
    await turn()
    assert.equal(publish.state, 'resolved')
    assert.equal(fixture.awaiting, 0)
  })

  it('settle as a map of tags would, for any order of publishes and settlements', async () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 400 }), awaited: fc.boolean() }) },
      { weight: 4, arbitrary: fc.record({ tag: fc.nat(3000), multiple: fc.boolean(), acked: fc.boolean() }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.nat(50), async (steps, offset) => {
        const fixture = new Fixture(offset)
        const outcomes = new Map<number, Outcome<void>>()
        const expected = new Map<number, string>()
        let next = offset + 1
        for (const each of steps) {
          if ('publish' in each) {
            for (let i = 0; i < each.publish; i++) {
              if (each.awaited) outcomes.set(next, fixture.publish())
              else fixture.confirms.add(undefined)
              assert.equal(fixture.confirms.lastTag, next)
              expected.set(next++, 'pending')
            }
          } else {
            // Most of them near what is unsettled.
            const tag = each.tag % (next + 5)
            fixture.confirms.settle(tag, each.multiple, each.acked)
            const from = each.multiple ? offset + 1 : tag
            const to = each.multiple && tag === 0 ? next - 1 : tag
            if (to >= next) continue
            for (let one = from; one <= to; one++) {
              if (expected.get(one) === 'pending') expected.set(one, each.acked ? 'resolved' : 'rejected')
            }
          }
        }
        await turn()
        for (const [tag, { state }] of outcomes) assert.equal(state, expected.get(tag), `tag ${tag}`)
        const pending = [...outcomes.values()].filter(({ state }) => state === 'pending').length
        assert.equal(fixture.awaiting, pending)
        assert.equal(
          fixture.confirms.failAll(
            tag => new ChannelClosedError(`tag ${tag}`),
            () => new ChannelClosedError('wait'),
          ),
          pending,
        )
        await turn()
        assert.ok([...outcomes.values()].every(({ state }) => state !== 'pending'))
        assert.equal(fixture.awaiting, 0)
      }),
      { numRuns: 60 },
    )
  })

  it('wait for what was published so far, and no more', async () => {
    const fixture = new Fixture()
    fixture.confirms.add(undefined)
    const waiting = follow(fixture.confirms.wait(undefined))
    fixture.confirms.add(undefined)
    await turn()
    assert.equal(waiting.state, 'pending')
    fixture.confirms.settle(1, false, true)
    await turn()
    assert.equal(waiting.state, 'resolved')
    assert.equal(fixture.awaiting, 0)
  })

  it('wait rejects once for a nack since the last wait, also of a publish nobody awaited', async () => {
    const fixture = new Fixture()
    fixture.confirms.add(undefined)
    fixture.confirms.add(undefined)
    fixture.confirms.settle(2, true, false)
    await rejection(fixture.confirms.wait(undefined), PublishFailedError)
    await fixture.confirms.wait(undefined)
  })

  it('reject a mandatory message that came back when it is confirmed, and no other', async () => {
    const fixture = new Fixture()
    const all = ['a', 'b', 'c'].map(payload => fixture.publish({ payload }))
    const message = returned('b')
    assert.ok(fixture.confirms.matchReturn(message) !== undefined)
    await turn()
    assert.equal(all[1]?.state, 'pending')
    fixture.confirms.settle(3, true, true)
    await turn()
    assert.deepEqual(
      all.map(({ state }) => state),
      ['resolved', 'rejected', 'resolved'],
    )
    const { error } = all[1] ?? {}
    assert.ok(error instanceof MessageReturnedError)
    assert.equal(error.body, message.body)
  })

  it('tell returns apart by exchange, routing key, message id and body, and give twins theirs in order', async () => {
    const fixture = new Fixture()
    const publishes = [
      fixture.publish({ payload: 'x', routingKey: 'a' }),
      fixture.publish({ payload: 'x', routingKey: 'b', messageId: 'm1' }),
      fixture.publish({ payload: 'x', routingKey: 'b', messageId: 'm2' }),
      fixture.publish({ payload: Buffer.from('y'), routingKey: 'b', messageId: 'm2' }),
      fixture.publish({ payload: 'twin', routingKey: 'c' }),
      fixture.publish({ payload: 'twin', routingKey: 'c' }),
    ]
    fixture.confirms.matchReturn(returned('x', 'b', 'm2'))
    fixture.confirms.matchReturn(returned('y', 'b', 'm2'))
    fixture.confirms.matchReturn(returned('twin', 'c'))
    assert.equal(fixture.confirms.matchReturn(returned('x', 'd')), undefined)
    fixture.confirms.settle(0, true, true)
    await turn()
    assert.deepEqual(
      publishes.map(({ state }) => state),
      ['resolved', 'resolved', 'rejected', 'rejected', 'rejected', 'resolved'],
    )
  })

  it('go on counting behind a publish that is abandoned', async () => {
    const fixture = new Fixture()
    const abandoned = fixture.publish()
    const next = fixture.publish()
    fixture.confirms.abandon(abandoned.entry, new ChannelClosedError('given up'))
    await turn()
    assert.equal(abandoned.state, 'rejected')
    fixture.confirms.settle(1, false, true)
    await turn()
    assert.equal(next.state, 'pending')
    fixture.confirms.settle(2, false, true)
    await turn()
    assert.equal(next.state, 'resolved')
    assert.equal(fixture.awaiting, 0)
  })

  it('keep what was nacked with the unsettled, in order, whatever a later ack includes', async () => {
    const fixture = new Fixture(10)
    const publishes = [1, 2, 3, 4, 5].map(() => fixture.publish())
    const [first, second, third, fourth, fifth] = publishes
    fixture.keepsNacked = true
    fixture.confirms.settle(14, false, false)
    fixture.confirms.settle(12, false, false)
    fixture.confirms.settle(13, true, true)
    await turn()
    assert.deepEqual(
      publishes.map(({ state }) => state),
      ['resolved', 'pending', 'resolved', 'pending', 'pending'],
    )
    assert.equal(fixture.confirms.unsettled, 3, 'two nacked, and the last')
    assert.ok(second !== undefined && fourth !== undefined)
    fixture.confirms.abandon(second.entry, new ChannelClosedError('given up'))
    assert.deepEqual(fixture.confirms.takeAll(), [second.entry, fourth.entry, fifth?.entry])
    assert.equal(fixture.awaiting, 0)
    assert.equal(fixture.confirms.unsettled, 0)
    assert.deepEqual([first?.state, third?.state], ['resolved', 'resolved'])
  })

  it('reject everything, and tell a message that came back apart', async () => {
    const fixture = new Fixture(10)
    const [plain, back] = [fixture.publish(), fixture.publish({ payload: 'x' })]
    const waiting = follow(fixture.confirms.wait(undefined))
    fixture.confirms.matchReturn(returned('x'))
    const rejected = fixture.confirms.failAll(
      tag => new ChannelClosedError(`tag ${tag}`),
      () => new ChannelClosedError('waiter'),
    )
    await turn()
    assert.equal(rejected, 3)
    assert.equal(plain.error?.message, 'tag 11')
    assert.ok(back.error instanceof MessageReturnedError)
    assert.equal(waiting.error?.message, 'waiter')
    assert.equal(fixture.awaiting, 0)
    assert.equal(fixture.confirms.lastTag, 12)
  })
})
