import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { CloseReason } from '../../../src/channel/close-reason.ts'
import type { ReturnedMessage } from '../../../src/channel/consume/delivery.ts'
import { ConfirmWindow, type PublishOwner } from '../../../src/channel/publish/confirm-window.ts'
import { type PendingPublish, pendingPublish, promiseOf } from '../../../src/channel/publish/message.ts'
import {
  AbortError,
  ChannelClosedError,
  EncodeError,
  MessageReturnedError,
  ProtocolError,
  PublishFailedError,
  TimeoutError,
} from '../../../src/errors.ts'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../../../src/protocol/properties.ts'
import { Properties } from '../../../src/protocol/received-properties.ts'
import { Writer } from '../../../src/protocol/writer.ts'
import { FakeChannelPort } from '../../support/fake-channel-port.ts'
import { keptByRound } from '../../support/heap.ts'
import { rejection } from '../../support/rejection.ts'
import { follow, type Outcome, turn } from '../../support/settled.ts'

const BASIC_PUBLISH = 0x003c0028

interface Details {
  readonly routingKey?: string
  readonly properties?: BasicProperties
  /** With one, the message is mandatory. */
  readonly payload?: Uint8Array | string
}

type Published = Outcome<void> & { readonly publish: PendingPublish }

class Fixture {
  readonly port = new FakeChannelPort()
  readonly window: ConfirmWindow

  constructor(offset = 0) {
    this.window = new ConfirmWindow(this.port, 1, offset)
    this.window.startCounting()
  }

  publish({ routingKey = 'q', properties, payload }: Details = {}): Published {
    const publish = pendingPublish(payload ?? '', '', routingKey, properties, payload !== undefined, true)
    const outcome = follow(promiseOf(publish))
    assert.equal(this.window.write(publish), true)
    return Object.assign(outcome, { publish })
  }

  /** Publish like a caller that does not wait for the confirm. */
  forget(): void {
    void this.window.send('', '', 'q', undefined, false)
  }

  keep(owner: Partial<PublishOwner>): void {
    this.window.ownedBy({ progressed: () => {}, nacked: () => false, ended: () => {}, ...owner })
  }
}

function states(publishes: readonly Published[]): string[] {
  return publishes.map(({ state }) => state)
}

function returned(body: string | Uint8Array, routingKey = 'q', properties: BasicProperties = {}): ReturnedMessage {
  const list = Writer.encode(writer => {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    writeProperties(writer, properties)
  })
  return {
    body: Buffer.from(body as Uint8Array),
    envelope: { replyCode: 312, replyText: 'NO_ROUTE', exchangeName: '', routingKey },
    properties: Properties.read(list, 0, list.length),
  }
}

function closed(replyText?: string, scope: 'channel' | 'connection' = 'channel'): CloseReason {
  return new CloseReason({
    scope,
    error: undefined,
    ...(replyText === undefined ? {} : { replyText, methodKey: BASIC_PUBLISH }),
    makeError: (what, _atFault, outcome) => new ChannelClosedError(what, { outcome }),
  })
}

