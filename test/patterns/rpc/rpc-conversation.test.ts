import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AbortError,
  ChannelClosedError,
  type Codec,
  ConnectionLostError,
  type ConnectOptions,
  DecodeError,
  EncodeError,
  MessageReturnedError,
  type Payload,
  ProtocolError,
  RemoteError,
  type RpcClient,
  type RpcClientOptions,
  TimeoutError,
} from '../../../src/index.ts'
import * as methods from '../../../src/protocol/methods.ts'
import { agreeingBroker, framesOf } from '../../support/agreeing-broker.ts'
import {
  type Conversation,
  contentFrames,
  converse,
  deliverFrame,
  type FakePeer,
  methodFrame,
} from '../../support/fake-broker.ts'
import { rejection } from '../../support/rejection.ts'
import { turn } from '../../support/settled.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'
import { deferred } from '../scene.ts'
import { schema } from '../typed/scene.ts'

interface RpcConversation extends Conversation {
  readonly client: RpcClient
  /** The channel that replies come by, and the tag they come under. */
  readonly channel: number
  readonly tag: string
}

async function rpcConversation(
  options: RpcClientOptions = {},
  connectOptions: ConnectOptions = {},
): Promise<RpcConversation> {
  const conversation = await converse(connectOptions, agreeingBroker())
  const client = await conversation.protocol.rpcClient(options)
  const consume = framesOf(conversation, 'basic.consume')[0]
  return { ...conversation, client, channel: consume?.channel ?? 0, tag: String(consume?.args['consumerTag']) }
}

function reply({ channel, tag }: RpcConversation, correlationId: string, body: string): Buffer {
  return Buffer.concat([deliverFrame(channel, tag, 1), contentFrames(channel, body, { correlationId })])
}

function ack(channel: number, deliveryTag: number, multiple = false): Buffer {
  return methodFrame(channel, methods.BasicAck, { deliveryTag, multiple })
}

const ID = (correlationId: string) => ({ properties: { correlationId } })

describe('An RPC call with a fourth argument', () => {
  it('is refused, with what was meant, and sends nothing', async () => {
    const the = await rpcConversation()
    const call = the.client.call as (...args: unknown[]) => Promise<unknown>
    const error = await rejection(call.call(the.client, 'q', 'a', {}, { timeout: 5 }), EncodeError)
    assert.match(error.message, /the properties are the option "properties", and there is no fourth argument$/)
    await turn()
    assert.deepEqual(framesOf(the, 'basic.publish'), [])
    await the.protocol.close()
  })
})

describe('The errors of an RPC call', () => {
  const failures: Readonly<Record<string, (the: RpcConversation) => Promise<unknown>>> = {
    'a payload that cannot be sent': the => the.client.call('q', 5 as unknown as Payload, ID('one')),
    'a header that cannot be sent': the =>
      the.client.call('q', '', { properties: { correlationId: 'one', headers: { a: Number.NaN } } }),
    'an option that is unknown': the => the.client.call('q', '', { time: 3 } as object),
    'a channel that is closed': async the => {
      const called = the.client.call('q', '', ID('one'))
      await turn()
      the.peer.reply(the.channel, methods.ChannelClose, { replyCode: 404, replyText: 'no', classId: 60, methodId: 40 })
      return called
    },
    'a nack': async the => {
      const called = the.client.call('q', '', ID('one'))
      await turn()
      the.peer.reply(the.channel, methods.BasicNack, { deliveryTag: 1, multiple: false, requeue: false })
      return called
    },
    'a return': async the => {
      const called = the.client.call('q', '', ID('one'))
      await turn()
      the.peer.send(returned(the.channel, 'one'))
      return called
    },
    'an abort': the => the.client.call('q', '', { ...ID('one'), signal: AbortSignal.abort() }),
    'the end of the client': async the => {
      const called = the.client.call('q', '', ID('one'))
      void the.client.close()
      return called
    },
    'the end of the connection': async the => {
      const called = the.client.call('q', '', ID('one'))
      await turn()
      the.peer.finish()
      return called
    },
  }
  for (const [what, fail] of Object.entries(failures)) {
    it(`name the call and show its caller: ${what}`, async () => {
      const the = await rpcConversation()
      async function theCaller(): Promise<unknown> {
        return await fail(the)
      }
      const error = await rejection(theCaller(), Error)
      assert.match(error.message, /^rpc call to "q"/)
      assert.match(error.stack ?? '', /rpc-conversation\.test/)
      assert.equal(error.stack?.split('\n')[0], `${error.name}: ${error.message}`)
    })
  }
})

