import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { AmqpProtocol, Channel, ConnectOptions, Logger } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { agreeingBroker, framesOf } from '../support/agreeing-broker.ts'
import {
  type Conversation,
  contentFrames,
  converse,
  deliverFrame,
  type FakeBroker,
  methodFrame,
  returnFrames,
} from '../support/fake-broker.ts'
import { HOSTILE_VALUES, hostileForms } from '../support/hostile-values.ts'
import { turn, within } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

type Hostile = () => unknown

/** A place where the program's code is called. */
interface Place {
  /** How often its error is reported to `onError`, or else as an unhandled rejection. */
  readonly told: number
  readonly byRejection?: boolean
  /** Have `hostile` called there, and see that all else goes on. */
  run(hostile: Hostile): Promise<Conversation>
}

/** Run `call` with unhandled rejections collected. */
async function collecting(call: () => Promise<unknown>): Promise<unknown[]> {
  const unhandled: unknown[] = []
  const listeners = process.rawListeners('unhandledRejection') as NodeJS.UnhandledRejectionListener[]
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', error => unhandled.push(error))
  try {
    await call()
    await turn()
  } finally {
    process.removeAllListeners('unhandledRejection')
    for (const listener of listeners) process.on('unhandledRejection', listener)
  }
  return unhandled
}

interface OneConsumer extends Conversation {
  readonly channel: number
  readonly tag: string
}

/** What the last basic.consume asked for. */
function consumerOf(conversation: Conversation): OneConsumer {
  const consume = framesOf(conversation, 'basic.consume').at(-1)
  return { ...conversation, channel: consume?.channel ?? 0, tag: String(consume?.args['consumerTag']) }
}

/** The protocol of the trial that runs. */
let current: AmqpProtocol | undefined

async function begin(options: ConnectOptions, broker: FakeBroker): Promise<Conversation> {
  const conversation = await converse(options, broker)
  current = conversation.protocol
  return conversation
}

async function agreeing(options: ConnectOptions = {}): Promise<Conversation> {
  return begin(options, agreeingBroker())
}

/** Deliver `count` messages in one read. */
async function deliver({ peer, channel, tag }: OneConsumer, count: number, properties = {}): Promise<void> {
  const all = Array.from({ length: count }, (_, i) => [
    deliverFrame(channel, tag, i + 1),
    contentFrames(channel, String(i + 1), properties),
  ])
  peer.send(...all.flat())
  await turn()
}

function tags(conversation: Conversation, method: string): unknown[] {
  return framesOf(conversation, method).map(({ args }) => args['deliveryTag'])
}

/** What is hostile once, and then returns. */
function once(hostile: Hostile): { readonly call: () => unknown; readonly calls: () => number } {
  let calls = 0
  return { call: () => (++calls === 1 ? hostile() : undefined), calls: () => calls }
}

async function callbackConsumer(hostile: Hostile, concurrency: number): Promise<Conversation> {
  const conversation = await agreeing()
  const channel = await conversation.protocol.channel()
  const { call, calls } = once(hostile)
  await channel.basicConsume(call, 'q', { concurrency })
  await deliver(consumerOf(conversation), 3)
  assert.equal(calls(), 3)
  await channel.basicClientAck(2)
  await turn()
  assert.deepEqual(tags(conversation, 'basic.ack'), [2])
  return conversation
}

async function cancelled(conversation: Conversation): Promise<void> {
  const { peer, channel, tag } = consumerOf(conversation)
  peer.reply(channel, methods.BasicCancel, { consumerTag: tag, noWait: true })
  await turn()
}

async function recovered(options: ConnectOptions): Promise<Conversation> {
  const clock = new VirtualClock()
  const broker = agreeingBroker()
  const conversation = await begin({ recovery: true, clock, ...options }, broker)
  conversation.peer.finish()
  await turn()
  await clock.advance(60_000)
  await turn()
  return { ...conversation, peer: broker.peers.at(-1) ?? conversation.peer }
}

const quiet: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }

const PLACES: Readonly<Record<string, Place>> = {
  'the callback of basicConsume': { told: 1, run: hostile => callbackConsumer(hostile, 10) },
  'the callback of basicConsume, one at a time': { told: 1, run: hostile => callbackConsumer(hostile, 1) },

  'the handler of a consumer': {
    told: 1,
    run: async hostile => {
      const conversation = await agreeing()
      const { call, calls } = once(hostile)
      await conversation.protocol.consumer('q', call, { onFailure: 'reject', concurrency: 1 })
      await deliver(consumerOf(conversation), 3)
      assert.equal(calls(), 3)
      assert.deepEqual(tags(conversation, 'basic.reject'), [1])
      assert.deepEqual(tags(conversation, 'basic.ack'), [2, 3])
      return conversation
    },
  },
  'the handler of a consumer with an error destination': {
    told: 1,
    run: async hostile => {
      const conversation = await agreeing()
      const { call } = once(hostile)
      const onFailure = { exchangeName: '', routingKey: 'errors' }
      await conversation.protocol.consumer('q', call, { onFailure, concurrency: 1 })
      await deliver(consumerOf(conversation), 2)
      const [copy] = framesOf(conversation, 'basic.publish')
      assert.equal(copy?.args['routingKey'], 'errors')
      conversation.peer.reply(copy?.channel ?? 0, methods.BasicAck, { deliveryTag: 1, multiple: false })
      await turn()
      assert.deepEqual(tags(conversation, 'basic.ack').sort(), [1, 2])
      return conversation
    },
  },
  'the handler of a consumer without acks': {
    told: 1,
    run: async hostile => {
      const conversation = await agreeing()
      const { call, calls } = once(hostile)
      await conversation.protocol.consumer('q', call, { noAck: true, concurrency: 1 })
      await deliver(consumerOf(conversation), 3)
      assert.equal(calls(), 3)
      return conversation
    },
  },
  onFailure: {
    // The handler's own error too.
    told: 2,
    run: async hostile => {
      const clock = new VirtualClock()
      const conversation = await agreeing({ clock })
      const handler = once(() => {
        throw new Error('the handler')
      })
      await conversation.protocol.consumer('q', handler.call, { onFailure: hostile as () => undefined })
      await deliver(consumerOf(conversation), 2)
      await clock.advance(2_000)
      assert.deepEqual(tags(conversation, 'basic.reject'), [1])
      assert.deepEqual(tags(conversation, 'basic.ack'), [2])
      return conversation
    },
  },
  onCancel: {
    told: 1,
    run: async hostile => {
      const clock = new VirtualClock()
      const conversation = await agreeing({ clock })
      const handler = once(ignore)
      await conversation.protocol.consumer('q', handler.call, { onCancel: hostile as () => undefined })
      await cancelled(conversation)
      await clock.advance(60_000)
      assert.equal(framesOf(conversation, 'basic.consume').length, 2)
      await deliver(consumerOf(conversation), 1)
      assert.equal(handler.calls(), 1)
      return conversation
    },
  },
  'the handler of an RPC server': {
    told: 0,
    run: async hostile => {
      const conversation = await agreeing()
      const { call } = once(hostile)
      const { protocol, peer } = conversation
      await protocol.rpcServer('q', call as () => undefined, { concurrency: 1 })
      await deliver(consumerOf(conversation), 2, { replyTo: 'replies', correlationId: 'one' })
      const headers = () => peer.frames.filter(({ name }) => name.endsWith(' header'))
      assert.match(headers()[0]?.payload.toString() ?? '', /x-exception-message/)
      const [reply] = framesOf(conversation, 'basic.publish')
      peer.reply(reply?.channel ?? 0, methods.BasicAck, { deliveryTag: 1, multiple: false })
      await turn()
      assert.equal(headers().length, 2)
      peer.reply(reply?.channel ?? 0, methods.BasicAck, { deliveryTag: 2, multiple: false })
      await turn()
      assert.deepEqual(tags(conversation, 'basic.ack'), [1, 2])
      return conversation
    },
  },
  'the handler of an RPC server, for a request without replyTo': {
    told: 1,
    run: async hostile => {
      const conversation = await agreeing()
      const { call } = once(hostile)
      await conversation.protocol.rpcServer('q', call as () => undefined, { concurrency: 1 })
      await deliver(consumerOf(conversation), 2)
      assert.deepEqual(tags(conversation, 'basic.reject'), [1])
      assert.deepEqual(tags(conversation, 'basic.ack'), [2])
      return conversation
    },
  },
  'a return callback': {
    told: 1,
    run: async hostile => {
      const conversation = await agreeing()
      const { call, calls } = once(hostile)
      await conversation.protocol.channel({ returnCallback: call })
      conversation.peer.send(returnFrames(1, 'k', 'a'), returnFrames(1, 'k', 'b'))
      await turn()
      assert.equal(calls(), 2)
      return conversation
    },
  },
  'a cancellation callback': {
    told: 1,
    run: async hostile => {
      const conversation = await agreeing()
      const channel = await conversation.protocol.channel()
      const other = once(ignore)
      channel.addCancellationCallback(hostile)
      channel.addCancellationCallback(other.call)
      await channel.basicConsume(ignore, 'q')
      await cancelled(conversation)
      assert.equal(other.calls(), 1)
      return conversation
    },
  },
  'a listener of a protocol': {
    told: 2,
    run: async hostile => {
      const conversation = await agreeing()
      const other = once(ignore)
      conversation.protocol.on('blocked', hostile)
      conversation.protocol.prependListener('unblocked', hostile)
      conversation.protocol.on('unblocked', other.call)
      conversation.peer.reply(0, methods.ConnectionBlocked, { reason: 'memory' })
      conversation.peer.reply(0, methods.ConnectionUnblocked, {})
      await turn()
      assert.equal(other.calls(), 1)
      return conversation
    },
  },
  'listeners of a protocol that recovers': {
    told: 3,
    run: async hostile => {
      const clock = new VirtualClock()
      const broker = agreeingBroker()
      const conversation = await begin({ recovery: true, clock }, broker)
      for (const event of ['disconnected', 'recovering', 'recovered'] as const) conversation.protocol.on(event, hostile)
      conversation.peer.finish()
      await turn()
      await clock.advance(60_000)
      await turn()
      return { ...conversation, peer: broker.peers.at(-1) ?? conversation.peer }
    },
  },
  'listeners of a consumer': {
    told: 3,
    run: async hostile => {
      const clock = new VirtualClock()
      const conversation = await agreeing({ clock })
      const consumer = await conversation.protocol.consumer('q', ignore)
      consumer.on('cancelled', hostile).on('resumed', hostile).on('closed', hostile)
      await cancelled(conversation)
      await clock.advance(60_000)
      assert.equal(framesOf(conversation, 'basic.consume').length, 2)
      await consumer.close()
      return conversation
    },
  },
  onError: {
    told: 1,
    byRejection: true,
    run: async hostile => {
      const conversation = await agreeing({ onError: hostile })
      const channel = await conversation.protocol.channel()
      const callback = once(() => {
        throw new Error('the callback')
      })
      await channel.basicConsume(callback.call, 'q')
      await deliver(consumerOf(conversation), 2)
      assert.equal(callback.calls(), 2)
      return conversation
    },
  },
  // Its own errors become warnings of the process.
  'a logger that warns': {
    told: 0,
    run: async hostile => {
      const conversation = await agreeing({ onError: undefined, logger: { ...quiet, warn: hostile } })
      const handler = once(() => {
        throw new Error('the handler')
      })
      await conversation.protocol.consumer('q', handler.call, { onFailure: 'reject' })
      await deliver(consumerOf(conversation), 2)
      assert.deepEqual(tags(conversation, 'basic.reject'), [1])
      assert.deepEqual(tags(conversation, 'basic.ack'), [2])
      return conversation
    },
  },
  'a logger that traces': {
    told: 0,
    run: async hostile => {
      let debug: Hostile = ignore
      const conversation = await agreeing({ traceFrames: true, logger: { ...quiet, debug: () => debug() } })
      const channel = await conversation.protocol.channel()
      const trace = once(hostile)
      debug = trace.call
      await channel.basicPublish('a', 'e', 'k')
      await channel.basicPublish('b', 'e', 'k')
      await turn()
      assert.equal(framesOf(conversation, 'basic.publish').length, 2)
      assert.ok(trace.calls() > 1)
      return conversation
    },
  },
  giveUpOn: {
    told: 1,
    run: async hostile => {
      let failed = 0
      const broker = agreeingBroker()
      const createTransport: ConnectOptions['createTransport'] = async (...args) => {
        if (broker.peers.length === 1 && failed++ === 0) throw new Error('no transport')
        return broker.createTransport(...args)
      }
      const clock = new VirtualClock()
      const giveUpOn = hostile as () => boolean
      const conversation = await begin({ recovery: { giveUpOn }, clock, createTransport }, broker)
      conversation.peer.finish()
      await turn()
      await clock.advance(120_000)
      await turn()
      assert.equal(failed, 2)
      return { ...conversation, peer: broker.peers.at(-1) ?? conversation.peer }
    },
  },
  'the password function of a recovery': {
    told: 0,
    run: async hostile => {
      let calls = 0
      return recovered({ password: () => (++calls === 2 ? (hostile() as string) : 'guest') })
    },
  },
  'a mechanism of a recovery': {
    told: 0,
    run: async hostile => {
      let calls = 0
      const response = () => (++calls === 2 ? (hostile() as string) : 'guest')
      return recovered({ loginMethod: { name: 'PLAIN', response } })
    },
  },
  'the work of a transaction': {
    told: 0,
    run: async hostile => {
      const conversation = await transactional()
      await isRejected(conversation.protocol.transaction(hostile as (channel: Channel) => Promise<void>))
      await turn()
      assert.equal(framesOf(conversation, 'tx.commit').length, 0)
      assert.equal(framesOf(conversation, 'channel.close').length, 1)
      return conversation
    },
  },
  'the work of a transaction of a channel': {
    told: 0,
    run: async hostile => {
      const conversation = await transactional()
      const channel = await conversation.protocol.channel()
      const done = channel.transaction(() => {
        void channel.basicPublish('taken back', '', 'q')
        return hostile() as Promise<void>
      })
      await isRejected(done)
      assert.equal(framesOf(conversation, 'tx.rollback').length, 1)
      return conversation
    },
  },
}