describe('a confirm window', () => {
  it('settles one publish by its tag', async () => {
    const the = new Fixture()
    const [a, b] = [the.publish(), the.publish()]
    the.window.settle(2, false, true)
    await turn()
    assert.deepEqual(states([a, b]), ['pending', 'resolved'])
    assert.equal(the.port.waiting, 1)
  })

  it('ends a wait for confirms also if the oldest of many was settled last', async () => {
    const the = new Fixture()
    for (let tag = 1; tag <= 256; tag++) the.publish()
    for (let tag = 2; tag <= 256; tag++) the.window.settle(tag, false, true)
    the.publish()
    const waiting = follow(the.window.wait({ what: 'waitForConfirms', site: undefined }))
    the.window.settle(257, false, true)
    the.window.settle(1, false, true)
    await turn()
    assert.equal(waiting.state, 'resolved')
    assert.equal(the.window.oldest, 258)
  })

  it('settles a range with multiple, and everything with tag 0', async () => {
    const the = new Fixture()
    const all = Array.from({ length: 5 }, () => the.publish())
    the.window.settle(3, true, true)
    await turn()
    assert.deepEqual(states(all), ['resolved', 'resolved', 'resolved', 'pending', 'pending'])
    the.window.settle(0, true, true)
    await turn()
    assert.ok(all.every(({ state }) => state === 'resolved'))
    assert.equal(the.window.unsettled, 0)
    assert.equal(the.port.waiting, 0)
  })

  it('rejects with the tag that was nacked', async () => {
    const the = new Fixture(100)
    const outcome = the.publish()
    the.window.settle(101, false, false)
    await turn()
    assert.ok(outcome.error instanceof PublishFailedError)
    assert.equal(outcome.error.deliveryTag, 101)
    assert.equal(outcome.error.outcome, 'refused')
  })

  it('ends promises in the order of the wire, rejected or resolved, and then those who wait for all', async () => {
    const the = new Fixture()
    const ended: string[] = []
    const publish = (name: string): void => {
      const pending = pendingPublish('', '', 'q', undefined, false, true)
      void promiseOf(pending).then(
        () => ended.push(`${name} resolved`),
        () => ended.push(`${name} rejected`),
      )
      the.window.write(pending)
    }
    publish('a')
    publish('b')
    publish('c')
    void the.window.wait({ what: 'waitForConfirms', site: undefined }).catch(() => ended.push('all rejected'))
    the.window.settle(1, false, false)
    the.window.settle(2, false, true)
    the.window.settle(3, false, false)
    await turn()
    assert.deepEqual(ended, ['a rejected', 'b resolved', 'c rejected', 'all rejected'])
  })

  it('takes the confirm of a tag that was never given, and of none, for a violation, and another one of the same for none', async () => {
    const the = new Fixture()
    const outcome = the.publish()
    for (const tag of [0, 2, 1000, Number.MAX_SAFE_INTEGER, 2 ** 53, 2 ** 64]) {
      assert.throws(() => the.window.settle(tag, false, true), ProtocolError, `${tag}`)
      assert.throws(() => the.window.settle(tag, false, false), ProtocolError, `${tag}`)
      if (tag > 0) assert.throws(() => the.window.settle(tag, true, true), ProtocolError, `${tag}`)
    }
    await turn()
    assert.equal(outcome.state, 'pending')
    the.window.settle(1, false, true)
    the.window.settle(1, false, false)
    the.window.settle(1, true, false)
    await turn()
    assert.equal(outcome.state, 'resolved')
    assert.equal(the.port.waiting, 0)
    assert.throws(() => new ConfirmWindow(the.port, 1, 0).settle(1, false, true), /but nothing was published/)
  })

  it('settles as a map of tags would, for any order of publishes and settlements', async () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ publish: fc.integer({ min: 1, max: 400 }), awaited: fc.boolean() }) },
      { weight: 4, arbitrary: fc.record({ tag: fc.nat(3000), multiple: fc.boolean(), acked: fc.boolean() }) },
      // As a broker does with a few that it cannot confirm yet.
      { weight: 2, arbitrary: fc.record({ confirmAllBut: fc.integer({ min: 2, max: 97 }) }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.nat(50), async (steps, offset) => {
        const the = new Fixture(offset)
        const outcomes = new Map<number, Published>()
        const expected = new Map<number, string>()
        let next = offset + 1
        const settle = (tag: number, multiple: boolean, acked: boolean): void => {
          the.window.settle(tag, multiple, acked)
          const to = tag === 0 ? next - 1 : tag
          for (let one = multiple ? offset + 1 : tag; one <= to; one++) {
            if (expected.get(one) === 'pending') expected.set(one, acked ? 'resolved' : 'rejected')
          }
        }
        for (const each of steps) {
          if ('publish' in each) {
            for (let i = 0; i < each.publish; i++) {
              if (each.awaited) outcomes.set(next, the.publish())
              else the.forget()
              assert.equal(the.window.lastTag, next)
              expected.set(next++, 'pending')
            }
          } else if ('confirmAllBut' in each) {
            for (let tag = offset + 1; tag < next; tag++) if (tag % each.confirmAllBut !== 0) settle(tag, false, true)
          } else {
            const tag = each.tag % next
            if (tag > offset || (tag === 0 && each.multiple)) settle(tag, each.multiple, each.acked)
          }
          assert.equal(the.window.unsettled, [...expected.values()].filter(state => state === 'pending').length)
          const [oldest = next] = [...expected].find(([, state]) => state === 'pending') ?? []
          assert.equal(the.window.oldest, oldest)
        }
        await turn()
        for (const [tag, { state }] of outcomes) assert.equal(state, expected.get(tag), `tag ${tag}`)
        assert.equal(the.port.waiting, [...outcomes.values()].filter(({ state }) => state === 'pending').length)
        the.window.fail(closed())
        await turn()
        assert.ok([...outcomes.values()].every(({ state }) => state !== 'pending'))
        assert.equal(the.port.waiting, 0)
      }),
      { numRuns: 60 },
    )
  })

  it('needs memory for unconfirmed messages, and not for all that were published after them', async () => {
    const the = new Fixture()
    the.forget()
    const bytes = await keptByRound(() => {
      for (let i = 0; i < 500_000; i++) {
        the.forget()
        the.port.writer.take()
        the.port.writer.reuse()
        the.window.settle(the.window.lastTag, false, true)
      }
    })
    assert.equal(the.window.unsettled, 1)
    assert.ok(bytes < 1_000_000, `${bytes} bytes more`)
    the.window.settle(1, false, true)
    assert.equal(the.window.unsettled, 0)
  })

  it('goes on counting after a publish that is abandoned', async () => {
    const the = new Fixture()
    const [abandoned, next] = [the.publish(), the.publish()]
    the.window.abandon(abandoned.publish, new ChannelClosedError('given up'))
    await turn()
    assert.equal(abandoned.state, 'rejected')
    the.window.settle(1, false, true)
    await turn()
    assert.equal(next.state, 'pending')
    the.window.settle(2, false, true)
    await turn()
    assert.equal(next.state, 'resolved')
    assert.equal(the.port.waiting, 0)
  })

  it('writes nothing of a message that cannot be encoded, and gives it no tag', () => {
    const the = new Fixture()
    const publish = pendingPublish('', '', 'k'.repeat(256), undefined, false, true)
    assert.throws(() => the.window.write(publish), EncodeError)
    assert.equal(publish.writes, 0)
    assert.equal(the.window.lastTag, 0)
    assert.equal(the.window.unsettled, 0)
  })

  it('writes nothing while the server has stopped the channel, or the connection takes nothing', () => {
    const the = new Fixture()
    const publish = pendingPublish('', '', 'q', undefined, false, true)
    the.window.flow(false)
    assert.equal(the.window.write(publish), false)
    the.window.flow(true)
    the.port.publishable = false
    assert.equal(the.window.write(publish), false)
    assert.equal(publish.writes, 0)
    the.port.publishable = true
    assert.equal(the.window.write(publish), true)
  })
})