function returned(channel: number, correlationId: string): Buffer {
  const args = { replyCode: 312, replyText: 'NO_ROUTE', exchangeName: '', routingKey: 'q' }
  // RabbitMQ puts the name of the queue that it stands for in its place.
  const properties = { correlationId, replyTo: 'amq.rabbitmq.reply-to.abc.def', expiration: '20000' }
  return Buffer.concat([methodFrame(channel, methods.BasicReturn, args), contentFrames(channel, 'same', properties)])
}

describe('An RPC call that no queue takes', () => {
  it('is distinguished from others that are alike by its correlation id', async () => {
    const the = await rpcConversation()
    const calls = ['a', 'b', 'c'].map(id => the.client.call('q', 'same', ID(id)))
    const refused = rejection(calls[1] ?? Promise.resolve(), MessageReturnedError)
    await turn()
    the.peer.send(ack(the.channel, 1), returned(the.channel, 'b'), ack(the.channel, 3, true))
    const error = await refused
    assert.equal(error.outcome, 'refused')
    the.peer.send(reply(the, 'c', 'to c'), reply(the, 'a', 'to a'))
    assert.deepEqual(
      (await Promise.all([calls[0], calls[2]])).map(message => message?.text()),
      ['to a', 'to c'],
    )
  })
})

describe('The time of an RPC call', () => {
  for (const timeout of [Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER, 2 ** 32]) {
    it(`may be ${timeout}: the request does not expire then`, async () => {
      const the = await rpcConversation({ timeout })
      const called = the.client.call('q', '', ID('one'))
      await turn()
      the.peer.send(reply(the, 'one', 'late'))
      assert.equal((await called).text(), 'late')
      assert.equal(framesOf(the, 'basic.publish').length, 1)
      assert.deepEqual(expirations(the), [undefined])
    })
  }

  it('is the expiration of its request up to the longest that RabbitMQ takes', async () => {
    const the = await rpcConversation({}, { clock: new VirtualClock() })
    for (const timeout of [0.5, 2 ** 31, 2 ** 32 - 1]) {
      const controller = new AbortController()
      const called = rejection(the.client.call('q', '', { timeout, signal: controller.signal }), AbortError)
      await turn()
      controller.abort()
      await called
    }
    assert.deepEqual(expirations(the), ['1', '2147483648', '4294967295'])
  })

  it('past, a request that was never written is not sent, nor written later', async () => {
    const clock = new VirtualClock()
    const the = await rpcConversation({}, { clock })
    the.peer.reply(0, methods.ConnectionBlocked, { reason: 'memory' })
    await turn()
    const called = rejection(the.client.call('q', '', { timeout: 50 }), TimeoutError)
    const controller = new AbortController()
    const aborted = rejection(the.client.call('q', '', { signal: controller.signal }), AbortError)
    await turn()
    controller.abort()
    assert.equal((await aborted).outcome, 'notSent')
    await clock.advance(60)
    const error = await called
    assert.equal(error.outcome, 'notSent')
    assert.match(error.message, /^rpc call to "q" with correlationId ".*" was not sent within 50 ms$/)
    the.peer.reply(0, methods.ConnectionUnblocked, {})
    await turn()
    assert.deepEqual(framesOf(the, 'basic.publish'), [])
  })

  it('past, one whose request was written is of unknown outcome, and a late reply is dropped', async () => {
    const clock = new VirtualClock()
    const the = await rpcConversation({ timeout: 50 }, { clock })
    const called = rejection(the.client.call('q', '', ID('one')), TimeoutError)
    const confirmed = rejection(the.client.call('q', '', ID('two')), TimeoutError)
    await turn()
    the.peer.send(ack(the.channel, 2))
    await clock.advance(60)
    assert.equal((await called).outcome, 'unknown')
    assert.equal((await confirmed).outcome, 'unknown')
    const next = the.client.call('q', '', ID('three'))
    await turn()
    the.peer.send(reply(the, 'one', 'late'), reply(the, 'two', 'late'), reply(the, 'three', 'in time'))
    assert.equal((await next).text(), 'in time')
    assert.deepEqual(the.errors, [])
  })
})

