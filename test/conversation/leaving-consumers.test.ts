import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Channel } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { type Conversation, converseOnChannel, delivery, methodFrame, startConsumer } from '../support/fake-broker.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

interface Scene extends Conversation {
  readonly channel: Channel
  readonly clock: VirtualClock
  /** What the callback was called with. */
  readonly seen: string[]
  /** Let the callback that runs longest end. */
  release(): Promise<void>
}

const cancelOk = methodFrame(1, methods.BasicCancelOk, { consumerTag: 'c' })
const three = [1, 2, 3].map(tag => delivery(1, 'c', tag, `${tag}`))

/** A consumer without acks whose callback runs with the first of three messages; the others wait for it. */
async function scene(options = {}, noAck = true): Promise<Scene> {
  const clock = new VirtualClock()
  const conversation = await converseOnChannel({ clock, ...options })
  const { peer, channel } = conversation
  peer.answers.set('basic.cancel', () => cancelOk)
  const seen: string[] = []
  const running: (() => void)[] = []
  const callback = (_channel: Channel, body: Buffer): Promise<void> => {
    seen.push(body.toString())
    return new Promise(resolve => running.push(resolve))
  }
  await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1, noAck })
  await turn()
  const release = async (): Promise<void> => {
    running.shift()?.()
    await turn()
  }
  return { ...conversation, clock, seen, release }
}

/** How a consumer ends while its messages wait. */
const ends: Record<string, (scene: Scene) => Promise<unknown>> = {
  'the program cancels': async ({ peer, channel }) => {
    peer.send(...three)
    await turn()
    await channel.basicCancel('c')
  },
  'the program cancels with noWait': async ({ peer, channel }) => {
    peer.send(...three)
    await turn()
    await channel.basicCancel('c', { noWait: true })
  },
  'the program cancels with noWait, and the broker has not answered': async ({ peer, channel }) => {
    peer.answers.delete('basic.cancel')
    await channel.basicCancel('c', { noWait: true })
    peer.send(...three)
    await turn()
  },
  'the program cancels while messages are on their way': async ({ peer, channel }) => {
    peer.answers.set('basic.cancel', () => Buffer.concat([...three, cancelOk]))
    await channel.basicCancel('c')
  },
  'the broker cancels': async ({ peer }) => {
    peer.send(...three, methodFrame(1, methods.BasicCancel, { consumerTag: 'c', noWait: true }))
    await turn()
  },
  'the broker closes the channel': async ({ peer }) => {
    const args = { replyCode: 406, replyText: 'PRECONDITION_FAILED', classId: 60, methodId: 80 }
    peer.send(...three, methodFrame(1, methods.ChannelClose, args))
    await turn()
  },
}

/** The same when no connection follows. */
const lost: typeof ends = {
  'the connection is lost': async ({ peer }) => {
    peer.send(...three)
    await turn()
    peer.finish()
    await turn()
  },
}

/** How the program ends all at once. */
const closes: Record<string, (scene: Scene) => Promise<void>> = {
  'channel.close()': ({ channel }) => channel.close(),
  'channel.close(), before the broker has answered it': async ({ peer, channel }) => {
    peer.answers.delete('channel.close')
    void channel.close()
  },
  'protocol.close() whose time is over': ({ protocol, clock }) => clock.until(protocol.close({ timeout: 100 })),
}

/** Nothing ends it but that close. */
const goesOn: typeof ends = {
  'it goes on until then': async ({ peer }) => {
    peer.send(...three)
    await turn()
  },
}

