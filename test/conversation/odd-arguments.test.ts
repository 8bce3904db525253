import assert from 'node:assert/strict'
import { type EventEmitter, once } from 'node:events'
import { describe, it } from 'node:test'
import { type AmqpProtocol, type Channel, EncodeError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { converseOnChannel, methodFrame } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { turn } from '../support/settled.ts'

/** What no short string is, and what has no text or throws when it is asked for one. */
function odd(): readonly (readonly [string, unknown])[] {
  const throwing = (): never => {
    throw new Error('hostile')
  }
  return [
    ['a symbol', Symbol('s')],
    ['a number', 5],
    ['a bigint', 5n],
    ['true', true],
    ['null', null],
    ['an array', []],
    ['a function', () => 'x'],
    ['an object without a prototype', Object.create(null)],
    ['an object whose toString throws', { toString: throwing }],
    ['an object whose Symbol.toPrimitive throws', { [Symbol.toPrimitive]: throwing }],
    ['a proxy that throws', new Proxy({}, { get: throwing, has: throwing, getPrototypeOf: throwing })],
    ['a String object', new String('x')],
    ['text with a lone surrogate', 'x\ud800'],
    ['text of 256 bytes', 'é'.repeat(128)],
  ]
}

const onChannel: Readonly<Record<string, (channel: Channel, value: string) => Promise<unknown>>> = {
  'queueDeclare, queueName': (channel, value) => channel.queueDeclare(value),
  'queueDelete, queueName': (channel, value) => channel.queueDelete(value),
  'queuePurge, queueName': (channel, value) => channel.queuePurge(value),
  'queueBind, queueName': (channel, value) => channel.queueBind(value, 'e', 'k'),
  'queueBind, exchangeName': (channel, value) => channel.queueBind('q', value, 'k'),
  'queueBind, routingKey': (channel, value) => channel.queueBind('q', 'e', value),
  'queueUnbind, queueName': (channel, value) => channel.queueUnbind(value, 'e', 'k'),
  'exchangeDeclare, exchangeName': (channel, value) => channel.exchangeDeclare(value, 'direct'),
  'exchangeDeclare, typeName': (channel, value) => channel.exchangeDeclare('e', value),
  'exchangeDelete, exchangeName': (channel, value) => channel.exchangeDelete(value),
  'exchangeBind, destination': (channel, value) => channel.exchangeBind(value, 's', 'k'),
  'exchangeUnbind, source': (channel, value) => channel.exchangeUnbind('d', value, 'k'),
  'basicPublish, exchangeName': (channel, value) => channel.basicPublish('b', value, 'k'),
  'basicPublish, routingKey': (channel, value) => channel.basicPublish('b', 'e', value),
  'publish, exchangeName': (channel, value) => channel.publish('b', value, 'k'),
  'publish, routingKey': (channel, value) => channel.publish('b', 'e', value),
  'publish with a timeout, routingKey': (channel, value) => channel.publish('b', 'e', value, {}, { timeout: 1_000 }),
  'publish, messageId': (channel, value) => channel.publish('b', 'e', 'k', { messageId: value }),
  'basicGet, queueName': (channel, value) => channel.basicGet(value),
  'basicConsume, queueName': (channel, value) => channel.basicConsume(() => {}, value),
  'basicConsume, consumerTag': (channel, value) => channel.basicConsume(() => {}, 'q', { consumerTag: value }),
  'basicCancel, consumerTag': (channel, value) => channel.basicCancel(value),
}

const onProtocol: Readonly<Record<string, (protocol: AmqpProtocol, value: string) => Promise<unknown>>> = {
  'publish, exchangeName': (protocol, value) => protocol.publish('b', value, 'k'),
  'publish, routingKey': (protocol, value) => protocol.publish('b', '', value),
  'publish, messageId': (protocol, value) => protocol.publish('b', '', 'q', { messageId: value }),
  'publisher, exchangeName': (protocol, value) => protocol.publisher({ exchangeName: value }),
  'consumer, queueName': (protocol, value) => protocol.consumer(value),
  'queueDeclare, queueName': (protocol, value) => protocol.queueDeclare(value),
  'queueBind, routingKey': (protocol, value) => protocol.queueBind('q', 'e', value),
}

describe('a text argument that cannot be sent', () => {
  for (const [what, call] of Object.entries(onChannel)) {
    it(`is an EncodeError, and nothing is sent: ${what}`, async () => {
      const { peer, channel } = await converseOnChannel()
      for (const [, value] of odd()) {
        await rejection(call(channel, value as string), EncodeError)
      }
      await turn()
      assert.deepEqual(peer.names, ['1 channel.open'])
      assert.equal(channel.isOpen, true)
    })
  }

  for (const [what, call] of Object.entries(onProtocol)) {
    it(`is an EncodeError at the intent level, and the connection stays: ${what}`, async () => {
      const { peer, protocol } = await converseOnChannel()
      for (const [, value] of odd()) await rejection(call(protocol, value as string), EncodeError)
      assert.equal(protocol.state, 'open')
      // It would look for idle publishers in half a minute, which the process would wait for.
      peer.transport.break(new Error('the test is over'))
    })
  }

  it('is an EncodeError as a delivery tag, too', async () => {
    const { peer, channel } = await converseOnChannel()
    for (const [what, value] of odd()) {
      if (what === 'a number') continue
      await rejection(
        Promise.resolve().then(() => channel.basicClientAck(value as number)),
        EncodeError,
      )
    }
    assert.deepEqual(peer.names, ['1 channel.open'])
  })
})

describe('options of another kind than an object', () => {
  it('are an EncodeError, also of a publish that asks them for a schema', async () => {
    const { protocol, channel } = await converseOnChannel()
    const publisher = await protocol.publisher()
    for (const odd of [null, 5, 'x', [], () => 'x'] as unknown as { readonly timeout: number }[]) {
      const calls = [
        () => protocol.publish('b', '', 'q', {}, odd),
        () => publisher.publish('b', 'q', {}, odd),
        () => channel.publish('b', '', 'q', {}, odd),
        () => protocol.publisher(odd as object),
        () => protocol.queueDeclare('q', odd),
      ]
      for (const call of calls) {
        const error = await rejection(call(), EncodeError)
        assert.match(error.message, /: the options must be an object, not /)
      }
    }
  })
})

describe('an option that is another one each time it is asked for', () => {
  /** Right the first time. */
  function changing<T extends object>(name: string, right: unknown, wrong: unknown): T {
    let isAsked = false
    const get = (): unknown => {
      if (isAsked) return wrong
      isAsked = true
      return right
    }
    return Object.defineProperty({}, name, { enumerable: true, get }) as T
  }

  const ODD: readonly (readonly [string, unknown, unknown])[] = [
    ['timeout', 1_000, Number.NaN],
    ['timeout', 1_000, 'soon'],
    ['signal', new AbortController().signal, null],
    ['signal', new AbortController().signal, { aborted: false }],
  ]
  for (const [name, right, wrong] of ODD) {
    it(`is taken as it is the first time: ${name}, and later ${String(wrong)}`, async () => {
      const { channel, peer } = await converseOnChannel()
      const published = channel.publish('b', 'e', 'k', {}, changing(name, right, wrong))
      peer.answers.set('queue.purge', ({ channel: id }) => methodFrame(id, methods.QueuePurgeOk, { messageCount: 1 }))
      await published
      assert.deepEqual(await channel.queuePurge('q', changing(name, right, wrong)), { messageCount: 1 })
    })
  }
})

describe('a listener for an event that does not exist', () => {
  it('is an EncodeError that names those that do', async () => {
    const { protocol } = await converseOnChannel()
    const refused = (emitter: unknown, event: string, message: RegExp): void => {
      assert.throws(() => (emitter as EventEmitter).on(event, () => {}), { code: 'ENCODE_ERROR', message })
    }
    refused(protocol, 'close', /^protocol: no event is named "close"; did you mean "closed"\?$/)
    refused(await protocol.publisher(), 'return', /^publisher: no event is named "return"; known are resent$/)
  })

  it('is taken for error, for which events.once() listens', async () => {
    const { protocol } = await converseOnChannel()
    const closed = once(protocol, 'closed')
    await protocol.close()
    assert.deepEqual(await closed, [])
  })
})