function expirations(the: Conversation): unknown[] {
  return the.peer.frames.flatMap(({ name, payload }) => {
    if (!name.endsWith(' header')) return []
    const text = payload.toString('latin1')
    return [/reply-to.(\d+)$/s.exec(text)?.[1]]
  })
}

describe('A reply that came before the confirm of its request, and is being decoded', () => {
  async function decoding(): Promise<{
    the: RpcConversation
    fits: () => void
    call: () => Promise<unknown>
    abort: () => void
  }> {
    const gate = deferred()
    const slow = schema(async value => {
      await gate.promise
      return { value }
    })
    const the = await rpcConversation({ schema: { reply: slow } })
    const controller = new AbortController()
    const called = the.client.call('q', '"x"', { ...ID('one'), signal: controller.signal })
    called.catch(() => {})
    await turn()
    the.peer.send(reply(the, 'one', '[1]'))
    await turn()
    return { the, fits: () => gate.resolve(), call: async () => (await called).json(), abort: () => controller.abort() }
  }

  it('answers its call, though the connection is lost or the request nacked meanwhile', async () => {
    const ends: readonly ((the: RpcConversation) => void)[] = [
      ({ peer }) => peer.finish(),
      ({ peer, channel }) =>
        peer.reply(channel, methods.BasicNack, { deliveryTag: 1, multiple: false, requeue: false }),
    ]
    for (const end of ends) {
      const { the, fits, call } = await decoding()
      end(the)
      await turn()
      fits()
      assert.deepEqual(await call(), [1])
    }
  })

  it('does not keep a call that is given up', async () => {
    const { call, abort } = await decoding()
    abort()
    assert.equal((await rejection(call(), AbortError)).outcome, 'unknown')
  })
})

describe('An RPC call whose payload is encoded', () => {
  it('ends with the connection, and so does one that is made after that', async () => {
    const never = schema<Payload>(() => new Promise(() => {}))
    const the = await rpcConversation({ timeout: Infinity, schema: { request: never } }, { recovery: false })
    const errors = [rejection(the.client.call('q', ''), ConnectionLostError)]
    await turn()
    the.peer.finish()
    await rejection(the.protocol.waitClosed(), ConnectionLostError)
    errors.push(rejection(the.client.call('q', ''), ConnectionLostError))
    for (const { outcome } of await Promise.all(errors)) assert.equal(outcome, 'notSent')
  })
})

