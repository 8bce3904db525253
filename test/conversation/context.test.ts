import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, it } from 'node:test'
import type { Channel } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { agreeingBroker, framesOf } from '../support/agreeing-broker.ts'
import { type Conversation, contentFrames, converse, deliverFrame, returnFrames } from '../support/fake-broker.ts'
import { turn } from '../support/settled.ts'

const storage = new AsyncLocalStorage<string>()

interface Registration {
  register(conversation: Conversation, channel: Channel, note: () => void): unknown
  trigger(conversation: Conversation): void
}

function deliver(conversation: Conversation): void {
  const { channel = 0, args = {} } = framesOf(conversation, 'basic.consume').at(-1) ?? {}
  conversation.peer.send(deliverFrame(channel, String(args['consumerTag']), 1), contentFrames(channel, '', {}))
}

function cancel(conversation: Conversation): void {
  const { channel = 0, args = {} } = framesOf(conversation, 'basic.consume').at(-1) ?? {}
  conversation.peer.reply(channel, methods.BasicCancel, { consumerTag: String(args['consumerTag']), noWait: true })
}

const fail = (): never => {
  throw new Error('failed')
}

/** Code of the program, by the place at which it is registered. */
const REGISTRATIONS: Readonly<Record<string, Registration>> = {
  'the callback of basicConsume': {
    register: (_the, channel, note) => channel.basicConsume(note, 'q'),
    trigger: deliver,
  },
  'the handler of a consumer': { register: ({ protocol }, _c, note) => protocol.consumer('q', note), trigger: deliver },
  onFailure: {
    register: ({ protocol }, _channel, note) =>
      protocol.consumer('q', fail, {
        onFailure: () => {
          note()
          return 'reject'
        },
      }),
    trigger: deliver,
  },
  onCancel: {
    register: ({ protocol }, _channel, note) =>
      protocol.consumer('q', {
        onCancel: () => {
          note()
          return 'close'
        },
      }),
    trigger: cancel,
  },
  'the handler of an RPC server': {
    register: ({ protocol }, _channel, note) => protocol.rpcServer('q', note),
    trigger: deliver,
  },
  'a return callback': {
    register: (_the, channel, note) => {
      channel.returnCallback = note
    },
    trigger: ({ peer }) => peer.send(returnFrames(1, 'k', '')),
  },
  'the return callback of a new channel': {
    register: ({ protocol }, _channel, note) => protocol.channel({ returnCallback: note }),
    trigger: ({ peer }) => peer.send(returnFrames(2, 'k', '')),
  },
  'a cancellation callback': {
    register: async (_the, channel, note) => {
      channel.addCancellationCallback(note)
      await channel.basicConsume(() => {}, 'q')
    },
    trigger: cancel,
  },
  'a listener of a protocol': {
    register: ({ protocol }, _channel, note) => protocol.on('blocked', note),
    trigger: ({ peer }) => peer.reply(0, methods.ConnectionBlocked, { reason: 'memory' }),
  },
  'a listener of a consumer': {
    register: async ({ protocol }, _channel, note) => (await protocol.consumer('q')).once('cancelled', note),
    trigger: cancel,
  },
}

describe('The asynchronous context', () => {
  for (const [what, { register, trigger }] of Object.entries(REGISTRATIONS)) {
    it(`of ${what} is the one in which it was registered`, async () => {
      const the = await storage.run('connected', () => converse({}, agreeingBroker()))
      const channel = await the.protocol.channel()
      const stores: unknown[] = []
      await storage.run('registered', () => register(the, channel, () => void stores.push(storage.getStore())))
      storage.run('triggered', () => trigger(the))
      await turn()
      assert.deepEqual(stores, ['registered'])
      await the.protocol.close({ timeout: 100 })
    })
  }

  for (const what of ['the callback of basicConsume', 'the handler of a consumer', 'the handler of an RPC server']) {
    it(`that ${what} enters stays with its message`, async () => {
      const the = await converse({}, agreeingBroker())
      const channel = await the.protocol.channel()
      const stores: unknown[] = []
      const note = async (): Promise<void> => {
        stores.push(storage.getStore())
        storage.enterWith('entered')
        await undefined
        assert.equal(storage.getStore(), 'entered')
      }
      await storage.run('registered', () => REGISTRATIONS[what]?.register(the, channel, note))
      for (let i = 0; i < 2; i++) {
        // Two in one read.
        deliver(the)
        deliver(the)
        await turn()
      }
      assert.deepEqual(stores, ['registered', 'registered', 'registered', 'registered'])
      await the.protocol.close({ timeout: 100 })
    })
  }

  it('that a listener enters stays with its event', async () => {
    const the = await converse({}, agreeingBroker())
    const stores: unknown[] = []
    the.protocol.on('blocked', () => {
      stores.push(storage.getStore())
      storage.enterWith('entered')
    })
    for (let i = 0; i < 2; i++) the.peer.reply(0, methods.ConnectionBlocked, { reason: `memory ${i}` })
    await turn()
    assert.deepEqual(stores, [undefined, undefined])
  })

  it('of onError is that of connect', async () => {
    const stores: unknown[] = []
    const onError = () => void stores.push(storage.getStore())
    const the = await storage.run('connected', () => converse({ onError }, agreeingBroker()))
    const channel = await the.protocol.channel()
    await storage.run('registered', () => channel.basicConsume(fail, 'q'))
    storage.run('triggered', () => deliver(the))
    await turn()
    assert.deepEqual(stores, ['connected'])
  })

  it('of a promise is that of its caller, not of the code that opened the channel or published first', async () => {
    const the = await storage.run('connected', () => converse({}, agreeingBroker()))
    const stores: unknown[] = []
    const publish = (caller: string): Promise<void> =>
      storage.run(caller, async () => {
        await the.protocol.publish('x', 'e', 'k')
        stores.push(storage.getStore())
      })
    const published = [publish('first'), publish('second')]
    await turn()
    storage.run('triggered', () => the.peer.reply(1, methods.BasicAck, { deliveryTag: 2, multiple: true }))
    await Promise.all(published)
    await storage.run('third', async () => {
      await the.protocol.channel()
      stores.push(storage.getStore())
    })
    assert.deepEqual(stores, ['first', 'second', 'third'])
    await the.protocol.close({ timeout: 100 })
  })

  it('of what a connection asks while it recovers is that in which it was given', async () => {
    const stores: Record<string, unknown> = {}
    const note = (what: string): void => {
      stores[what] ??= storage.getStore()
    }
    const giveUpOn = (): boolean => {
      note('giveUpOn')
      return true
    }
    const broker = agreeingBroker()
    let refuses = false
    const createTransport: typeof broker.createTransport = (...args) =>
      refuses ? Promise.reject(new Error('refused')) : broker.createTransport(...args)
    const the = await storage.run('connected', () => converse({ recovery: { giveUpOn }, createTransport }, broker))
    const closed = new Promise<void>(resolve => {
      storage.run('registered', () => {
        the.protocol.on('disconnected', () => note('disconnected'))
        the.protocol.on('recovering', () => note('recovering'))
        the.protocol.on('closed', () => {
          note('closed')
          resolve()
        })
      })
    })
    refuses = true
    storage.run('triggered', () => the.peer.finish())
    await closed
    assert.deepEqual(stores, {
      disconnected: 'registered',
      recovering: 'registered',
      giveUpOn: 'connected',
      closed: 'registered',
    })
  })
})
