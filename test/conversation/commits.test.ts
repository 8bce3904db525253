import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AbortError,
  ChannelClosedError,
  ConnectionLostError,
  type ConnectOptions,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import {
  type Conversation,
  converseOnChannel,
  delivery,
  FakeBroker,
  type FakePeer,
  methodFrame,
  startConsumer,
} from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

type Channel = Parameters<typeof startConsumer>[0]['channel']

interface Scene extends Conversation {
  readonly channel: Channel
  readonly clock: VirtualClock
}

const commitOk = methodFrame(1, methods.TxCommitOk, {})

/** A transactional channel with a consumer that got messages 1 to 4. Its commits are not answered by themselves. */
async function scene(options: ConnectOptions = {}): Promise<Scene> {
  const clock = new VirtualClock()
  const broker = new FakeBroker()
  broker.prepare = ({ answers }) => {
    answers.set('tx.select', () => methodFrame(1, methods.TxSelectOk, {}))
    answers.set('tx.rollback', () => methodFrame(1, methods.TxRollbackOk, {}))
    answers.set('queue.purge', () => methodFrame(1, methods.QueuePurgeOk, { messageCount: 0 }))
    answers.set('basic.cancel', () => methodFrame(1, methods.BasicCancelOk, { consumerTag: 'c' }))
  }
  const the = await converseOnChannel({ clock, ...options }, broker)
  await the.channel.txSelect()
  await startConsumer(the, () => {}, { consumerTag: 'c' })
  the.peer.send(...[1, 2, 3, 4].map(tag => delivery(1, 'c', tag, `${tag}`)))
  await turn()
  return { ...the, clock }
}

/** What came on the channel since tx.select, without the consumer. */
function came({ names }: FakePeer): string {
  const since = names.slice(names.indexOf('1 tx.select') + 1)
  return since.flatMap(name => /^1 ((?:basic|channel|queue|tx)(?!.*consume)\..*)$/.exec(name)?.[1] ?? []).join(' ')
}

/** Nothing but the commit has come; once it is answered, this method does. */
async function assertFollows(peer: FakePeer, committed: Promise<void>, method: string): Promise<void> {
  await turn()
  assert.equal(came(peer), 'tx.commit')
  peer.send(commitOk)
  await committed
  await turn()
  assert.equal(came(peer), `tx.commit ${method}`)
}

