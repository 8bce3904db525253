import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import {
  AbortError,
  BufferFullError,
  ChannelClosedError,
  ConnectionClosedError,
  EncodeError,
  type MessageReturnedError,
  type PublishFailedError,
} from '../../../src/index.ts'
import { ReliablePublisher } from '../../../src/patterns/publish/reliable-publisher.ts'
import * as methods from '../../../src/protocol/methods.ts'
import { rejection } from '../../support/rejection.ts'
import { follow, turn } from '../../support/settled.ts'
import { ProtocolSource } from '../protocol-source.ts'
import { publishing, recover } from './publishing-scene.ts'

function bodies(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`)
}

describe('The channel of a publisher', () => {
  it('is opened with the first message, which leaves in the same write', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher()
    await turn()
    const before = the.current.peer.writes.length
    const sent = publisher.publish('1', 'q')
    await turn()
    assert.deepEqual(the.current.peer.writes.slice(before), [
      ['1 channel.open', '1 confirm.select', '1 basic.publish', '1 header', '1 body'],
    ])
    the.current.ack(the.current.last)
    await sent
  })

  it('is given up if it is idle and somebody waits for a number, and opened again when it is needed', async t => {
    const the = await publishing(t, { channelMax: 1 })
    the.current.confirmAll()
    const publisher = await the.protocol.publisher()
    for (const body of ['1', '2', '3']) {
      await the.protocol.publish(body, 'a', '')
      await the.protocol.publish(body, 'b', '')
      await publisher.publish(body, 'q')
      const channel = await the.protocol.channel()
      await channel.close()
    }
    assert.deepEqual(the.current.bodies, ['1', '1', '1', '2', '2', '2', '3', '3', '3'])
  })

  it('is given up as soon as nothing is pending, if somebody has been waiting for a number', async t => {
    const the = await publishing(t, { channelMax: 1 })
    const first = follow(the.protocol.publish('first', 'a', ''))
    await turn()
    const others = ['b', 'c', 'd'].map(exchange => follow(the.protocol.publish(exchange, exchange, '')))
    await turn()
    assert.deepEqual(the.current.bodies, ['first'])
    the.current.confirmAll()
    await turn()
    await turn()
    assert.deepEqual(
      [first, ...others].map(({ state }) => state),
      ['resolved', 'resolved', 'resolved', 'resolved'],
    )
    assert.deepEqual(the.current.bodies, ['first', 'b', 'c', 'd'])
    assert.ok(the.protocol.channelsIdsCount <= 1)
  })

  it('goes from exchange to exchange if there are fewer numbers than exchanges, and keeps the order of each', async t => {
    const the = await publishing(t, { channelMax: 3 })
    await the.protocol.channel()
    the.current.arrived = message => setImmediate(() => the.current.ack(message))
    const exchanges = Array.from({ length: 20 }, (_, i) => `exchange ${i}`)
    const sent = bodies(1, 20).flatMap(body => exchanges.map(exchange => the.protocol.publish(body, exchange, '')))
    await Promise.all(sent)
    for (const exchange of exchanges) {
      const own = the.current.all.filter(message => message.exchange === exchange)
      assert.deepEqual(
        own.map(({ body }) => body),
        bodies(1, 20),
      )
    }
    await the.protocol.queueDeclare('q', { timeout: 1_000, noWait: true })
  })

  it('is not kept for a message that no caller waits for any more', async t => {
    const the = await publishing(t, { channelMax: 1 })
    const held = await the.protocol.channel()
    const expired = rejection(the.protocol.publish('1', 'a', '', {}, { timeout: 50 }), Error)
    await the.clock.advance(50)
    await expired
    await held.close()
    await turn()
    assert.equal(the.protocol.channelsIdsCount, 0)
    assert.deepEqual(the.current.bodies, [])
  })

  it('is left for another after a nack, once nothing is pending on it: it may go on nacking for as long as it lives', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher()
    const sent = bodies(1, 3).map(body => follow(publisher.publish(body, 'q')))
    await turn()
    await the.clock.advance(1_000)
    const [first, second, third] = the.current.all
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    the.current.nack(second)
    await turn()
    assert.equal(the.protocol.channelsIdsCount, 1)
    the.current.ack(first)
    the.current.ack(third)
    await turn()
    assert.deepEqual(
      sent.map(({ state }) => state),
      ['resolved', 'rejected', 'resolved'],
    )
    assert.equal(the.protocol.channelsIdsCount, 0)
    // A full queue nacks on every channel: the next one is not left at once.
    const nacked = rejection(publisher.publish('4', 'q'), Error)
    await turn()
    the.current.nack(the.current.last)
    await nacked
    assert.equal(the.protocol.channelsIdsCount, 1)
    the.current.confirmAll()
    await publisher.publish('5', 'q')
    assert.equal(publisher.resent, 0)
  })

  it('is opened again with pauses that double, if the broker closes it again and again', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher()
    const times: number[] = []
    const closing = (): void => {
      times.push(the.clock.now())
      the.current.peer.reply(the.current.last.channel, methods.ChannelClose, {
        replyCode: 404,
        replyText: "NOT_FOUND - no queue 'other'",
        classId: 0,
        methodId: 0,
      })
    }
    the.current.arrived = closing
    const sent = follow(publisher.publish('1', 'q'))
    await the.clock.advance(20_000)
    const pauses = times.slice(1).map((time, i) => time - (times[i] ?? 0))
    assert.deepEqual(pauses.slice(0, 9), [0, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000])
    assert.equal(sent.state, 'pending')
    the.current.confirmAll()
    await the.clock.advance(5_000)
    assert.equal(sent.state, 'resolved')
  })
})

describe('maxWaiting', () => {
  it('0 lets messages through that need not wait', async t => {
    const the = await publishing(t, { maxWaiting: 0 })
    the.current.confirmAll()
    const publisher = await the.protocol.publisher()
    await Promise.all(bodies(1, 3).map(body => publisher.publish(body, 'q')))
    await Promise.all(bodies(4, 6).map(body => the.protocol.publish(body, '', 'q')))
    assert.deepEqual(the.current.bodies, bodies(1, 6))
  })

  it('0 refuses messages that would wait: for a block, for others in flight, for a recovery', async t => {
    const the = await publishing(t, { maxWaiting: 0 })
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    const sent = publisher.publish('1', 'q')
    const refuses = async (): Promise<void> => {
      const { pending } = publisher
      assert.equal((await rejection(publisher.publish('2', 'q'), BufferFullError)).outcome, 'notSent')
      assert.equal(publisher.pending, pending)
    }
    await refuses()
    await turn()
    the.current.ack(the.current.last)
    await sent
    the.current.peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await turn()
    await refuses()
    the.refusing = true
    the.current.lose()
    await turn()
    await refuses()
    await rejection(the.protocol.publish('2', '', 'q'), BufferFullError)
    the.refusing = false
    await the.clock.advance(60_000)
    the.current.confirmAll()
    await publisher.publish('3', 'q')
    assert.deepEqual(the.current.bodies, ['3'])
  })

  it('bounds exactly what waits, across recoveries too', async t => {
    const the = await publishing(t, { maxWaiting: 10 })
    const publisher = await the.protocol.publisher()
    const unknown = bodies(1, 4).map(body => publisher.publish(body, 'q'))
    await turn()
    the.refusing = true
    the.current.lose()
    await turn()
    const waiting = bodies(5, 10).map(body => publisher.publish(body, 'q'))
    for (let i = 0; i < 3; i++) await rejection(publisher.publish('no', 'q'), BufferFullError)
    assert.equal(publisher.pending, 10)
    the.refusing = false
    await the.clock.advance(60_000)
    the.current.confirmAll()
    await Promise.all([...unknown, ...waiting])
    assert.deepEqual(the.current.bodies, bodies(1, 10))
  })
})

describe('The outcome of a message', () => {
  it('is refused if the broker nacks, returns or closes over it alone, and it was sent once', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ mandatory: true })
    const nacked = rejection<PublishFailedError>(publisher.publish('1', 'q'), Error as never)
    await turn()
    the.current.nack(the.current.last)
    assert.equal((await nacked).outcome, 'refused')
    const returned = rejection<MessageReturnedError>(publisher.publish('2', 'q'), Error as never)
    await turn()
    the.current.giveBack(the.current.last)
    assert.equal((await returned).outcome, 'refused')
    const closed = rejection(publisher.publish('3', 'q'), ChannelClosedError)
    await turn()
    the.current.close(the.current.last.channel)
    assert.equal((await closed).outcome, 'refused')
  })

  it('is unknown if it was sent again after a loss: the first copy may have arrived', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ mandatory: true })
    const settle: ((message: (typeof the.current)['last']) => void)[] = [
      message => the.current.nack(message),
      message => the.current.giveBack(message),
      message => the.current.close(message.channel),
      message => the.current.close(message.channel, 404, "NOT_FOUND - no exchange '' in vhost '/'"),
    ]
    for (const settled of settle) {
      const failed = rejection(publisher.publish('1', 'q'), Error as never) as Promise<PublishFailedError>
      await turn()
      await recover(the)
      await the.clock.advance(1_000)
      // Past the time in which nacks may be passing.
      the.current.arrived = settled
      settled(the.current.last)
      await the.clock.advance(20_000)
      assert.equal((await failed).outcome, 'unknown')
      the.current.arrived = () => {}
    }
    assert.equal(publisher.pending, 0)
  })

  it('is unknown for all if the broker names an exchange that several of them are for', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ exchangeName: 'gone' })
    const sent = bodies(1, 3).map(body => rejection(publisher.publish(body, 'k'), ChannelClosedError))
    await turn()
    the.current.close(the.current.last.channel, 404, "NOT_FOUND - no exchange 'gone' in vhost '/'")
    for (const error of await Promise.all(sent)) {
      assert.equal(error.outcome, 'unknown')
      assert.equal(error.replyCode, 404)
    }
    assert.deepEqual(the.current.bodies, bodies(1, 3))
  })

  it('is notSent for what cannot be encoded, whatever it is and wherever it would wait', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    const round: Record<string, unknown> = {}
    round['self'] = round
    const wrong: [payload: unknown, routingKey: unknown, properties?: unknown, options?: unknown][] = [
      ['', 'k'.repeat(256)],
      ['', 7],
      ['', 'q', { messageId: 1 }],
      ['', 'q', { headers: { rate: Number.NaN } }],
      ['', 'q', 5],
      ['', 'q', null],
      [{}, 'q', 'text'],
      [42, 'q'],
      [round, 'q'],
      ['\ud800', 'q'],
      ['', 'q', {}, { timeOut: 1 }],
      ['', 'q', {}, { timeout: -1 }],
      ['', 'q', {}, { signal: 1 }],
    ]
    const refusals = async (): Promise<void> => {
      for (const [payload, ...rest] of wrong) {
        const given = rest as unknown as [string, undefined, undefined]
        const own = await rejection(publisher.publish(payload as string, ...given), EncodeError)
        assert.equal(own.outcome, 'notSent', own.message)
        const other = await rejection(the.protocol.publish(payload as string, '', ...given), EncodeError)
        assert.equal(other.outcome, 'notSent', other.message)
      }
    }
    await refusals()
    const sent = publisher.publish('1', 'q')
    await refusals()
    the.current.confirmAll()
    await sent
    await refusals()
    assert.deepEqual(the.current.bodies, ['1'])
  })

  it('is notSent for what was never written, and unknown for what was, when the publisher closes', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    const sent = rejection(publisher.publish('1', 'q'), ChannelClosedError)
    const waiting = rejection(publisher.publish('2', 'q'), ChannelClosedError)
    await turn()
    await the.clock.until(publisher.close({ timeout: 50 }))
    assert.equal((await sent).outcome, 'unknown')
    assert.equal((await waiting).outcome, 'notSent')
  })
})

describe('Messages of unknown fate', () => {
  it('go before all newer ones, also after several losses, each in the middle of them', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ maxInFlight: 4 })
    const sent = bodies(1, 6).map(body => publisher.publish(body, 'q'))
    await turn()
    const second = await recover(the)
    sent.push(publisher.publish('7', 'q'))
    await turn()
    assert.deepEqual(second.bodies, bodies(1, 4))
    second.ack(second.all[0] ?? second.last)
    await turn()
    assert.deepEqual(second.bodies, bodies(1, 5))
    const third = await recover(the)
    sent.push(publisher.publish('8', 'q'))
    await turn()
    assert.deepEqual(third.bodies, bodies(2, 5))
    third.confirmAll()
    await Promise.all(sent)
    assert.deepEqual(third.bodies, bodies(2, 8))
    assert.equal(publisher.resent, 8)
  })

  it('go before newer ones while the message at fault is searched for, across a loss', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher()
    const sent = bodies(1, 5).map(body => follow(publisher.publish(body, 'q')))
    await turn()
    const first = the.current
    first.close(first.last.channel)
    await turn()
    sent.push(follow(publisher.publish('6', 'q')))
    await turn()
    assert.deepEqual(first.bodies.slice(5), ['1'])
    first.ack(first.last)
    await turn()
    assert.deepEqual(first.bodies.slice(5), ['1', '2'])
    const second = await recover(the)
    await turn()
    assert.deepEqual(second.bodies, ['2'])
    second.arrived = message => {
      if (message.body === '3') second.close(message.channel)
      else second.ack(message)
    }
    second.ack(second.last)
    await the.clock.advance(1_000)
    assert.deepEqual(second.bodies, ['2', '3', '4', '5', '6'])
    assert.deepEqual(
      sent.map(({ state }) => state),
      ['resolved', 'resolved', 'rejected', 'resolved', 'resolved', 'resolved'],
    )
  })

  it('are sent alone after the broker closed the connection over one, which is found, and all others are saved', async t => {
    const the = await publishing(t, {}, connection => {
      connection.arrived = message => {
        if (message.body === 'bad') connection.breakDown()
        else connection.ack(message)
      }
    })
    const publishers = [await the.protocol.publisher(), await the.protocol.publisher()]
    const sent = publishers.map(publisher => ['1', 'bad', '3'].map(body => follow(publisher.publish(body, 'q'))))
    const innocent = follow(the.protocol.publish('other', 'x', ''))
    await the.clock.advance(20_000)
    for (const outcomes of sent) {
      assert.deepEqual(
        outcomes.map(({ state }) => state),
        ['resolved', 'rejected', 'resolved'],
      )
      const { error } = outcomes[1] ?? {}
      assert.ok(error instanceof ConnectionClosedError)
      assert.equal(error.replyCode, 541)
      assert.equal(error.outcome, 'unknown')
    }
    assert.equal(innocent.state, 'resolved')
    assert.ok(the.connections.length <= 7, `${the.connections.length} connections`)
    await Promise.all(publishers.map(publisher => publisher.publish('after', 'q')))
  })

  it('are no longer searched by a publisher that is closed or whose messages are given up: the next one has its turn', async t => {
    let silent = false
    const the = await publishing(t, {}, connection => {
      connection.arrived = message => {
        if (message.body === 'bad') connection.breakDown()
        else if (!silent) connection.ack(message)
      }
    })
    const [first, second, third] = [
      await the.protocol.publisher(),
      await the.protocol.publisher(),
      await the.protocol.publisher(),
    ]
    silent = true
    const controller = new AbortController()
    const closed = ['1', '2'].map(body => rejection(first.publish(body, 'q'), ChannelClosedError))
    const aborted = ['1', '2'].map(body =>
      rejection(second.publish(body, 'q', {}, { signal: controller.signal }), AbortError),
    )
    const kept = ['3', 'bad', '4'].map(body => follow(third.publish(body, 'q')))
    await the.clock.advance(1_000)
    // One searches, two wait for their turn.
    assert.equal(the.protocol.channelsIdsCount, 1)
    controller.abort()
    await the.clock.until(first.close({ timeout: 10 }))
    for (const error of await Promise.all([...closed, ...aborted])) assert.equal(error.outcome, 'unknown')
    silent = false
    the.current.confirmAll()
    the.current.arrived = message => (message.body === 'bad' ? the.current.breakDown() : the.current.ack(message))
    await the.clock.advance(20_000)
    assert.deepEqual(
      kept.map(({ state }) => state),
      ['resolved', 'rejected', 'resolved'],
    )
    assert.deepEqual(the.errors, [])
  })

  it('leave the turn to publish alone to the next publisher once the search is over, while newer messages go on', async t => {
    const the = await publishing(t, {}, connection => {
      connection.arrived = message => {
        if (message.body === 'bad') connection.breakDown()
        else connection.ack(message)
      }
    })
    // What waits after the only candidate was never in doubt.
    const first = await the.protocol.publisher({ maxInFlight: 1 })
    const second = await the.protocol.publisher()
    const sent = ['bad', 'newer'].map(body => first.publish(body, 'q')).map(follow)
    sent.push(...['bad', '3', '4'].map(body => follow(second.publish(body, 'q'))))
    await the.clock.advance(20_000)
    assert.deepEqual(
      sent.map(({ state }) => state),
      ['rejected', 'resolved', 'rejected', 'resolved', 'resolved'],
    )
  })

  it('are counted by the event resent of the protocol, whose listener may throw', async t => {
    const the = await publishing(t)
    const counts: number[] = []
    the.protocol.on('resent', count => {
      counts.push(count)
      throw new Error('of the listener')
    })
    const sent = bodies(1, 3).map(body => the.protocol.publish(body, '', 'q'))
    sent.push(the.protocol.publish('other', 'x', ''))
    await turn()
    const second = await recover(the)
    second.confirmAll()
    await Promise.all(sent)
    assert.deepEqual(counts, [3, 1])
    assert.deepEqual(
      the.errors.map(({ message }) => message),
      ['of the listener', 'of the listener'],
    )
  })

  it('are sent again by a publisher that lost its channel while the connection was coming back', async t => {
    const the = await publishing(t)
    the.refusing = true
    the.current.lose()
    await turn()
    const publisher = await the.protocol.publisher()
    const sent = publisher.publish('1', 'q')
    the.refusing = false
    await the.clock.advance(60_000)
    assert.deepEqual(the.current.bodies, ['1'])
    const next = await recover(the)
    next.confirmAll()
    await sent
    assert.deepEqual(next.bodies, ['1'])
  })
})

describe('Bounds of publishes', () => {
  it('put one listener on a signal, however many messages share it, and take it away again', async t => {
    const the = await publishing(t, { maxWaiting: Number.POSITIVE_INFINITY })
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    const { signal } = new AbortController()
    const sent = bodies(1, 500).map(body => publisher.publish(body, 'q', {}, { signal, timeout: 1_000 }))
    assert.equal(getEventListeners(signal, 'abort').length, 1)
    await turn()
    the.current.confirmAll()
    await Promise.all(sent)
    assert.equal(getEventListeners(signal, 'abort').length, 0)
    assert.equal(the.clock.keeping, 0)
  })

  it('end waiting messages in any order, and leave the others in theirs', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    const controller = new AbortController()
    const given: Promise<unknown>[] = []
    const kept: Promise<void>[] = []
    for (const body of bodies(0, 999)) {
      const bounds = Number(body) % 3 === 1 ? { timeout: 1_000 - Number(body) / 10 } : { signal: controller.signal }
      if (Number(body) % 3 === 0) kept.push(publisher.publish(body, 'q'))
      else given.push(rejection(publisher.publish(body, 'q', {}, bounds), Error))
    }
    await the.clock.advance(950)
    controller.abort()
    await the.clock.advance(50)
    for (const error of await Promise.all(given)) assert.equal((error as AbortError).outcome, 'notSent')
    assert.equal(publisher.pending, kept.length)
    the.current.confirmAll()
    await Promise.all(kept)
    assert.deepEqual(
      the.current.bodies,
      bodies(0, 999).filter(body => Number(body) % 3 === 0),
    )
  })

  it('are kept in every phase: with the connection lost, no channel number, the broker blocking', async t => {
    const the = await publishing(t, { channelMax: 1 })
    const publisher = await the.protocol.publisher()
    const ends = async (): Promise<void> => {
      const controller = new AbortController()
      const late = rejection(publisher.publish('late', 'q', {}, { timeout: 30 }), Error)
      const aborted = rejection(publisher.publish('aborted', 'q', {}, { signal: controller.signal }), AbortError)
      controller.abort()
      await the.clock.advance(30)
      assert.equal(((await late) as AbortError).outcome, 'notSent')
      assert.equal((await aborted).outcome, 'notSent')
      assert.equal(publisher.pending, 0)
    }
    const held = await the.protocol.channel()
    await ends()
    await held.close()
    await turn()
    the.current.peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await turn()
    await ends()
    the.refusing = true
    the.current.lose()
    await turn()
    await ends()
    the.refusing = false
    await the.clock.advance(60_000)
    the.current.confirmAll()
    await publisher.publish('kept', 'q')
    assert.deepEqual(the.current.bodies, ['kept'])
  })
})

describe('A publisher that never publishes', () => {
  it('is unknown to its connection, and one that did is forgotten when it closes', async t => {
    const the = await publishing(t)
    const source = new ProtocolSource(the.protocol)
    const unused = new ReliablePublisher(source)
    assert.equal(source.parts.size, 0)
    await unused.close({ timeout: 0 })
    const used = new ReliablePublisher(source)
    the.current.confirmAll()
    await used.publish('1', '', 'q', undefined, false, undefined)
    assert.equal(source.parts.size, 1)
    await used.close({ timeout: 0 })
    assert.equal(source.parts.size, 0)
  })
})

describe('close() of a publisher', () => {
  it('ends in every phase, within its timeout', async t => {
    const the = await publishing(t, { channelMax: 1 })
    const ends = async (outcome: string): Promise<void> => {
      const publisher = await the.protocol.publisher()
      const sent = rejection(publisher.publish('1', 'q'), ChannelClosedError)
      await turn()
      await the.clock.until(publisher.close({ timeout: 50 }), 60)
      assert.equal((await sent).outcome, outcome)
      await turn()
    }
    // Waiting for a channel number.
    const held = await the.protocol.channel()
    await ends('notSent')
    await held.close()
    // Waiting for a confirm.
    await ends('unknown')
    assert.equal(the.protocol.channelsIdsCount, 0)
    // Pausing before the next channel, and searching for a message at fault.
    the.current.arrived = ({ channel }) => the.current.peer.reply(channel, methods.ChannelClose, closeWithoutMethod)
    await ends('unknown')
    the.current.arrived = () => {}
    const searching = await the.protocol.publisher()
    const two = bodies(1, 2).map(body => rejection(searching.publish(body, 'q'), ChannelClosedError))
    await turn()
    the.current.close(the.current.last.channel)
    await turn()
    await the.clock.until(searching.close({ timeout: 50 }), 60)
    for (const error of await Promise.all(two)) assert.equal(error.outcome, 'unknown')
    // While the broker blocks, and while the connection is lost.
    the.current.peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await turn()
    await ends('notSent')
    the.refusing = true
    the.current.lose()
    await turn()
    await ends('notSent')
    the.refusing = false
    await the.clock.advance(60_000)
    assert.equal(the.protocol.channelsIdsCount, 0)
    assert.deepEqual(the.errors, [])
  })

  it('and of the protocol lets messages of the same tick go first', async t => {
    const the = await publishing(t)
    the.current.confirmAll()
    const publisher = await the.protocol.publisher()
    const own = publisher.publish('own', 'q')
    const before = the.protocol.publish('before', 'x', '')
    const closed = the.protocol.close()
    const after = follow(the.protocol.publish('after', 'y', ''))
    await Promise.all([own, before, closed])
    assert.notEqual(after.state, 'pending')
    assert.deepEqual(the.current.bodies.slice(0, 2), ['own', 'before'])
  })
})

describe('The channels of protocol.publish', () => {
  it('do not keep a process alive that has nothing to wait for, and end with the connection', async t => {
    const the = await publishing(t)
    the.current.confirmAll()
    for (const exchange of ['', 'a']) await the.protocol.publish('1', exchange, 'q')
    assert.equal(the.clock.keeping, 0)
    await the.protocol.close()
    await the.clock.advance(20_000)
    assert.equal(the.clock.pending, 0)
  })
})

describe('A publish after the connection is closed', () => {
  it('rejects as not sent and leaves nothing behind', async t => {
    const the = await publishing(t)
    the.current.confirmAll()
    await the.protocol.close()
    for (const exchange of ['', 'a', 'b']) {
      const error = await rejection(the.protocol.publish('1', exchange, 'q'), ConnectionClosedError)
      assert.equal(error.outcome, 'notSent')
    }
    assert.equal(the.clock.keeping, 0)
  })

  it('rejects as not sent if the connection was given up, and what was sent rejects as unknown', async t => {
    const the = await publishing(t, { recovery: { maxAttempts: 2, initialDelay: 10, jitter: 0 } })
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    const sent = follow(publisher.publish('1', 'q'))
    const waiting = follow(publisher.publish('2', 'q'))
    await turn()
    the.refusing = true
    the.current.lose()
    await the.clock.advance(60_000)
    assert.equal((sent.error as ConnectionClosedError).outcome, 'unknown')
    assert.equal((waiting.error as ConnectionClosedError).outcome, 'notSent')
    const late = follow(publisher.publish('3', 'q'))
    await turn()
    assert.equal((late.error as ConnectionClosedError).outcome, 'notSent')
    assert.equal(publisher.pending, 0)
    assert.equal(the.clock.keeping, 0)
  })
})

const closeWithoutMethod = { replyCode: 504, replyText: 'CHANNEL_ERROR', classId: 0, methodId: 0 }