describe('An RPC call that has no channel yet when the server closes the connection', () => {
  /** What becomes of it when the server gives this reason; it is answered by the next connection. */
  async function called(replyCode: number, replyText: string): Promise<unknown> {
    const broker = agreeingBroker()
    const clock = new VirtualClock()
    const { peer, protocol } = await converse({ recovery: true, clock }, broker)
    const client = await protocol.rpcClient()
    peer.answers.delete('basic.consume')
    const options = { exchangeName: 'another', ...ID('one') }
    const outcome = client.call('q', '', options).then(
      message => message.text(),
      (error: unknown) => error,
    )
    await turn()
    peer.reply(0, methods.ConnectionClose, { replyCode, replyText, classId: 0, methodId: 0 })
    await clock.advance(1_000)
    const next = broker.peers.at(-1) ?? peer
    const consume = framesOf({ peer: next }, 'basic.consume')[0]
    const { channel = 1, args = {} } = consume ?? {}
    if (framesOf({ peer: next }, 'basic.publish').length === 1) {
      next.send(
        deliverFrame(channel, String(args['consumerTag']), 1),
        contentFrames(channel, 'yes', { correlationId: 'one' }),
      )
    }
    const result = await outcome
    await clock.until(protocol.close())
    return result
  }

  it('waits for the next connection if the server shuts down', async () => {
    assert.equal(
      await called(320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"),
      'yes',
    )
  })

  it('rejects if the server failed, which it may do again over it', async () => {
    const error = await called(541, 'INTERNAL_ERROR')
    assert.ok(error instanceof ChannelClosedError)
    assert.equal(error.outcome, 'notSent')
  })
})

describe('An RPC call over which the broker closes the channel', () => {
  it('is named as the refused one, and those beside it are not', async () => {
    const the = await rpcConversation()
    const [taken, refused] = [the.client.call('q', '', ID('taken')), the.client.call('bad', '', ID('refused'))]
    await turn()
    the.peer.send(ack(the.channel, 1))
    const replyText = "ACCESS_REFUSED - access to topic 'bad' in exchange '' in vhost '/' refused for user 'guest'"
    the.peer.reply(the.channel, methods.ChannelClose, { replyCode: 403, replyText, classId: 60, methodId: 40 })
    const [beside, itself] = await Promise.all([
      rejection(taken, ChannelClosedError),
      rejection(refused, ChannelClosedError),
    ])
    assert.match(itself.message, /"refused" failed: ACCESS_REFUSED \(403\), access to topic 'bad'/)
    assert.equal(itself.outcome, 'refused')
    assert.match(
      beside.message,
      /"taken" failed: channel \d+ was closed by the server because of basic.publish: ACCESS/,
    )
    assert.equal(beside.outcome, 'unknown')
  })
})

describe('The close of an RPC client', () => {
  it('ends every call, wherever it waits', async () => {
    const the = await rpcConversation()
    the.peer.answers.delete('basic.consume')
    const waiting = rejection(the.client.call('q', '', { exchangeName: 'another' }), ChannelClosedError)
    const written = rejection(the.client.call('q', ''), ChannelClosedError)
    await turn()
    the.peer.reply(0, methods.ConnectionBlocked, { reason: 'memory' })
    await turn()
    const blocked = rejection(the.client.call('q', ''), ChannelClosedError)
    await turn()
    const closed = the.client.close()
    assert.equal((await waiting).outcome, 'notSent')
    assert.equal((await written).outcome, 'unknown')
    assert.equal((await blocked).outcome, 'notSent')
    assert.equal((await rejection(the.client.call('q', ''), ChannelClosedError)).outcome, 'notSent')
    await closed
  })

  it('ends calls that wait for a recovery', async () => {
    const broker = agreeingBroker()
    const clock = new VirtualClock()
    const { peer, protocol } = await converse({ recovery: { initialDelay: 60_000 }, clock }, broker)
    const client = await protocol.rpcClient()
    peer.finish()
    await turn()
    const waiting = [client.call('q', ''), client.call('q', '', { exchangeName: 'another' })]
    const rejected = waiting.map(call => rejection(call, ChannelClosedError))
    await turn()
    await client.close()
    for (const error of await Promise.all(rejected)) assert.equal(error.outcome, 'notSent')
    await protocol.close()
  })
})

describe('The channel of an RPC client', () => {
  it('is given up when somebody needs its number, and opened again for the next call', async () => {
    const broker = agreeingBroker(undefined, { channelMax: 1 })
    const conversation = await converse({}, broker)
    const { peer, protocol } = conversation
    const client = await protocol.rpcClient()
    const channel = await protocol.channel()
    const called = client.call('q', '', ID('one'))
    await turn()
    await channel.close()
    await turn()
    await turn()
    const consume = framesOf(conversation, 'basic.consume').at(-1)
    const the = { ...conversation, client, channel: 1, tag: String(consume?.args['consumerTag']) }
    peer.send(reply(the, 'one', 'answer'))
    assert.equal((await called).text(), 'answer')
    assert.equal(framesOf(conversation, 'basic.consume').length, 2)
  })
})

describe('An RPC server', () => {
  const rabbit310 = { product: 'RabbitMQ', version: '3.10.8' }

  async function served(
    handler: () => Payload | Promise<Payload>,
    properties: { replyTo: string; correlationId?: string },
    serverProperties: Record<string, string> = rabbit310,
  ) {
    const conversation = await converse({}, agreeingBroker(serverProperties))
    const { peer, protocol } = conversation
    let runs = 0
    const server = await protocol.rpcServer('q', () => {
      runs++
      return handler()
    })
    const [consume] = framesOf(conversation, 'basic.consume')
    const channel = consume?.channel ?? 0
    peer.send(deliverFrame(channel, String(consume?.args['consumerTag']), 1), contentFrames(channel, '', properties))
    await turn()
    await turn()
    return { ...conversation, server, channel, runs: () => runs }
  }

  const malformed = ['', '.', 'a', 'a.b', 'a.b.c', '*.#', 'AAAA.x', 'g2EB.x', 'g3cBYQ==.x', 'a===.x', ' .x', 'é.ü']
  for (const suffix of malformed) {
    it(`never sends a reply to "amq.rabbitmq.reply-to.${suffix}", which costs its own request only`, async () => {
      const the = await served(() => 'reply', { replyTo: `amq.rabbitmq.reply-to.${suffix}` })
      assert.deepEqual(framesOf(the, 'basic.publish'), [])
      const [reject] = framesOf(the, 'basic.reject')
      assert.equal(reject?.args['requeue'], false)
      assert.match(the.errors[0]?.message ?? '', /^the request cannot be answered: its replyTo/)
      assert.equal(the.errors.length, 1)
      assert.equal(the.runs(), 0)
      assert.equal(the.protocol.state, 'open')
    })
  }

  it('sends replies to what RabbitMQ makes, and to what is a queue', async () => {
    const genuine = 'amq.rabbitmq.reply-to.g1h2AA5yZXBseUA4MDYyMTY4NAAAMDYAAAADawpjoA==.mPJWkNx8njkhbnuZaZkLNw=='
    for (const replyTo of [genuine, 'queue', 'amq.rabbitmq.reply-to']) {
      const the = await served(() => 'reply', { replyTo })
      assert.deepEqual(
        framesOf(the, 'basic.publish').map(({ args }) => args['routingKey']),
        [replyTo],
      )
    }
  })

  it('sends replies to whatever name where the server bears it', async () => {
    for (const [product, version] of [
      ['RabbitMQ', '4.0.1'],
      ['another', '1.0'],
    ] as const) {
      const the = await served(() => 'reply', { replyTo: 'amq.rabbitmq.reply-to.a.b' }, { product, version })
      assert.equal(framesOf(the, 'basic.publish').length, 1)
    }
  })

  it('answers the caller if the broker refuses the reply, and answers no more than that', async () => {
    const the = await served(() => 'x'.repeat(100), { replyTo: 'queue', correlationId: 'one' })
    const [large] = framesOf(the, 'basic.publish')
    the.peer.reply(large?.channel ?? 0, methods.ChannelClose, {
      replyCode: 406,
      replyText: 'PRECONDITION_FAILED - message size 100 is larger than configured max size 16',
      classId: 60,
      methodId: 40,
    })
    await turn()
    await turn()
    const publishes = framesOf(the, 'basic.publish')
    assert.equal(publishes.length, 2)
    const header = the.peer.frames.filter(({ name }) => name.endsWith(' header')).at(-1)
    assert.match(header?.payload.toString() ?? '', /x-exception-message.*the reply could not be sent:.*max size 16/s)
    assert.deepEqual(framesOf(the, 'basic.ack'), [])
    the.peer.send(ack(publishes[1]?.channel ?? 0, 1))
    await turn()
    assert.equal(framesOf(the, 'basic.ack').length, 1)
    assert.deepEqual(the.errors, [])
  })

  it('rejects a request whose reply is refused again and again, and reports it', async () => {
    const the = await served(() => 'x', { replyTo: 'queue', correlationId: 'one' })
    for (let i = 0; i < 2; i++) {
      const publish = framesOf(the, 'basic.publish').at(-1)
      the.peer.reply(publish?.channel ?? 0, methods.ChannelClose, {
        replyCode: 403,
        replyText: 'ACCESS_REFUSED - no',
        classId: 60,
        methodId: 40,
      })
      await turn()
      await turn()
    }
    assert.equal(framesOf(the, 'basic.publish').length, 2)
    assert.deepEqual(
      framesOf(the, 'basic.reject').map(({ args }) => args['requeue']),
      [false],
    )
    assert.equal(the.errors.length, 1)
  })

  /** Serve one request on connections that are lost before its reply is confirmed, and have it delivered again by each next one. */
  async function servedAgain(...losses: readonly ((peer: FakePeer) => void)[]) {
    const broker = agreeingBroker(rabbit310)
    const clock = new VirtualClock()
    const first = await converse({ recovery: true, clock }, broker)
    let runs = 0
    await first.protocol.rpcServer('q', () => `reply ${++runs}`)
    const request = (redelivered: boolean): Buffer => {
      const peer = broker.peers.at(-1) ?? first.peer
      const { channel = 0, args = {} } = framesOf({ peer }, 'basic.consume').at(-1) ?? {}
      const content = contentFrames(channel, '', { replyTo: 'queue', correlationId: 'one' })
      return Buffer.concat([deliverFrame(channel, String(args['consumerTag']), 1, redelivered), content])
    }
    first.peer.send(request(false))
    await turn()
    assert.equal(framesOf(first, 'basic.publish').length, 1)
    let { peer } = first
    for (const lose of losses) {
      lose(peer)
      await turn()
      await clock.advance(60_000)
      peer = broker.peers.at(-1) ?? peer
      peer.send(request(true))
      await turn()
    }
    return { ...first, peer, runs: () => runs }
  }

  it('sends the reply that it has made by the next connection, and does not run its handler again', async () => {
    const the = await servedAgain(peer => peer.finish())
    const publishes = framesOf(the, 'basic.publish')
    assert.equal(publishes.length, 1)
    assert.deepEqual(framesOf(the, 'basic.ack'), [])
    the.peer.send(ack(publishes[0]?.channel ?? 0, 1))
    await turn()
    assert.equal(framesOf(the, 'basic.ack').length, 1)
    assert.equal(the.runs(), 1)
    assert.deepEqual(the.errors, [])
  })

  it('counts one reply as that of one request, though others are just like it', async () => {
    const broker = agreeingBroker(rabbit310)
    const clock = new VirtualClock()
    const first = await converse({ recovery: true, clock }, broker)
    let runs = 0
    await first.protocol.rpcServer('q', async () => (++runs === 2 ? new Promise<never>(() => {}) : `reply ${runs}`))
    const requests = (redelivered: boolean): Buffer => {
      const peer = broker.peers.at(-1) ?? first.peer
      const { channel = 0, args = {} } = framesOf({ peer }, 'basic.consume').at(-1) ?? {}
      const each = (tag: number): Buffer[] => [
        deliverFrame(channel, String(args['consumerTag']), tag, redelivered),
        contentFrames(channel, '', { replyTo: 'queue' }),
      ]
      return Buffer.concat([...each(1), ...each(2)])
    }
    first.peer.send(requests(false))
    await turn()
    assert.equal(framesOf(first, 'basic.publish').length, 1, 'the other one is still worked on')
    first.peer.finish()
    await turn()
    await clock.advance(60_000)
    const peer = broker.peers.at(-1) ?? first.peer
    peer.send(requests(true))
    await turn()
    assert.equal(runs, 3)
    assert.equal(framesOf({ peer }, 'basic.publish').length, 2)
  })

  it('rejects a request over whose reply the broker closed the connection with an error of its own', async () => {
    const close = (peer: FakePeer): void =>
      peer.reply(0, methods.ConnectionClose, { replyCode: 541, replyText: 'INTERNAL_ERROR', classId: 0, methodId: 0 })
    const the = await servedAgain(close, close, close)
    assert.deepEqual(framesOf(the, 'basic.publish'), [])
    assert.deepEqual(
      framesOf(the, 'basic.reject').map(({ args }) => args['requeue']),
      [false],
    )
    assert.equal(the.runs(), 1)
    assert.match(the.errors[0]?.message ?? '', /^the request cannot be answered: .*INTERNAL_ERROR/)
  })

  it('opens no channel for a reply that comes after its close', async () => {
    let answer: (reply: Payload) => void = () => {}
    const late = new Promise<Payload>(resolve => {
      answer = resolve
    })
    const the = await served(() => late, { replyTo: 'queue' })
    await the.server.close({ timeout: 10 })
    const opened = framesOf(the, 'channel.open').length
    answer('late')
    await turn()
    await turn()
    assert.equal(framesOf(the, 'channel.open').length, opened)
    assert.deepEqual(framesOf(the, 'basic.publish'), [])
    assert.deepEqual(the.errors, [])
  })
})

describe('A reply that this client does not take', () => {
  it('rejects its call, and is reported only if no caller waits for it', async () => {
    const the = await rpcConversation({}, { maxMessageSize: 10 })
    const called = rejection(the.client.call('q', '', ID('one')), ProtocolError)
    await turn()
    the.peer.send(reply(the, 'one', 'x'.repeat(11)))
    const error = await called
    assert.match(error.message, /^rpc call to "q".* failed: its reply was not taken: .*maxMessageSize/)
    assert.deepEqual(the.errors, [])
    the.peer.send(reply(the, 'one', 'x'.repeat(11)))
    await turn()
    assert.equal(the.errors.length, 1)
    const next = the.client.call('q', '', ID('two'))
    await turn()
    the.peer.send(reply(the, 'two', 'short'))
    assert.equal((await next).text(), 'short')
  })
})

/** An error of a program's own class. Another object of that class has no such field, and cannot be asked for its name. */
class PrivateError extends DecodeError {
  readonly #name = 'DecodeError'

  static {
    Object.defineProperty(PrivateError.prototype, 'name', {
      get(this: PrivateError) {
        return this.#name
      },
    })
  }
}

describe('A reply that cannot be read', () => {
  for (const [kind, one] of [
    ['frozen', Object.freeze(new DecodeError('no table'))],
    ['whose name is private', new PrivateError('no table')],
    [
      'whose name is computed',
      Object.defineProperty(new DecodeError('no table'), 'name', { get: () => 'DecodeError', configurable: true }),
    ],
  ] as const) {
    it(`rejects its call with an error of its own, also if a codec throws one each time that is ${kind}`, async () => {
      const csv: Codec = {
        contentType: 'text/csv',
        encode: String,
        decode: () => {
          throw one
        },
      }
      const the = await rpcConversation({ codecs: [csv], timeout: Number.POSITIVE_INFINITY })
      const failed = ['one', 'two'].map(id => rejection(the.client.call('q', 'x', ID(id)), DecodeError))
      await turn()
      for (const correlationId of ['one', 'two']) {
        const content = contentFrames(the.channel, 'a', { correlationId, contentType: 'text/csv' })
        the.peer.send(deliverFrame(the.channel, the.tag, 1), content)
      }
      const errors = await Promise.all(failed)
      assert.deepEqual(
        errors.map(({ message }) => message),
        ['one', 'two'].map(id => `rpc call to "q" with correlationId "${id}" failed: no table`),
      )
      for (const { stack = '' } of errors)
        assert.match(stack, /^DecodeError: rpc call.*no table\n {4}at .*rpc-conversation/)
    })
  }

  it('rejects its call', async () => {
    const the = await rpcConversation()
    const called = the.client.call('q', '', ID('one'))
    await turn()
    const headers = { 'x-exception-name': 'E', 'x-exception-message': [1] }
    const content = contentFrames(the.channel, '', { correlationId: 'one', headers })
    the.peer.send(deliverFrame(the.channel, the.tag, 1), content)
    assert.equal((await rejection(called, RemoteError)).remoteName, 'E')
  })
})