// RabbitMQ closes the connection over any other method that comes before its commit-ok.
describe('a commit that is not answered', () => {
  it('holds back publishes, acks and calls, which then go in their order', async () => {
    const { peer, channel } = await scene()
    void channel.basicPublish('a', 'e', 'k')
    const settled = [channel.txCommit()]
    assert.equal(await channel.basicClientAck(1), true)
    void channel.basicPublish('b', 'e', 'k')
    settled.push(channel.txCommit())
    const later = channel.basicClientAck(2)
    settled.push(
      channel.txRollback(),
      channel.queuePurge('q').then(() => {}),
    )
    await turn()
    assert.equal(came(peer), 'basic.publish tx.commit')
    peer.send(commitOk)
    await turn()
    assert.equal(came(peer), 'basic.publish tx.commit basic.ack basic.publish tx.commit')
    peer.send(commitOk)
    await Promise.all(settled)
    assert.equal(await later, true)
    assert.match(came(peer), /tx.commit basic.ack tx.rollback queue.purge$/)
  })

  it('holds back what the client settles by itself', async () => {
    const { peer, channel } = await scene({ maxMessageSize: 10, onError: () => {} })
    const committed = channel.txCommit()
    await turn()
    peer.send(delivery(1, 'c', 5, 'larger than that'))
    await assertFollows(peer, committed, 'basic.reject')
  })

  it('holds back the answer to what the server asks for', async () => {
    const asked = {
      'basic.cancel-ok': methodFrame(1, methods.BasicCancel, { consumerTag: 'c', noWait: false }),
      'channel.flow-ok': methodFrame(1, methods.ChannelFlow, { active: true }),
    }
    for (const [answer, frame] of Object.entries(asked)) {
      const { peer, channel } = await scene({ onError: () => {} })
      const committed = channel.txCommit()
      await turn()
      peer.send(frame)
      await assertFollows(peer, committed, answer)
    }
  })

  it('leaves no answer behind on a channel that the server closes', async () => {
    const { peer, channel } = await scene({ onError: () => {} })
    const committed = rejection(channel.txCommit(), ChannelClosedError)
    await turn()
    peer.send(
      methodFrame(1, methods.BasicCancel, { consumerTag: 'c', noWait: false }),
      methodFrame(1, methods.ChannelClose, { replyCode: 404, replyText: 'NOT_FOUND', classId: 0, methodId: 0 }),
    )
    await committed
    await turn()
    assert.equal(came(peer), 'tx.commit channel.close-ok')
  })

  it('holds back the cancel of a consumer that was given up before it was granted', async () => {
    const { peer, channel } = await scene()
    const abort = new AbortController()
    const given = rejection(
      channel.basicConsume(() => {}, 'q', { consumerTag: 'up', signal: abort.signal }),
      AbortError,
    )
    const committed = channel.txCommit()
    abort.abort()
    await given
    peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'up' })
    await assertFollows(peer, committed, 'basic.cancel')
  })

  it('holds back a cancel that waited for its consume-ok, and a consume that waited for a cancel-ok', async () => {
    for (const isUsed of [false, true]) {
      const { peer, channel } = await scene()
      peer.answers.delete('basic.cancel')
      const consumerTag = isUsed ? 'c' : 'new'
      const first = isUsed
        ? channel.basicCancel('c')
        : channel.basicConsume(() => {}, 'q', { consumerTag }).then(() => {})
      const second = isUsed ? channel.basicConsume(() => {}, 'q', { consumerTag }) : channel.basicCancel(consumerTag)
      const committed = channel.txCommit()
      await turn()
      peer.reply(1, isUsed ? methods.BasicCancelOk : methods.BasicConsumeOk, { consumerTag })
      await first
      await turn()
      assert.equal(peer.names.at(-1), '1 tx.commit')
      peer.send(commitOk)
      await committed
      await turn()
      assert.equal(peer.names.at(-1), isUsed ? '1 basic.consume' : '1 basic.cancel')
      peer.reply(1, isUsed ? methods.BasicConsumeOk : methods.BasicCancelOk, { consumerTag })
      await second
    }
  })

  it('lets channel.close go, and nothing after it', async () => {
    const { peer, channel } = await scene()
    peer.answers.delete('channel.close')
    const commit = follow(channel.txCommit())
    void channel.basicClientAck(1)
    const waits = rejection(channel.queuePurge('q'), ChannelClosedError)
    const closed = channel.close()
    await turn()
    await waits
    await rejection(channel.queuePurge('q'), ChannelClosedError)
    peer.send(commitOk)
    await turn()
    assert.equal(commit.state, 'resolved')
    void channel.basicPublish('late', 'e', 'k')
    assert.equal(came(peer), 'tx.commit channel.close')
    peer.reply(1, methods.ChannelCloseOk, {})
    await closed
    assert.equal(came(peer), 'tx.commit channel.close')
  })

  it('lets the others wait no longer than their timeouts', async () => {
    const { peer, channel, clock } = await scene()
    const committed = channel.txCommit()
    const ended = [
      rejection(channel.queuePurge('q', { timeout: 100 }), TimeoutError),
      rejection(channel.publish('x', 'e', 'k', {}, { timeout: 100 }), TimeoutError),
    ]
    await clock.advance(100)
    for (const error of await Promise.all(ended)) assert.equal(error.outcome, 'notSent')
    peer.send(commitOk)
    await committed
    await turn()
    assert.equal(came(peer), 'tx.commit')
  })

  it('goes on when its answer comes and no caller waits for it', async () => {
    const { peer, channel } = await scene()
    const abort = new AbortController()
    const aborted = follow(channel.txCommit({ signal: abort.signal }))
    const purged = channel.queuePurge('q')
    abort.abort()
    await turn()
    assert.equal(aborted.state, 'rejected')
    peer.send(commitOk)
    await purged
  })

  it('is lost with its connection, and what waits for it goes on the next one', async () => {
    const the = await scene({ recovery: true })
    const lost = rejection(the.channel.txCommit(), ConnectionLostError)
    const purged = the.channel.queuePurge('q')
    await turn()
    the.peer.transport.break(new Error('read ECONNRESET'))
    await lost
    const [peer] = await Promise.all([the.broker.accept(), the.clock.advance(50)])
    peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'c' })
    await purged
    assert.equal(came(peer), 'queue.purge')
  })
})