describe('A consumer without acks that has ended, with messages that wait for its callback,', () => {
  for (const [end, ended] of Object.entries({ ...ends, ...lost, ...goesOn })) {
    it(`has its callback called with all of them if ${end}`, async () => {
      const current = await scene()
      await ended(current)
      for (let n = 1; n <= 3; n++) await current.release()
      assert.deepEqual(current.seen, ['1', '2', '3'])
    })

    for (const [close, closed] of Object.entries(closes)) {
      it(`has its callback called no more after ${close}, if ${end}`, async () => {
        const current = await scene()
        await ended(current)
        await closed(current)
        assert.equal(current.protocol.stats().receivedBytesWaiting, 0)
        await current.release()
        assert.deepEqual(current.seen, ['1'])
      })
    }
  }

  for (const [end, ended] of Object.entries(ends)) {
    it(`is waited for by protocol.close() until its callback has had all of them, if ${end}`, async () => {
      const current = await scene()
      await ended(current)
      const { peer, protocol, seen, release } = current
      const closing = follow(protocol.close())
      await turn()
      // The cancel that was sent with noWait, if it was not answered.
      if (!peer.answers.has('basic.cancel')) {
        peer.answers.set('basic.cancel', () => cancelOk)
        peer.send(cancelOk)
      }
      await release()
      await release()
      assert.deepEqual([seen, closing.state], [['1', '2', '3'], 'pending'])
      assert.ok(!peer.names.includes('0 connection.close'))
      await release()
      assert.equal(closing.state, 'resolved')
    })
  }

  it('keeps them over a recovery, until its channel is closed', async () => {
    for (const isClosed of [false, true]) {
      const { broker, peer, channel, clock, seen, release } = await scene({ recovery: {} })
      peer.send(...three)
      await turn()
      await channel.basicCancel('c')
      peer.finish()
      await clock.advance(1_000)
      await broker.accept()
      await clock.advance(1_000)
      assert.equal(channel.isOpen, true)
      if (isClosed) await channel.close()
      await release()
      await release()
      assert.deepEqual(seen, isClosed ? ['1'] : ['1', '2', '3'])
    }
  })
})

describe('A consumer that is cancelled', () => {
  it('gives back what waits for its callback, unless the broker waits for it no more', async () => {
    const done: Record<string, (scene: Scene) => Promise<unknown>> = {
      'nothing was done': async () => {},
      'the first was acked': ({ channel }) => channel.basicClientAck(1, { multiple: true }),
      'all were acked': ({ channel }) => channel.basicClientAck(0, { multiple: true }),
      'two were acked': ({ channel }) => channel.basicClientAck(2, { multiple: true }),
      'the broker took them back': ({ channel }) => channel.basicRecover(),
      'the broker takes them back': ({ channel }) => channel.basicRecoverAsync(),
    }
    const givenBack: Record<string, unknown[]> = {}
    for (const [what, run] of Object.entries(done)) {
      const the = await scene({}, false)
      the.peer.answers.set('basic.recover', () => methodFrame(1, methods.BasicRecoverOk, {}))
      the.peer.send(...three)
      await turn()
      await run(the)
      await the.channel.basicCancel('c')
      await turn()
      const nacks = the.peer.frames.filter(({ method }) => method === methods.BasicNack)
      givenBack[what] = nacks.map(({ args }) => args['deliveryTag'])
    }
    assert.deepEqual(givenBack, {
      'nothing was done': [2, 3],
      'the first was acked': [2, 3],
      'all were acked': [],
      'two were acked': [3],
      'the broker took them back': [],
      'the broker takes them back': [],
    })
  })
})

describe('A callback that runs when its consumer is cancelled', () => {
  for (const noWait of [false, true]) {
    it(`has its ack sent before protocol.close() closes the connection${noWait ? ', also with noWait' : ''}`, async () => {
      const { peer, protocol, channel, clock, release } = await scene({}, false)
      peer.send(delivery(1, 'c', 1, '1'))
      await turn()
      await channel.basicCancel('c', { noWait })
      const closing = protocol.close()
      await turn()
      assert.ok(!peer.names.includes('0 connection.close'))
      assert.equal(await channel.basicClientAck(1), true)
      await release()
      await clock.until(closing)
      assert.deepEqual(peer.names.slice(-2), ['1 basic.ack', '0 connection.close'])
    })
  }

  it('is not waited for once the program has closed its channel', async () => {
    const { peer, protocol, channel } = await scene({}, false)
    peer.send(delivery(1, 'c', 1, '1'))
    await turn()
    await channel.basicCancel('c')
    await channel.close()
    const closing = follow(protocol.close())
    await turn()
    assert.equal(closing.state, 'resolved')
  })
})
