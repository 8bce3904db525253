import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConnectionLostError, EncodeError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { methodFrame } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { type PublishedTo, publishing } from './publish/publishing-scene.ts'

function agree({ peer }: PublishedTo): void {
  peer.answers.set(methods.TxSelect.name, ({ channel }) => methodFrame(channel, methods.TxSelectOk, {}))
  peer.answers.set(methods.TxCommit.name, ({ channel }) => methodFrame(channel, methods.TxCommitOk, {}))
}

describe('protocol.transaction', () => {
  it('is refused before anything is sent if its work is not a function, as a channel refuses it', async t => {
    const the = await publishing(t, {}, agree)
    const channel = await the.protocol.channel()
    const { frames } = the.current.peer
    const before = frames.length
    for (const work of [undefined, 'work'] as unknown as (() => void)[]) {
      for (const owner of [the.protocol, channel]) {
        const error = await rejection(owner.transaction(work), EncodeError)
        assert.match(error.message, /^transaction: "work" must be a function, not /)
      }
    }
    assert.equal(frames.length, before)
  })

  it('rejects at once if its work throws while the connection is lost, or while the broker blocks', async t => {
    const the = await publishing(t, {}, agree)
    const fail = async (meanwhile: () => void): Promise<void> => {
      const error = new RangeError('of the work')
      const failed = follow(
        the.protocol.transaction(async channel => {
          await channel.basicPublish('x', '', 'q')
          meanwhile()
          await turn()
          throw error
        }),
      )
      await turn()
      await turn()
      await turn()
      assert.equal(failed.error, error)
    }
    await fail(() => the.current.peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' }))
    the.current.peer.reply(0, methods.ConnectionUnblocked, {})
    await turn()
    await fail(() => {
      the.refusing = true
      the.current.lose()
    })
    the.refusing = false
    await the.clock.advance(60_000)
    assert.equal(the.protocol.state, 'open')
    assert.equal(await the.protocol.transaction(() => 'done'), 'done')
    assert.equal(the.protocol.channelsIdsCount, 0)
    assert.deepEqual(the.errors, [])
  })

  it('rejects if the connection is lost in the middle and its work goes on', async t => {
    const the = await publishing(t, {}, agree)
    const failed = the.protocol.transaction(async channel => {
      await channel.basicPublish('x', '', 'q')
      the.current.lose()
      await turn()
      await channel.basicPublish('y', '', 'q')
    })
    await rejection(failed, ConnectionLostError)
    await the.clock.advance(1_000)
    assert.equal(the.connections.length, 2)
    assert.deepEqual(the.connections[1]?.bodies, [])
    assert.equal(the.protocol.channelsIdsCount, 0)
  })
})
