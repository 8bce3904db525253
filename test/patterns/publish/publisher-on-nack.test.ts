import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EncodeError, PublishFailedError, TimeoutError } from '../../../src/index.ts'
import { SeenLifecycle } from '../../support/lifecycle.ts'
import { rejection } from '../../support/rejection.ts'
import { follow, turn } from '../../support/settled.ts'
import { type Arrived, publishing, recover } from './publishing-scene.ts'

/** Milliseconds after a nack, when all is settled, until the next channel. */
const REPLACE_PAUSE = 200

describe("A publisher with onNack: 'retry'", () => {
  it('sends a nacked message again until it is confirmed, before anything newer', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ onNack: 'retry' })
    const first = follow(publisher.publish('1', 'q'))
    await turn()
    the.current.nack(the.current.last)
    await turn()
    const second = follow(publisher.publish('2', 'q'))
    await the.clock.advance(REPLACE_PAUSE - 1)
    assert.deepEqual(the.current.bodies, ['1'])
    await the.clock.advance(1)
    assert.deepEqual(the.current.bodies, ['1', '1', '2'])
    assert.deepEqual([first.state, second.state], ['pending', 'pending'])
    the.current.ack(the.current.last, true)
    await turn()
    assert.deepEqual([first.state, second.state], ['resolved', 'resolved'])
    assert.equal(publisher.resent, 1)
    assert.deepEqual(the.errors, [])
  })

  it('says which messages the broker had refused, and which may come twice', async t => {
    const the = await publishing(t, { connectionName: 'why resent' })
    const lifecycle = new SeenLifecycle('why resent')
    const publisher = await the.protocol.publisher({ onNack: 'retry' })
    const sent = ['1', '2', '3'].map(body => follow(publisher.publish(body, 'q')))
    await turn()
    the.current.nack(the.current.last, true)
    await the.clock.advance(REPLACE_PAUSE)
    const [, , , one, two, three] = the.current.all as Arrived[]
    assert.ok(one !== undefined && two !== undefined && three !== undefined)
    the.current.nack(one)
    the.current.ack(three)
    await turn()
    const next = await recover(the)
    assert.deepEqual(next.bodies, ['1', '2'])
    next.confirmAll()
    await turn()
    assert.ok(sent.every(({ state }) => state === 'resolved'))
    assert.deepEqual(
      lifecycle.of('publisher.resent').map(({ count, nacked }) => [count, nacked]),
      // Each copy of the first was refused; what became of the second copy of the second, nothing says.
      [
        [3, 3],
        [2, 1],
      ],
    )
  })

  it('lets the broker settle what is in flight, and sends that only once', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ onNack: 'retry' })
    const sent = ['1', '2', '3'].map(body => follow(publisher.publish(body, 'q')))
    await turn()
    const [one, two, three] = the.current.all as [Arrived, Arrived, Arrived]
    the.current.nack(two)
    await the.clock.advance(4_000)
    the.current.ack(one)
    await turn()
    assert.equal(the.current.all.length, 3)
    the.current.ack(three)
    await turn()
    assert.deepEqual(the.current.bodies, ['1', '2', '3', '2'])
    the.current.ack(the.current.last)
    await turn()
    assert.ok(sent.every(({ state }) => state === 'resolved'))
    assert.equal(publisher.resent, 1)
  })

  it('pauses longer and longer while nothing is confirmed, 5.2 seconds at most', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ onNack: 'retry' })
    const times: number[] = []
    the.current.arrived = message => {
      times.push(the.clock.now())
      setImmediate(() => the.current.nack(message))
    }
    const sent = follow(publisher.publish('1', 'q'))
    await turn()
    for (let n = 0; n < 300; n++) await the.clock.advance(100)
    const pauses = times.slice(1).map((time, i) => time - (times[i] as number))
    assert.ok(pauses.length > 8 && pauses.length < 20, pauses.join())
    assert.ok(
      pauses.every((pause, i) => i === 0 || pause >= (pauses[i - 1] as number) - 100),
      pauses.join(),
    )
    assert.ok(Math.max(...pauses) <= 5_400, pauses.join())
    assert.equal(sent.state, 'pending')
    the.current.confirmAll()
    await the.clock.advance(6_000)
    assert.equal(sent.state, 'resolved')
  })

  it('rejects a message whose timeout passes, and goes on with the others', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ onNack: 'retry' })
    the.current.arrived = message => {
      if (message.body === 'stuck') setImmediate(() => the.current.nack(message))
      else setImmediate(() => the.current.ack(message))
    }
    const stuck = rejection(publisher.publish('stuck', 'full', {}, { timeout: 10_000 }), TimeoutError)
    const others: ReturnType<typeof follow>[] = []
    for (let n = 0; n < 30; n++) {
      others.push(follow(publisher.publish(`${n}`, 'q')))
      await the.clock.advance(300)
      await turn()
    }
    await the.clock.advance(3_000)
    assert.equal((await stuck).outcome, 'unknown')
    await the.clock.advance(1_000)
    assert.ok(others.every(({ state }) => state === 'resolved'))
    const bodies = the.current.bodies.filter(body => body !== 'stuck')
    assert.deepEqual(
      bodies,
      Array.from({ length: 30 }, (_, n) => `${n}`),
      'each once, in order',
    )
    assert.equal(publisher.pending, 0)
  })

  it('has its nacked messages sent again by the next connection if this one is lost during the pause', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ onNack: 'retry' })
    const sent = follow(publisher.publish('1', 'q'))
    await turn()
    the.current.nack(the.current.last)
    await turn()
    const next = await recover(the)
    assert.deepEqual(next.bodies, ['1'])
    await the.clock.advance(10_000)
    assert.deepEqual(next.bodies, ['1'])
    next.ack(next.last)
    await turn()
    assert.equal(sent.state, 'resolved')
  })

  it('rejects what is nacked when it is closed', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ onNack: 'retry' })
    const sent = follow(publisher.publish('1', 'q'))
    await turn()
    the.current.arrived = message => setImmediate(() => the.current.nack(message))
    the.current.nack(the.current.last)
    const closed = follow(publisher.close({ timeout: 1_000 }))
    await the.clock.advance(1_001)
    assert.deepEqual([sent.state, closed.state], ['rejected', 'resolved'])
    const settled = the.current.all.length
    await the.clock.advance(30_000)
    assert.equal(the.current.all.length, settled)
    assert.equal(the.protocol.channelsIdsCount, 0)
  })
})

describe("A publisher with onNack: 'reject'", () => {
  it('is what there is by default', async t => {
    const the = await publishing(t)
    for (const options of [{}, { onNack: 'reject' } as const]) {
      const publisher = await the.protocol.publisher(options)
      const refused = rejection(publisher.publish('1', 'q'), PublishFailedError)
      await turn()
      the.current.nack(the.current.last)
      assert.equal((await refused).outcome, 'refused')
      await publisher.close()
    }
  })

  it('refuses another word', async t => {
    const the = await publishing(t)
    const error = await rejection(the.protocol.publisher({ onNack: 'again' as 'retry' }), EncodeError)
    assert.match(error.message, /"onNack" must be "reject" or "retry"/)
  })
})