describe('a confirm window that ends', () => {
  it('distinguishes a message that came back', async () => {
    const the = new Fixture(10)
    const [plain, back] = [the.publish(), the.publish({ payload: 'x' })]
    the.window.returned(returned('x'))
    the.window.fail(closed())
    await turn()
    assert.match(plain.error?.message ?? '', /delivery tag 11/)
    assert.ok(back.error instanceof MessageReturnedError)
    assert.equal(the.port.waiting, 0)
    assert.equal(the.window.lastTag, 12)
  })

  it('calls a message refused if the server can only have meant that one, and else no message', async () => {
    const gone = "NOT_FOUND - no exchange 'gone' in vhost '/'"
    const user = "PRECONDITION_FAILED - user_id property set to 'a' but authenticated user was 'b'"
    const topic = "ACCESS_REFUSED - write access to topic 'k1' in exchange 'gone' in vhost '/' refused for user 'a'"
    const cases: [string, string, [string, string][], string[]][] = [
      [
        'one was to that exchange',
        gone,
        [
          ['gone', 'k'],
          ['here', 'k'],
        ],
        ['refused', 'unknown'],
      ],
      [
        'two were, and the first may be in a queue',
        gone,
        [
          ['gone', 'k'],
          ['gone', 'k'],
        ],
        ['unknown', 'unknown'],
      ],
      ['none was', gone, [['here', 'k']], ['unknown']],
      [
        'one was to that topic',
        topic,
        [
          ['gone', 'k2'],
          ['gone', 'k1'],
        ],
        ['unknown', 'refused'],
      ],
      ['the server names none, and there is one', user, [['here', 'k']], ['refused']],
      [
        'the server names none of several',
        user,
        [
          ['here', 'k'],
          ['here', 'k'],
        ],
        ['unknown', 'unknown'],
      ],
    ]
    for (const [what, replyText, targets, expected] of cases) {
      const the = new Fixture()
      const outcomes = targets.map(([exchange, key]) => {
        const publish = pendingPublish('', exchange, key, undefined, false, true)
        const outcome = follow(promiseOf(publish))
        the.window.write(publish)
        return outcome
      })
      the.window.fail(closed(replyText))
      await turn()
      assert.deepEqual(
        outcomes.map(({ error }) => (error as ChannelClosedError).outcome),
        expected,
        what,
      )
    }
  })

  it('calls none refused if it may have been one that is not awaited, another channel’s, or an earlier copy', async () => {
    const text = "NOT_FOUND - no exchange '' in vhost '/'"
    const cases: [(the: Fixture) => Published, 'channel' | 'connection'][] = [
      [
        the => {
          the.forget()
          return the.publish()
        },
        'channel',
      ],
      [the => the.publish(), 'connection'],
      [
        the => {
          const published = the.publish()
          published.publish.writes = 2
          return published
        },
        'channel',
      ],
    ]
    for (const [play, scope] of cases) {
      const the = new Fixture()
      const outcome = play(the)
      the.window.fail(closed(text, scope))
      await turn()
      assert.equal((outcome.error as ChannelClosedError).outcome, 'unknown')
    }
  })

  it('leaves unsettled messages to its owner, oldest first, nacked ones too, whatever a later ack includes', async () => {
    const the = new Fixture(10)
    let left: readonly PendingPublish[] = []
    the.keep({
      nacked: () => true,
      ended: (_window, unsettled) => {
        left = unsettled
      },
    })
    const all = [1, 2, 3, 4, 5].map(() => the.publish())
    the.window.settle(14, false, false)
    the.window.settle(12, false, false)
    the.window.settle(13, true, true)
    await turn()
    assert.deepEqual(states(all), ['resolved', 'pending', 'resolved', 'pending', 'pending'])
    assert.equal(the.window.unsettled, 3, 'two nacked, and the last')
    const [, second, , fourth, fifth] = all.map(({ publish }) => publish)
    assert.ok(second !== undefined)
    the.window.abandon(second, new ChannelClosedError('given up'))
    the.window.fail(closed())
    assert.deepEqual(left, [second, fourth, fifth])
    assert.equal(the.port.waiting, 0)
    assert.equal(the.window.unsettled, 0)
  })
})