describe('a transaction that is lost', () => {
  // The test runner takes an unhandled rejection for a failure.
  it('leaves no ack unhandled, also if it is rolled back at once', async () => {
    const { peer, channel, protocol, errors } = await scene({ recovery: true })
    const committed = rejection(channel.txCommit(), ConnectionLostError)
    void channel.basicClientAck(1)
    void channel.basicPublish('b', 'e', 'k')
    void channel.basicClientAck(2)
    const rolledBack = new Promise<void>(resolve => {
      protocol.on('disconnected', () => resolve(channel.txRollback()))
    })
    await turn()
    peer.transport.break(new Error('read ECONNRESET'))
    await Promise.all([committed, rolledBack])
    await turn()
    const failed = errors.map(({ message }) => message.split(' failed: ')[0])
    assert.deepEqual(failed, ['publish of a message to exchange "e" with routing key "k"'])
  })
})

describe('a commit that waits for the next connection', () => {
  it('goes before the acks of what came after it was called, also while consumers are still recovered', async () => {
    for (const method of ['txCommit', 'txRollback'] as const) {
      const the = await scene({ recovery: true })
      await startConsumer(the, () => {}, { consumerTag: 'late' })
      the.peer.transport.break(new Error('read ECONNRESET'))
      await turn()
      const ended = the.channel[method]()
      const [peer] = await Promise.all([the.broker.accept(), the.clock.advance(50)])
      peer.answers.set('tx.commit', () => commitOk)
      peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'c' })
      peer.send(delivery(1, 'c', 1, 'again'))
      await turn()
      const acked = the.channel.basicClientAck(5)
      await turn()
      assert.equal(came(peer), '')
      peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'late' })
      await ended
      assert.equal(await acked, true)
      assert.equal(came(peer), `${method === 'txCommit' ? 'tx.commit' : 'tx.rollback'} basic.ack`)
    }
  })
})

describe('a close of the protocol', () => {
  it('waits for a commit, within its time', async () => {
    for (const isAnswered of [true, false]) {
      const clock = new VirtualClock()
      const { peer, channel, protocol } = await converseOnChannel({ clock })
      const committed = follow(channel.txCommit())
      const closed = protocol.close({ timeout: 1_000 })
      await clock.advance(100)
      assert.equal(peer.names.at(-1), '1 tx.commit')
      if (isAnswered) peer.send(commitOk)
      await clock.until(closed)
      assert.equal(committed.state, isAnswered ? 'resolved' : 'rejected')
      assert.equal(peer.names.at(-1), '0 connection.close')
    }
  })

  it('stops a consumer whose channel commits when that is answered', async () => {
    const { peer, channel, protocol } = await scene()
    const committed = channel.txCommit()
    await turn()
    const closed = protocol.close()
    await turn()
    assert.equal(came(peer), 'tx.commit')
    peer.send(commitOk)
    await committed
    await turn()
    assert.equal(came(peer), 'tx.commit basic.cancel')
    await closed
  })
})