async function transactional(): Promise<Conversation> {
  const conversation = await agreeing()
  conversation.peer.answers.set('tx.select', ({ channel }) => methodFrame(channel, methods.TxSelectOk, {}))
  conversation.peer.answers.set('tx.rollback', ({ channel }) => methodFrame(channel, methods.TxRollbackOk, {}))
  return conversation
}

/** With whatever it is: assert.rejects looks at it. */
async function isRejected(promise: Promise<unknown>): Promise<void> {
  let rejected = 0
  await promise.catch(() => rejected++)
  assert.equal(rejected, 1)
}

/** Hostile code ends only the operation that called it. */
async function tryOut({ told, byRejection = false, run }: Place, hostile: Hostile): Promise<void> {
  let conversation: Conversation | undefined
  const unhandled = await collecting(async () => {
    conversation = await run(hostile)
    await turn()
  })
  if (conversation === undefined) throw new Error('there was no conversation')
  const { protocol, peer, errors } = conversation
  assert.equal(protocol.state, 'open')
  assert.deepEqual(peer.transport.escaped, [])
  const all = byRejection ? unhandled : errors
  assert.equal(all.length, told)
  assert.equal((byRejection ? errors : unhandled).length, 0)
  for (const error of all) assert.equal(typeof (error as Error).message, 'string')
  await goesOn(protocol, conversation)
}