describe('who waits for a confirm window', () => {
  it('waits for what was published so far, and no more', async () => {
    const the = new Fixture()
    the.forget()
    const waiting = follow(the.window.wait({ what: 'wait', site: undefined }))
    the.forget()
    await turn()
    assert.equal(waiting.state, 'pending')
    the.window.settle(1, false, true)
    await turn()
    assert.equal(waiting.state, 'resolved')
    assert.equal(the.port.waiting, 0)
  })

  it('hears once of a nack since the last call, also of a publish that was not awaited', async () => {
    const the = new Fixture()
    the.forget()
    the.forget()
    the.window.settle(2, true, false)
    await rejection(the.window.wait({ what: 'wait', site: undefined }), PublishFailedError)
    await the.window.wait({ what: 'wait', site: undefined })
  })

  it('hears of it together with all others who wait for it, each by an error of its own, and not of one published later', async () => {
    const the = new Fixture()
    the.forget()
    const before = follow(the.window.wait({ what: 'wait', site: undefined }))
    the.forget()
    const both = [1, 2].map(() => follow(the.window.wait({ what: 'wait', site: undefined })))
    the.window.settle(2, false, false)
    await turn()
    assert.deepEqual(
      [before, ...both].map(({ state }) => state),
      ['pending', 'pending', 'pending'],
    )
    const late = follow(the.window.wait({ what: 'wait', site: undefined }))
    the.window.settle(1, false, true)
    await turn()
    assert.equal(before.state, 'resolved')
    assert.ok([...both, late].every(({ error }) => error instanceof PublishFailedError))
    assert.notEqual(both[0]?.error, both[1]?.error)
    await the.window.wait({ what: 'wait', site: undefined })
  })

  it('hears of a loss, and if none did, in the next life', async () => {
    const the = new Fixture()
    the.forget()
    const waiting = follow(the.window.wait({ what: 'wait', site: undefined }))
    the.forget()
    the.window.fail(closed())
    await turn()
    assert.ok(waiting.error instanceof ChannelClosedError)
    const next = new ConfirmWindow(the.port, 1, the.window.lastTag, undefined, the.window.unheard)
    await rejection(next.wait({ what: 'wait', site: undefined }), ChannelClosedError)
    await next.wait({ what: 'wait', site: undefined })
  })

  it('got a loss from the call that it ended, and does not get it again', async () => {
    const the = new Fixture()
    the.forget()
    const waiting = follow(the.window.wait({ what: 'wait', site: undefined }))
    the.window.fail(closed())
    await turn()
    assert.equal(waiting.state, 'rejected')
    assert.equal(the.window.unheard, undefined)
  })

  it('gives up at a timeout or an abort, and the others go on', async () => {
    const the = new Fixture()
    the.forget()
    const abort = new AbortController()
    const timed = the.window.wait({ what: 'wait', site: undefined, timeout: 50 })
    const aborted = the.window.wait({ what: 'wait', site: undefined, signal: abort.signal })
    const other = follow(the.window.wait({ what: 'wait', site: undefined }))
    the.port.running[0]?.expire()
    abort.abort()
    await rejection(timed, TimeoutError)
    await rejection(aborted, AbortError)
    assert.equal(the.port.waiting, 1)
    the.window.settle(1, false, true)
    await turn()
    assert.equal(other.state, 'resolved')
  })
})

