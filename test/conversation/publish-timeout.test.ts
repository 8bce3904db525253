import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type ConnectOptions, connect, EncodeError, type StandardSchema, TimeoutError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { converse, FakeBroker, methodFrame } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** A client whose time is the test's, at a broker that agrees to confirm mode and transactions, and confirms nothing. */
async function silent(options: ConnectOptions) {
  const broker = new FakeBroker()
  broker.prepare = ({ answers }) => {
    for (const [asked, agreed] of [
      [methods.ConfirmSelect, methods.ConfirmSelectOk],
      [methods.TxSelect, methods.TxSelectOk],
    ] as const) {
      answers.set(asked.name, ({ channel }) => methodFrame(channel, agreed, {}))
    }
  }
  const clock = new VirtualClock()
  return { clock, ...(await converse({ clock, ...options }, broker)) }
}

describe('publishTimeout', () => {
  it('of the connection ends each publish that the broker leaves unconfirmed', async () => {
    const { protocol, clock } = await silent({ publishTimeout: 1_000 })
    const publisher = await protocol.publisher()
    const channel = await protocol.channel({ publisherConfirms: true })
    const published = [
      protocol.publish('m', '', 'q'),
      protocol.publish('m', '', 'q', {}, { mandatory: false }),
      protocol.publish('m', '', 'q', {}, { signal: new AbortController().signal }),
      publisher.publish('m', 'q'),
      channel.publish('m', '', 'q'),
      channel.publish('m', '', 'q', {}, { signal: new AbortController().signal }),
    ].map(promise => follow(promise))
    await clock.advance(999)
    assert.deepEqual(new Set(published.map(({ state }) => state)), new Set(['pending']))
    await clock.advance(1)
    for (const { error } of published) {
      assert.ok(error instanceof TimeoutError)
      assert.match(
        error.message,
        /^publish of a message to the default exchange .* timed out: it waited 1000 ms for the broker's confirm$/,
      )
      assert.equal(error.outcome, 'unknown')
    }
    assert.equal(channel.isOpen, true)
  })

  it('of a publisher or a channel, and a call’s own timeout, take its place', async () => {
    const { protocol, clock } = await silent({ publishTimeout: 1_000 })
    const publisher = await protocol.publisher({ publishTimeout: 2_000 })
    const unbounded = await protocol.publisher({ publishTimeout: Number.POSITIVE_INFINITY })
    const channel = await protocol.channel({ publisherConfirms: true, publishTimeout: 3_000 })
    const ends = [
      publisher.publish('m', 'q', {}, { timeout: 500 }),
      publisher.publish('m', 'q'),
      channel.publish('m', '', 'q'),
      protocol.publish('m', '', 'q', {}, { timeout: 4_000 }),
      unbounded.publish('m', 'q'),
      protocol.publish('m', '', 'q', {}, { timeout: Number.POSITIVE_INFINITY }),
    ].map(promise => promise.catch(() => clock.now()))
    const times = Promise.all(ends.slice(0, 4))
    await clock.advance(100_000)
    assert.deepEqual(await times, [500, 2_000, 3_000, 4_000])
    const [a, b] = ends.slice(4).map(promise => follow(promise))
    await turn()
    assert.deepEqual([a?.state, b?.state], ['pending', 'pending'])
  })

  it('takes back what waits for a blocked broker, and reports the first that need not be awaited', async () => {
    const { protocol, peer, clock, errors } = await silent({ publishTimeout: 1_000 })
    const channel = await protocol.channel()
    const confirming = await protocol.channel({ publisherConfirms: true })
    peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await turn()
    const forgotten = [channel.basicPublish('a', '', 'q'), channel.basicPublish('b', '', 'q')].map(one => follow(one))
    const plain = follow(channel.publish('c', '', 'q'))
    const confirmed = follow(confirming.publish('d', '', 'q'))
    const published = follow(protocol.publish('p', '', 'q'))
    await clock.advance(1_000)
    for (const { error } of [...forgotten, plain, confirmed, published]) {
      assert.ok(error instanceof TimeoutError)
      assert.match(
        error.message,
        / it waited 1000 ms for connection.unblocked: the broker blocks publishers \(low on memory\)$/,
      )
      assert.equal(error.outcome, 'notSent')
    }
    assert.deepEqual(errors, [forgotten[0]?.error])
    peer.reply(0, methods.ConnectionUnblocked, {})
    await channel.basicPublish('later', '', 'q')
    await turn()
    const bodies = peer.frames.filter(({ type }) => type === 3).map(({ payload }) => String(payload))
    assert.deepEqual(bodies, ['later'])
    // The first error of the next row is reported again.
    peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await turn()
    void channel.basicPublish('e', '', 'q')
    await clock.advance(1_000)
    assert.equal(errors.length, 2)
  })

  it('has the first error reported that follows when none waits, also that too many wait', async () => {
    const { protocol, peer, clock, errors } = await silent({ publishTimeout: 1_000, maxWaiting: 2 })
    const channel = await protocol.channel()
    peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await turn()
    void channel.basicPublish('a', '', 'q')
    await clock.advance(500)
    void channel.basicPublish('b', '', 'q')
    await clock.advance(1_000)
    const names = (): string[] => errors.splice(0).map(error => String(error).replace(/:.*/, ''))
    assert.deepEqual(names(), ['TimeoutError'])
    for (let n = 0; n < 4; n++) void channel.basicPublish('c', '', 'q')
    await turn()
    assert.deepEqual(names(), ['BufferFullError'])
    await clock.advance(1_000)
    assert.deepEqual(names(), [])
  })

  it('ends the wait for a socket that takes no more', async () => {
    const { protocol, peer, clock } = await silent({ publishTimeout: 1_000 })
    const channel = await protocol.channel()
    peer.transport.stall()
    const stuck = follow(channel.basicPublish(Buffer.alloc(100_000), '', 'q'))
    await clock.advance(1_000)
    assert.ok(stuck.error instanceof TimeoutError)
    assert.match(stuck.error.message, / it waited 1000 ms for the socket to take more$/)
    assert.equal(stuck.error.outcome, 'unknown')
  })

  it('leaves no timer behind if there was nothing to wait for', async () => {
    const { protocol, clock } = await silent({ publishTimeout: 1_000 })
    const channel = await protocol.channel()
    const before = clock.pending
    for (let n = 0; n < 100; n++) await channel.basicPublish('m', '', 'q')
    assert.equal(clock.pending, before)
  })

  it('bounds the publishes of a transaction, and not the calls of an RPC client', async () => {
    const { protocol, peer, clock } = await silent({ publishTimeout: 1_000 })
    peer.answers.set('basic.consume', ({ channel }) =>
      methodFrame(channel, methods.BasicConsumeOk, { consumerTag: 'replies' }),
    )
    peer.answers.set('basic.consume', ({ channel, args }) =>
      methodFrame(channel, methods.BasicConsumeOk, { consumerTag: String(args['consumerTag']) }),
    )
    const client = await protocol.rpcClient({ timeout: 5_000 })
    const called = follow(client.call('prices', 'apple'))
    let published: unknown
    const work = follow(
      protocol.transaction(async channel => {
        peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
        await turn()
        published = await channel.basicPublish('m', '', 'q').catch((error: unknown) => error)
        throw new Error('rolled back')
      }),
    )
    await clock.advance(1_000)
    assert.ok(published instanceof TimeoutError)
    assert.equal(work.error?.message, 'rolled back')
    assert.equal(called.state, 'pending')
    await clock.advance(4_000)
    assert.match(called.error?.message ?? '', /within 5000 ms/)
  })

  it('bounds the validation of a payload and the wait for its confirm together, and is named as a whole', async () => {
    const { protocol, clock } = await silent({ publishTimeout: 1_000 })
    const slow: StandardSchema<unknown> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate: value => new Promise(resolve => clock.after(300, () => resolve({ value }))),
      },
    }
    const publisher = await protocol.publisher({ schema: slow, publishTimeout: 2_000 })
    const published = [
      protocol.publish({}, '', 'q', {}, { schema: slow }),
      protocol.publish({}, '', 'q', {}, { schema: slow, timeout: 1_000 }),
      publisher.publish({}, 'q', {}, { timeout: 1_000 }),
    ].map(promise => follow(promise))
    const last = follow(publisher.publish({}, 'q'))
    const early = follow(publisher.publish({}, 'q', { messageId: 'm1' }, { timeout: 200 }))
    await clock.advance(999)
    assert.deepEqual(new Set(published.map(({ state }) => state)), new Set(['pending']))
    await clock.advance(1)
    for (const { error } of published) {
      assert.ok(error instanceof TimeoutError)
      assert.match(
        error.message,
        /^publish of a message to the default exchange .* timed out: it waited 1000 ms for the broker's confirm$/,
      )
      assert.equal(error.outcome, 'unknown')
    }
    await clock.advance(1_000)
    assert.match(last.error?.message ?? '', /it waited 2000 ms for the broker's confirm$/)
    assert.equal(
      early.error?.message,
      'publish of message "m1" to the default exchange with routing key "q" timed out: it waited 200 ms for the encoding of its payload',
    )
  })

  it('must be a number of milliseconds', async () => {
    const { protocol } = await silent({})
    for (const publishTimeout of [-1, Number.NaN, '1' as never]) {
      const expected = /"publishTimeout" must be a number of milliseconds, 0 or more, or Infinity for no limit/
      assert.match((await rejection(connect({ publishTimeout }), EncodeError)).message, expected)
      assert.match((await rejection(protocol.publisher({ publishTimeout }), EncodeError)).message, expected)
      assert.match((await rejection(protocol.channel({ publishTimeout }), EncodeError)).message, expected)
    }
  })
})

describe('a heartbeat of 0', () => {
  it('is warned of once, by the logger alone', async () => {
    const lines: string[] = []
    const logger = { warn: (line: string) => lines.push(line) }
    const { protocol } = await silent({ logger })
    await protocol.close()
    assert.equal(lines.length, 1)
    assert.match(lines[0] ?? '', /\] heartbeat is 0: .* set publishTimeout$/)
    const quiet = await silent({ logger, heartbeat: 10 })
    await quiet.protocol.close()
    assert.equal(lines.length, 1)
  })
})