async function goesOn(protocol: AmqpProtocol, conversation: Conversation): Promise<void> {
  const channel = await protocol.channel()
  await channel.basicPublish('still', 'here', '')
  await turn()
  assert.equal(framesOf(conversation, 'basic.publish').at(-1)?.args['exchangeName'], 'here')
  await protocol.close()
}

for (const [place, trial] of Object.entries(PLACES)) {
  describe(`Hostile code as ${place}`, () => {
    for (const [form, hostile] of Object.entries(hostileForms(new Error('hostile')))) {
      it(`that ${form} costs nothing else`, () => tryOut(trial, hostile))
    }
    for (const [what, thrown] of Object.entries(HOSTILE_VALUES)) {
      it(`that throws or rejects with ${what} costs nothing else`, async () => {
        const { throws, rejects } = hostileForms(thrown)
        if (throws !== undefined) await tryOut(trial, throws)
        if (rejects !== undefined) await tryOut(trial, rejects)
      })
    }
  })
}

/** What a program may call back in the middle of it all. */
const CALLS_BACK: Readonly<Record<string, (protocol: AmqpProtocol) => void>> = {
  'closes the protocol': protocol => void protocol.close({ timeout: 50 }),
  'closes the protocol twice, publishes and opens a channel': protocol => {
    void protocol.close({ timeout: 50 })
    protocol.publish('', '', 'q').catch(ignore)
    protocol.channel().catch(ignore)
    void protocol.close()
  },
}

describe('Code of the program that calls back', () => {
  for (const [place, { run }] of Object.entries(PLACES)) {
    for (const [what, callBack] of Object.entries(CALLS_BACK)) {
      it(`as ${place}, and ${what}, has all of it closed, and its error reported`, async () => {
        const escaped: unknown[] = []
        let protocol: AmqpProtocol | undefined
        const unhandled = await collecting(async () => {
          const trial = run(() => {
            if (current !== undefined) callBack(current)
            throw new Error('called back')
          })
          // Most effects that a trial looks for no longer happen.
          await trial.then(({ peer }) => escaped.push(...peer.transport.escaped), ignore)
          protocol = current
          await within(2_000, 'the end of the protocol', protocol?.close({ timeout: 50 }) ?? Promise.resolve())
        })
        assert.equal(protocol?.state, 'closed')
        assert.deepEqual(escaped, [])
        const messages = unhandled.map(error => (error as Error).message)
        assert.deepEqual(
          [...new Set(messages)].filter(message => message !== 'called back'),
          [],
        )
      })
    }
  }
})

function ignore(): void {}
