import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AbortError, connect, TimeoutError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { agreeingBroker } from '../support/agreeing-broker.ts'
import { type Conversation, converse } from '../support/fake-broker.ts'
import { HOSTILE_VALUES } from '../support/hostile-values.ts'
import { rejection } from '../support/rejection.ts'
import { turn } from '../support/settled.ts'

/** What waits and takes a signal. Nothing of it is answered by then. */
const WAITS: Readonly<Record<string, (conversation: Conversation, signal: AbortSignal) => Promise<unknown>>> = {
  'opening a channel': ({ peer, protocol }, signal) => {
    peer.answers.delete('channel.open')
    return protocol.channel({ signal })
  },
  'a synchronous method': async ({ protocol }, signal) => (await protocol.channel()).queueDeclare('q', { signal }),
  'a method on a channel of its own': ({ peer, protocol }, signal) => {
    peer.answers.delete('channel.close')
    return protocol.queueDelete('q', { signal })
  },
  'a publish of a channel': async ({ protocol }, signal) => {
    const channel = await protocol.channel({ publisherConfirms: true })
    return channel.publish('', '', 'q', {}, { signal })
  },
  'a publish that is not written': async ({ peer, protocol }, signal) => {
    const channel = await protocol.channel({ publisherConfirms: true })
    peer.reply(0, methods.ConnectionBlocked, { reason: 'memory' })
    await turn()
    return channel.publish('', '', 'q', {}, { signal })
  },
  'a publish of the protocol': ({ protocol }, signal) => protocol.publish('', '', 'q', {}, { signal }),
  'the start of a consumer': ({ peer, protocol }, signal) => {
    peer.answers.delete('basic.consume')
    return protocol.consumer('q', { signal })
  },
  'a message of a consumer': async ({ protocol }, signal) => (await protocol.consumer('q')).next({ signal }),
  'an RPC call': async ({ protocol }, signal) => (await protocol.rpcClient()).call('q', '', { signal }),
}

describe('An abort', () => {
  for (const [what, wait] of Object.entries(WAITS)) {
    it(`of ${what} ends it, whatever its reason is`, async () => {
      for (const reason of Object.values(HOSTILE_VALUES)) {
        const conversation = await converse({}, agreeingBroker())
        const controller = new AbortController()
        const waiting = rejection(wait(conversation, controller.signal), AbortError)
        await turn()
        controller.abort(reason)
        const { cause, message } = await waiting
        // An abort without a reason gets one.
        if (reason !== undefined) assert.ok(Object.is(cause, reason))
        assert.equal(typeof message, 'string')
        assert.equal(conversation.protocol.state, 'open')
        assert.deepEqual(conversation.peer.transport.escaped, [])
        await conversation.protocol.close({ timeout: 1 })
      }
    })
  }

  it('of a connect ends it, whatever its reason is', async () => {
    for (const reason of Object.values(HOSTILE_VALUES)) {
      const controller = new AbortController()
      const broker = agreeingBroker()
      broker.prepare = peer => peer.mute()
      const { createTransport } = broker
      const connecting = rejection(connect({ createTransport, signal: controller.signal }), AbortError)
      await turn()
      controller.abort(reason)
      await connecting
    }
  })

  it('by a timeout is a TimeoutError, also one of another realm', async () => {
    const { protocol } = await converse({}, agreeingBroker())
    const foreign = Object.assign(Object.create(null), { name: 'TimeoutError', message: 'late' })
    for (const reason of [new DOMException('late', 'TimeoutError'), foreign]) {
      const { cause } = await rejection(
        protocol.publish('', '', 'q', {}, { signal: AbortSignal.abort(reason) }),
        TimeoutError,
      )
      assert.equal(cause, reason)
    }
    await protocol.close()
  })
})
