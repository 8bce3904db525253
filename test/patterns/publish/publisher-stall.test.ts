import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { TimeoutError } from '../../../src/index.ts'
import * as methods from '../../../src/protocol/methods.ts'
import { follow, turn } from '../../support/settled.ts'
import { type PublishedTo, type PublishingScene, publishing } from './publishing-scene.ts'

/** Milliseconds between two looks at a channel. */
const LOOK = 30_000
/** Milliseconds in which what is in flight may be settled, if something is. */
const SETTLE = 5_000

interface Scene extends PublishingScene {
  /** Publish on the channel of one publisher. */
  publish(...bodies: readonly string[]): ReturnType<typeof follow<void>>[]
}

async function scene(t: TestContext): Promise<Scene> {
  const the = await publishing(t)
  const publisher = await the.protocol.publisher()
  return Object.assign(the, {
    publish: (...bodies: readonly string[]) => bodies.map(body => follow(publisher.publish(body, 'q'))),
  })
}

function block(current: PublishedTo, reason: string | undefined): void {
  if (reason === undefined) current.peer.reply(0, methods.ConnectionUnblocked, {})
  else current.peer.reply(0, methods.ConnectionBlocked, { reason })
}

describe('The channel of a publisher, if a message in flight is not settled from one look to the next,', () => {
  it('is replaced, and all is sent again in order, before anything newer', async t => {
    const the = await scene(t)
    const sent = the.publish('1', '2', '3')
    await turn()
    const [first] = the.current.all
    assert.ok(first !== undefined)
    the.current.ack(first)
    await the.clock.advance(LOOK)
    sent.push(...the.publish('4'))
    await the.clock.advance(LOOK - 1)
    assert.deepEqual([the.current.bodies.length, the.errors], [4, []])
    await the.clock.advance(1)
    assert.deepEqual(the.current.bodies.slice(4), ['2', '3', '4'])
    assert.notEqual(the.current.last.channel, first.channel)
    assert.match(
      String(the.errors),
      /^TimeoutError: .+ has left one of the 3 messages in flight on channel 1, or more, without a confirm for 30000 ms: what is not confirmed is sent again on another channel$/,
    )
    assert.ok(the.errors[0] instanceof TimeoutError)
    the.current.ack(the.current.last, true)
    await turn()
    assert.ok(sent.every(({ state }) => state === 'resolved'))
    assert.equal(the.protocol.channelsIdsCount, 1)
  })

  it('is replaced also if the broker does not answer its close', async t => {
    const the = await scene(t)
    const sent = the.publish('1', '2')
    await the.clock.advance(LOOK)
    the.current.peer.answers.delete(methods.ChannelClose.name)
    await the.clock.advance(LOOK)
    assert.equal(the.current.bodies.length, 2)
    // The timeout of channel.close.
    await the.clock.advance(20_000)
    assert.deepEqual(the.current.bodies, ['1', '2', '1', '2'])
    the.current.ack(the.current.last, true)
    await turn()
    assert.ok(sent.every(({ state }) => state === 'resolved'))
  })

  it('is replaced if one message has no answer, when the others have had time for theirs', async t => {
    const the = await scene(t)
    const [first] = the.publish('1')
    await the.clock.advance(LOOK)
    the.publish('2')
    await turn()
    the.current.ack(the.current.last)
    await the.clock.advance(LOOK - 1)
    const [other] = the.publish('3')
    await the.clock.advance(1)
    assert.equal(the.errors.length, 1)
    const [last] = the.publish('4')
    await turn()
    the.current.ack(the.current.last)
    await the.clock.advance(SETTLE - 1)
    assert.deepEqual([the.current.bodies, other?.state], [['1', '2', '3'], 'resolved'])
    await the.clock.advance(1)
    assert.deepEqual(the.current.bodies, ['1', '2', '3', '1', '4'])
    the.current.ack(the.current.last, true)
    await turn()
    assert.deepEqual([first?.state, last?.state], ['resolved', 'resolved'])
  })

  it('is replaced again and again, at looks with up to four times the time between them', async t => {
    const the = await scene(t)
    const [sent] = the.publish('1')
    // At the first look at a channel nothing was in flight before. Channels that settle nothing are opened after a pause.
    await the.clock.advance(2 * LOOK)
    for (const [looks, errors] of [
      [4, 2],
      [8, 3],
      [8, 4],
      [8, 5],
    ] as const) {
      await the.clock.advance(looks * LOOK - 5_000)
      assert.equal(the.errors.length, errors - 1)
      await the.clock.advance(5_500)
      assert.equal(the.errors.length, errors)
    }
    the.current.ack(the.current.last)
    await turn()
    assert.equal(sent?.state, 'resolved')
    // The broker had settled something on that channel: the next one has the usual time.
    the.publish('2')
    for (let look = 0; look < 8 && the.errors.length < 6; look++) await the.clock.advance(LOOK)
    assert.equal(the.errors.length, 6)
    await the.clock.advance(2 * LOOK)
    assert.equal(the.errors.length, 7)
  })

  it('stays if the oldest message was settled', async t => {
    const the = await scene(t)
    the.publish('1', '2', '3', '4')
    await the.clock.advance(LOOK)
    for (const message of the.current.all.slice(0, 3)) {
      the.current.ack(message)
      await the.clock.advance(LOOK)
    }
    assert.deepEqual([the.current.bodies.length, the.errors], [4, []])
  })

  it('stays if nothing was in flight at the first look', async t => {
    const the = await scene(t)
    for (let look = 0; look < 3; look++) {
      await the.clock.advance(LOOK)
      const [sent] = the.publish('1')
      await the.clock.advance(LOOK - 1)
      the.current.ack(the.current.last)
      await the.clock.advance(1)
      assert.equal(sent?.state, 'resolved')
    }
    assert.deepEqual([the.current.bodies.length, the.errors], [3, []])
  })

  it('stays while the broker blocks publishers, and as long again', async t => {
    const the = await scene(t)
    the.publish('1')
    await the.clock.advance(LOOK)
    block(the.current, 'low on memory')
    await the.clock.advance(3 * LOOK - 10)
    block(the.current, undefined)
    await the.clock.advance(10)
    assert.deepEqual(the.errors, [])
    await the.clock.advance(LOOK - 1)
    assert.deepEqual(the.errors, [])
    await the.clock.advance(1)
    assert.equal(the.errors.length, 1)
  })

  it('stays while the message is still on its way', async t => {
    const the = await scene(t)
    the.publish('1')
    await turn()
    the.current.ack(the.current.last)
    await turn()
    // Nothing leaves any more.
    const { transport } = the.current.peer
    t.mock.method(transport, 'write', () => false)
    Object.defineProperty(transport, 'pending', { value: 100 })
    the.publish('2')
    await the.clock.advance(3 * LOOK)
    assert.deepEqual([the.current.bodies, the.errors], [['1'], []])
  })
})