describe('a message that came back', () => {
  it('rejects its publish when that is confirmed, and no other', async () => {
    const the = new Fixture()
    const all = ['a', 'b', 'c'].map(payload => the.publish({ payload }))
    const message = returned('b')
    assert.equal(the.window.returned(message), true)
    await turn()
    assert.equal(all[1]?.state, 'pending')
    the.window.settle(3, true, true)
    await turn()
    assert.deepEqual(states(all), ['resolved', 'rejected', 'resolved'])
    const { error } = all[1] ?? {}
    assert.ok(error instanceof MessageReturnedError)
    assert.equal(error.body, message.body)
    assert.equal(error.outcome, 'refused')
  })

  it('is matched by routing key, content and properties, and twins get theirs in order', async () => {
    const the = new Fixture()
    const all = [
      the.publish({ payload: 'x', routingKey: 'a' }),
      the.publish({ payload: 'x', routingKey: 'b', properties: { messageId: 'm1' } }),
      the.publish({ payload: 'x', routingKey: 'b', properties: { messageId: 'm2' } }),
      the.publish({ payload: Buffer.from('y'), routingKey: 'b', properties: { messageId: 'm2' } }),
      the.publish({ payload: 'z', routingKey: 'b', properties: { headers: { n: 1 } } }),
      the.publish({ payload: 'z', routingKey: 'b', properties: { headers: { n: 2 } } }),
      the.publish({ payload: 'twin', routingKey: 'c' }),
      the.publish({ payload: 'twin', routingKey: 'c' }),
    ]
    the.window.returned(returned('x', 'b', { messageId: 'm2' }))
    the.window.returned(returned('y', 'b', { messageId: 'm2' }))
    the.window.returned(returned('z', 'b', { headers: { n: 2, timestamp_in_ms: 1 } }))
    the.window.returned(returned('twin', 'c'))
    assert.equal(the.window.returned(returned('x', 'd')), false)
    the.window.settle(0, true, true)
    await turn()
    assert.deepEqual(states(all), [
      'resolved',
      'resolved',
      'rejected',
      'rejected',
      'resolved',
      'rejected',
      'rejected',
      'resolved',
    ])
  })

  it('is known though the broker has put its own address in place of the direct reply-to', async () => {
    const the = new Fixture()
    const call = (correlationId: string): Published =>
      the.publish({ payload: 'x', properties: { replyTo: 'amq.rabbitmq.reply-to', correlationId } })
    const all = [call('1'), call('2'), call('3')]
    the.window.returned(returned('x', 'q', { replyTo: 'amq.rabbitmq.reply-to.g1h2AA.b==', correlationId: '2' }))
    the.window.settle(3, true, true)
    await turn()
    assert.deepEqual(states(all), ['resolved', 'rejected', 'resolved'])
  })

  it('that is not awaited is not taken for one that is awaited', async () => {
    const the = new Fixture()
    const first = the.publish({ payload: 'a' })
    void the.window.send('b', '', 'q', undefined, true)
    assert.equal(the.window.returned(returned('b')), false)
    the.window.settle(2, true, true)
    await turn()
    assert.equal(first.state, 'resolved')
  })

  it('is matched to the oldest publish with its exchange and routing key if it was changed on the way', async () => {
    const the = new Fixture()
    const all = [
      the.publish({ payload: 'a', routingKey: 'other' }),
      the.publish({ payload: 'a' }),
      the.publish({ payload: 'b' }),
    ]
    the.window.returned(returned('changed'))
    the.window.settle(3, true, true)
    await turn()
    assert.deepEqual(states(all), ['resolved', 'rejected', 'resolved'])
  })

  it('without its bytes, since it is too large, rejects its publish all the same', async () => {
    const the = new Fixture()
    const all = ['a', Buffer.alloc(50), 'é'].map(payload => the.publish({ payload }))
    const skipped = (size: number): ReturnedMessage => ({
      ...returned(''),
      refused: { size, reason: 'it is too large' },
    })
    assert.equal(the.window.returned(skipped(50)), true)
    assert.equal(the.window.returned(skipped(2)), true)
    the.window.settle(3, true, true)
    await turn()
    assert.deepEqual(states(all), ['resolved', 'rejected', 'rejected'])
    assert.match(all[1]?.error?.message ?? '', /came back: NO_ROUTE \(312\), no queue took it; it is too large$/)
  })

  it('costs work that grows with their number alone, as they were sent or not', () => {
    for (const [what, back] of [
      ['as sent', (i: number) => returned('x', 'q', { messageId: String(i) })],
      ['changed', () => returned('changed')],
      [
        'now this, now that',
        (i: number) => (i % 2 === 0 ? returned('changed') : returned('x', 'q', { messageId: String(i) })),
      ],
    ] as const) {
      const the = new Fixture()
      let looked = 0
      const count = 4_000
      for (let i = 0; i < count; i++) {
        const properties = {
          get messageId() {
            looked++
            return String(i)
          },
        }
        the.publish({ payload: 'x', properties })
      }
      looked = 0
      for (let i = 0; i < count; i++) assert.equal(the.window.returned(back(i)), true)
      assert.ok(looked < 100 * count, `${what}: ${looked} times`)
    }
  })
})
