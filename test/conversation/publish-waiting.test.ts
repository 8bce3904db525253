import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AbortError,
  type AmqpError,
  type BasicProperties,
  BufferFullError,
  type Channel,
  ChannelClosedError,
  ConnectionLostError,
  type ConnectOptions,
  EncodeError,
  ProtocolError,
  type PublishOptions,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import {
  type Conversation,
  converse,
  delivery,
  FakeBroker,
  type FakePeer,
  methodFrame,
  startConsumer,
} from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

interface Scene extends Conversation {
  readonly channel: Channel
  readonly clock: VirtualClock
}

/** A channel of a client whose time is the test's, at a broker that agrees to modes by itself. */
async function scene(options: ConnectOptions = {}, confirming = false): Promise<Scene> {
  const broker = new FakeBroker()
  broker.prepare = peer => {
    for (const [asked, agreed] of [
      [methods.ConfirmSelect, methods.ConfirmSelectOk],
      [methods.TxSelect, methods.TxSelectOk],
      [methods.TxCommit, methods.TxCommitOk],
      [methods.TxRollback, methods.TxRollbackOk],
    ] as const) {
      peer.answers.set(asked.name, ({ channel }) => methodFrame(channel, agreed, {}))
    }
  }
  const clock = new VirtualClock()
  const conversation = await converse({ clock, ...options }, broker)
  const channel = await conversation.protocol.channel({ publisherConfirms: confirming })
  return { ...conversation, channel, clock }
}

function block({ peer }: Scene): void {
  peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
}

function unblock({ peer }: Scene): void {
  peer.reply(0, methods.ConnectionUnblocked, {})
}

/** Make the channel transactional, deliver a message with tag 1, and block the connection. */
async function deliverAndBlock(the: Scene): Promise<void> {
  await the.channel.txSelect()
  await startConsumer(the, () => {}, { consumerTag: 'c' })
  the.peer.send(delivery(1, 'c', 1, 'x'))
  block(the)
  await turn()
}

/** The bodies and the methods of transactions that came, in order. */
function came(peer: FakePeer): string {
  return peer.frames
    .filter(({ type, method }) => type === 3 || method?.name.startsWith('tx.') === true)
    .map(({ type, payload, method }) => (type === 3 ? String(payload) : method?.name))
    .join(' ')
}

/** Cut the connection; the next one is open, and its channel usable, when this resolves. */
async function loseAndRecover(the: Scene, meanwhile: () => void = () => {}): Promise<FakePeer> {
  the.peer.transport.break(new Error('read ECONNRESET'))
  await turn()
  meanwhile()
  const [peer] = await Promise.all([the.broker.accept(), the.clock.until(recovered(the))])
  return peer
}

function recovered({ protocol }: Scene): Promise<unknown> {
  return new Promise(resolve => protocol.once('recovered', resolve))
}

/** Headers whose getter aborts the signal, once they are being sent. */
function abortingGetter() {
  const abort = new AbortController()
  const getter = {
    isSending: false,
    signal: abort.signal,
    headers: {
      get now() {
        if (getter.isSending) abort.abort()
        return 1
      },
    },
  }
  return getter
}

describe('a timeout or a signal', () => {
  it('ends a publish without confirms whose bytes the socket keeps, as of unknown fate', async () => {
    const { peer, channel, clock } = await scene()
    peer.transport.stall()
    const abort = new AbortController()
    const ended = [
      rejection(channel.publish(Buffer.alloc(100_000), 'e', 'k', undefined, { timeout: 100 }), TimeoutError),
      rejection(channel.publish('small', 'e', 'k', undefined, { timeout: 100 }), TimeoutError),
      rejection(channel.publish('small', 'e', 'k', undefined, { signal: abort.signal }), AbortError),
    ]
    await turn()
    abort.abort()
    await clock.advance(100)
    for (const error of await Promise.all(ended)) assert.equal(error.outcome, 'unknown')
    assert.equal(channel.isOpen, true)
  })

  it('ends one that waits for a full buffer, and takes it back', async () => {
    const { peer, channel, clock } = await scene({ maxBuffered: 10_000 })
    peer.transport.stall()
    void channel.basicPublish(Buffer.alloc(12_000), 'e', 'k')
    await turn()
    const ended = rejection(channel.publish('back', 'e', 'k', undefined, { timeout: 100 }), TimeoutError)
    await clock.advance(100)
    assert.equal((await ended).outcome, 'notSent')
    peer.transport.flow()
    await channel.publish('next', 'e', 'k')
    await turn()
    assert.deepEqual(came(peer).split(' ').slice(1), ['next'])
  })

  it('ends a txCommit that waits after publishes, which then never goes', async () => {
    const the = await scene()
    const { peer, channel, clock } = the
    await channel.txSelect()
    block(the)
    void channel.basicPublish('a', 'e', 'k')
    const ended = rejection(channel.txCommit({ timeout: 100 }), TimeoutError)
    await clock.advance(100)
    assert.equal((await ended).outcome, 'notSent')
    unblock(the)
    await channel.txRollback()
    assert.equal(came(peer), 'tx.select a tx.rollback')
  })

  it('ends waitForConfirms, before the write of what it waits for and after it', async () => {
    const the = await scene({}, true)
    const { channel, clock } = the
    void channel.basicPublish('a', 'e', 'k')
    const behind = rejection(channel.waitForConfirms({ timeout: 100 }), TimeoutError)
    block(the)
    void channel.basicPublish('b', 'e', 'k')
    const inFront = rejection(channel.waitForConfirms({ timeout: 100 }), TimeoutError)
    const abort = new AbortController()
    const aborted = rejection(channel.waitForConfirms({ signal: abort.signal }), AbortError)
    await clock.advance(100)
    abort.abort()
    await Promise.all([behind, inFront, aborted])
    assert.equal(channel.isOpen, true)
  })

  it('is named whole by the error, also if a part of it was over before the last wait', async () => {
    const the = await scene({}, true)
    const { channel, clock } = the
    block(the)
    void channel.basicPublish('a', 'e', 'k')
    const ended = rejection(channel.waitForConfirms({ timeout: 100 }), TimeoutError)
    await clock.advance(40)
    unblock(the)
    await clock.advance(60)
    assert.match((await ended).message, / it waited 100 ms/)
  })

  it('leaves bad arguments what they are, also on a channel that is being recovered or is closed', async () => {
    const the = await scene({ recovery: true })
    const rejected: Promise<EncodeError>[] = []
    const hostile = {
      toString(): string {
        throw new Error('not a name')
      },
    }
    const publishes = (): Promise<void>[] =>
      [Symbol('k'), hostile, Object.create(null)].flatMap(key => [
        the.channel.publish('a', 'e', key as string),
        the.channel.basicPublish('a', key as string, 'k'),
      ])
    await loseAndRecover(the, () => {
      for (const publish of publishes()) {
        rejected.push(rejection(publish, EncodeError))
      }
    })
    for (const error of await Promise.all(rejected)) assert.equal(error.outcome, 'notSent')
    await the.channel.close()
    for (const publish of publishes()) assert.equal((await rejection(publish, ChannelClosedError)).outcome, 'notSent')
  })

  it('ends what was asked for during a recovery, and it is not done afterwards', async () => {
    const the = await scene({ recovery: true })
    const ended: Promise<Error & { outcome?: string }>[] = []
    const peer = await loseAndRecover(the, () => {
      ended.push(rejection(the.channel.publish('a', 'e', 'k', undefined, { timeout: 0 }), TimeoutError))
      ended.push(rejection(the.channel.queueDelete('q', { timeout: 0 }), TimeoutError))
    })
    for (const error of await Promise.all(ended)) assert.equal(error.outcome, 'notSent')
    await turn()
    assert.equal(came(peer), '')
    assert.ok(!peer.names.includes('1 queue.delete'))
  })
})

describe('what must stay after publishes', () => {
  it('stays: a commit and a rollback go after those that were called before', async () => {
    const the = await scene()
    const { peer, channel } = the
    await channel.txSelect()
    for (const end of ['txCommit', 'txRollback'] as const) {
      block(the)
      void channel.basicPublish('a', 'e', 'k')
      const ended = channel[end]()
      void channel.basicPublish('b', 'e', 'k')
      await turn()
      unblock(the)
      await ended
      await turn()
    }
    assert.equal(came(peer), 'tx.select a tx.commit b a tx.rollback b')
  })

  it('stays: what was called before txSelect is in no transaction', async () => {
    const the = await scene()
    block(the)
    void the.channel.basicPublish('a', 'e', 'k')
    const selected = the.channel.txSelect()
    void the.channel.basicPublish('b', 'e', 'k')
    await turn()
    unblock(the)
    await selected
    await the.channel.txRollback()
    assert.equal(came(the.peer), 'a tx.select b tx.rollback')
  })

  it('stays: a transaction that fails while its messages wait is rolled back after them, before the next one', async () => {
    const the = await scene({ maxWaiting: 1 })
    const { peer, channel } = the
    await channel.txSelect()
    block(the)
    const failed = rejection(
      channel.transaction(() => {
        void channel.basicPublish('failed', 'e', 'k')
        throw new Error('its work failed')
      }),
      Error,
    )
    // The error waits for nothing.
    assert.equal((await failed).message, 'its work failed')
    unblock(the)
    await channel.transaction(() => void channel.basicPublish('next', 'e', 'k'))
    assert.equal(came(peer), 'tx.select failed tx.rollback next tx.commit')
  })

  it('stays: an ack is not undone by the rollback of a transaction that failed before it', async () => {
    const the = await scene()
    const { peer, channel } = the
    await deliverAndBlock(the)
    const work = (): Promise<boolean> => {
      void channel.basicPublish('a', 'e', 'k')
      return channel.basicClientAck(1)
    }
    await rejection(
      channel.transaction(() => {
        void work()
        throw new Error('its work failed')
      }),
      Error,
    )
    const second = channel.transaction(work)
    await turn()
    unblock(the)
    assert.equal(await second, true)
    const names = peer.names.filter(name => !/header|body/.test(name)).slice(-6)
    const sent = ['basic.publish', 'basic.ack', 'tx.rollback', 'basic.publish', 'basic.ack', 'tx.commit']
    assert.deepEqual(
      names,
      sent.map(name => `1 ${name}`),
    )
  })

  it('rejects an ack that waits for its turn in a transaction, and is not awaited, without a report of its own', async () => {
    const the = await scene()
    const { peer, channel } = the
    await deliverAndBlock(the)
    void channel.basicPublish('a', 'e', 'k')
    void channel.basicClientAck(1)
    await channel.close()
    await turn()
    assert.equal(the.errors.length, 1, String(the.errors))
    assert.ok(!peer.names.includes('1 basic.ack'))
  })

  it('is one transaction at a time: another one rejects while the work of the first is under way', async () => {
    const { peer, channel } = await scene()
    let end: () => void = () => {}
    const first = channel.transaction(async () => {
      await channel.basicPublish('first', 'e', 'k')
      await new Promise<void>(resolve => (end = resolve))
      return 'done'
    })
    await turn()
    const second = await rejection(
      channel.transaction(() => channel.basicPublish('second', 'e', 'k')),
      ProtocolError,
    )
    assert.match(second.message, /^transaction failed: another one is under way on channel 1\b/)
    end()
    assert.equal(await first, 'done')
    await channel.transaction(() => channel.basicPublish('third', 'e', 'k'))
    assert.equal(came(peer), 'tx.select first tx.commit third tx.commit')
  })

  it('is not delayed by later publishes: waitForConfirms ends while others go on through a full buffer', async () => {
    const { peer, channel } = await scene({ maxBuffered: 10_000 }, true)
    peer.transport.stall()
    for (let i = 0; i < 5; i++) void channel.basicPublish(Buffer.alloc(12_000), 'e', 'k')
    const waiting = follow(channel.waitForConfirms())
    for (let i = 0; i < 5; i++) void channel.basicPublish(Buffer.alloc(12_000), 'e', 'k')
    for (let round = 0; round < 10 && waiting.state === 'pending'; round++) {
      peer.transport.flow()
      peer.transport.stall()
      await turn()
      const published = peer.names.filter(name => name === '1 basic.publish').length
      peer.reply(1, methods.BasicAck, { deliveryTag: Math.min(5, published), multiple: true })
      await turn()
      for (let i = 0; i < 2; i++) void channel.basicPublish(Buffer.alloc(12_000), 'e', 'k')
    }
    assert.equal(waiting.state, 'resolved')
  })

  it('goes in the order of the calls over two losses within one recovery, and nothing newer goes first', async () => {
    const the = await scene({ recovery: true })
    block(the)
    void the.channel.basicPublish('1', 'e', 'k')
    the.peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    void the.channel.basicPublish('2', 'e', 'k')
    const { prepare } = the.broker
    // It agrees to no channel.
    the.broker.prepare = peer => peer.answers.delete(methods.ChannelOpen.name)
    const second = await the.clock.until(the.broker.accept())
    await turn()
    void the.channel.basicPublish('3', 'e', 'k')
    the.broker.prepare = prepare
    assert.deepEqual(second.names, ['1 channel.open'])
    second.transport.break(new Error('read ECONNRESET'))
    await turn()
    void the.channel.basicPublish('4', 'e', 'k')
    const [third] = await Promise.all([the.broker.accept(), the.clock.until(recovered(the))])
    void the.channel.basicPublish('5', 'e', 'k')
    await turn()
    assert.equal(came(third), '1 2 3 4 5')
  })
})

describe('a publish after a confirmSelect that waits', () => {
  it('waits for its confirm', async () => {
    const the = await scene({ recovery: true })
    const declared = the.channel.queueDeclare('q')
    the.peer.reply(1, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await declared
    the.peer.transport.break(new Error('read ECONNRESET'))
    const peer = await the.clock.until(the.broker.accept())
    await turn()
    // The channel is there again, its queue is not yet.
    const declaring = peer.frames.find(({ method }) => method === methods.QueueDeclare)
    void the.channel.basicPublish('a', '', 'q')
    const selected = the.channel.confirmSelect()
    const published = follow(the.channel.publish('b', '', 'q'))
    peer.reply(declaring?.channel ?? 0, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await selected
    await turn()
    assert.equal(came(peer), 'a b')
    assert.equal(published.state, 'pending')
    peer.reply(1, methods.BasicAck, { deliveryTag: 1 })
    await turn()
    assert.equal(published.state, 'resolved')
  })
})

describe('waitForConfirms after a loss', () => {
  it('rejects once, since what was published before is lost', async () => {
    const the = await scene({ recovery: true }, true)
    void the.channel.basicPublish('a', 'e', 'k')
    await turn()
    await loseAndRecover(the)
    await rejection(the.channel.waitForConfirms(), ConnectionLostError)
    await the.channel.waitForConfirms()
  })

  it('waits for what waited through it', async () => {
    const the = await scene({ recovery: true }, true)
    block(the)
    void the.channel.basicPublish('a', 'e', 'k')
    const waiting = follow(the.channel.waitForConfirms())
    const peer = await loseAndRecover(the)
    await turn()
    assert.equal(came(peer), 'a')
    assert.equal(waiting.state, 'pending')
    peer.reply(1, methods.BasicAck, { deliveryTag: 1 })
    await turn()
    assert.equal(waiting.state, 'resolved')
  })
})

describe('a transaction', () => {
  it('whose connection is lost for good is over with it: errors say so, and onError is called once', async () => {
    const the = await scene()
    await the.channel.txSelect()
    await the.channel.basicPublish('a', 'e', 'k')
    block(the)
    void the.channel.basicPublish('waits', 'e', 'k')
    await turn()
    the.peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    void the.channel.basicPublish('late', 'e', 'k')
    await turn()
    assert.equal(the.errors.length, 1, String(the.errors))
    assert.match(String(the.errors[0]), /publish of .* failed: the connection .* was lost/)
    for (const call of [the.channel.txCommit(), the.channel.txRollback(), the.channel.publish('b', 'e', 'k')]) {
      assert.doesNotMatch((await rejection(call, ConnectionLostError)).message, /transaction/)
    }
  })
})

describe('maxWaiting', () => {
  it('counts all that waits on a channel, before a loss and after it', async () => {
    const the = await scene({ recovery: true, maxWaiting: 3 })
    block(the)
    void the.channel.basicPublish('1', 'e', 'k')
    void the.channel.basicPublish('2', 'e', 'k')
    const refused: Promise<BufferFullError>[] = []
    const peer = await loseAndRecover(the, () => {
      void the.channel.basicPublish('3', 'e', 'k')
      refused.push(rejection(the.channel.publish('4', 'e', 'k'), BufferFullError))
      refused.push(rejection(the.channel.queueDelete('q'), BufferFullError))
    })
    for (const error of await Promise.all(refused)) assert.equal(error.outcome, 'notSent')
    await turn()
    assert.equal(came(peer), '1 2 3')
  })

  it('of 0 lets through what need not wait', async () => {
    const the = await scene({ maxWaiting: 0 })
    await the.channel.basicPublish('1', 'e', 'k')
    block(the)
    await rejection(the.channel.basicPublish('2', 'e', 'k'), BufferFullError)
    unblock(the)
    await the.channel.basicPublish('3', 'e', 'k')
    await turn()
    assert.equal(came(the.peer), '1 3')
  })
})

describe('a message that was published and forgotten', () => {
  it('is reported to onError, once for all of them, when its channel or its connection ends before it was written', async () => {
    const ends: Record<string, (the: Scene) => unknown> = {
      'the program closes the channel': ({ channel }) => channel.close(),
      'the server closes the channel': ({ peer }) =>
        peer.reply(1, methods.ChannelClose, { replyCode: 406, replyText: 'no', classId: 0, methodId: 0 }),
      'the connection is lost': ({ peer }) => peer.transport.break(new Error('read ECONNRESET')),
      'the program closes the connection': ({ protocol }) => protocol.close({ timeout: 0 }),
    }
    for (const [what, end] of Object.entries(ends)) {
      const the = await scene()
      block(the)
      for (const body of ['a', 'b']) void the.channel.basicPublish(body, 'e', 'k', { messageId: body })
      await turn()
      void end(the)
      await the.clock.advance(10)
      assert.equal(the.errors.length, 1, `${what}: ${the.errors}`)
      const [error] = the.errors
      assert.ok(
        error instanceof ChannelClosedError || error instanceof ConnectionLostError || what.includes('connection'),
      )
      assert.match(error?.message ?? '', /^publish of message "a" to exchange "e" with routing key "k" failed/, what)
      assert.equal((error as ChannelClosedError).outcome, 'notSent', what)
    }
  })

  it('is reported to onError if it cannot be encoded and has to wait', async () => {
    const the = await scene()
    block(the)
    void the.channel.basicPublish('a', 'e', 'k'.repeat(256))
    await turn()
    assert.deepEqual(
      the.errors.map(error => [error instanceof EncodeError, (error as EncodeError).outcome]),
      [[true, 'notSent']],
    )
    const other = await scene()
    await other.channel.txSelect()
    void other.channel.basicPublish('a', 'e', 'k'.repeat(256))
    await turn()
    assert.equal(other.errors.length, 1)
    assert.ok(other.errors[0] instanceof EncodeError)
  })

  it('is reported to onError if too many wait, once until none waits', async () => {
    const the = await scene({ maxWaiting: 1 })
    for (const told of [1, 2]) {
      block(the)
      for (const body of ['waits', 'refused', 'refused']) void the.channel.basicPublish(body, 'e', 'k')
      await turn()
      assert.equal(the.errors.length, told)
      const error = the.errors.at(-1)
      assert.ok(error instanceof BufferFullError)
      assert.equal(error.outcome, 'notSent')
      unblock(the)
      await turn()
    }
    assert.equal(came(the.peer), 'waits waits')
  })

  it('is not an unhandled rejection when the connection is lost under its bytes, or when too many wait, and each loss is reported once', async () => {
    const the = await scene({ maxWaiting: 0 })
    the.peer.transport.stall()
    // One goes by reference; the others wait until the socket takes more.
    for (const size of [100_000, 10, 10]) void the.channel.basicPublish(Buffer.alloc(size), 'e', 'k')
    await turn()
    void the.channel.basicPublish('waits for the socket', 'e', 'k')
    block(the)
    void the.channel.basicPublish('one too many', 'e', 'k')
    await turn()
    the.peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    assert.equal(the.errors.length, 2, String(the.errors))
    assert.ok(the.errors[0] instanceof BufferFullError)
    assert.ok(the.errors[1] instanceof ConnectionLostError)
  })
})

describe('a getter of a message', () => {
  type Publish = (body: string, properties?: BasicProperties, options?: PublishOptions) => Promise<void>
  const levels: Readonly<Record<string, (the: Scene) => Publish>> = {
    'a channel':
      ({ channel }) =>
      (body, ...rest) =>
        channel.publish(body, '', 'q', ...rest),
    'the protocol':
      ({ protocol }) =>
      (body, ...rest) =>
        protocol.publish(body, '', 'q', ...rest),
  }

  for (const [level, publishOf] of Object.entries(levels)) {
    it(`that aborts a publish of ${level} in the list ends that one alone`, async () => {
      const the = await scene({}, true)
      const publish = publishOf(the)
      block(the)
      const getter = abortingGetter()
      const { headers, signal } = getter
      const first = follow(publish('1', { headers }))
      const second = follow(publish('2', {}, { signal }))
      const third = follow(publish('3'))
      await turn()
      getter.isSending = true
      unblock(the)
      await turn()
      assert.equal(came(the.peer), '1 3')
      assert.ok(second.error instanceof AbortError)
      assert.equal(second.error.outcome, 'notSent')
      the.peer.reply(the.peer.frames.at(-1)?.channel ?? 0, methods.BasicAck, { deliveryTag: 2, multiple: true })
      await turn()
      assert.deepEqual([first.state, third.state], ['resolved', 'resolved'])
    })

    it(`that aborts its own publish of ${level} cannot take it back`, async () => {
      const the = await scene({}, true)
      const publish = publishOf(the)
      block(the)
      const getter = abortingGetter()
      const { headers, signal } = getter
      const first = follow(publish('1', { headers }, { signal }))
      const second = follow(publish('2'))
      await turn()
      getter.isSending = true
      unblock(the)
      await turn()
      assert.equal(came(the.peer), '1 2')
      assert.ok(first.error instanceof AbortError)
      assert.equal(first.error.outcome, 'unknown')
      the.peer.reply(the.peer.frames.at(-1)?.channel ?? 0, methods.BasicAck, { deliveryTag: 2, multiple: true })
      await turn()
      assert.equal(second.state, 'resolved')
      assert.equal(the.protocol.stats().waiting, 0)
    })
  }

  const closers: Readonly<Record<string, (the: Scene) => Promise<void>>> = {
    'its channel': ({ channel }) => channel.close(),
    'the connection': ({ protocol }) => protocol.close(),
  }

  for (const [level, publishOf] of Object.entries(levels)) {
    for (const [what, close] of Object.entries(closers)) {
      if (level === 'the protocol' && what === 'its channel') continue
      it(`that closes ${what} when nothing can be written ends its publish of ${level}`, async () => {
        const the = await scene({ recovery: {} }, true)
        the.peer.finish()
        await turn()
        assert.equal(the.protocol.state, 'recovering')
        let closing: Promise<void> | undefined
        const headers = {
          get now() {
            closing ??= close(the)
            return 1
          },
        }
        const published = follow(publishOf(the)('1', { headers }))
        await turn()
        assert.equal((published.error as AmqpError | undefined)?.outcome, 'notSent')
        await closing
        await the.protocol.close()
      })
    }
  }

  const ends: Readonly<Record<string, (the: Scene, id: number) => void>> = {
    'a channel': ({ peer }, id) => {
      const refusal = { replyText: "NOT_FOUND - no exchange 'e'", classId: 60, methodId: 40 }
      peer.reply(id, methods.ChannelClose, { replyCode: 404, ...refusal })
    },
    'the protocol': ({ protocol }) => void protocol.close({ timeout: 0 }),
  }

  for (const [level, publishOf] of Object.entries(levels)) {
    it(`is not asked for the error of a publish of ${level}, in the middle of its end`, async () => {
      const the = await scene({}, true)
      const publish = publishOf(the)
      let isOver = false
      const ask = (): string => {
        if (isOver) void publish('nested').catch(() => {})
        return 'm'
      }
      const getter = {
        get messageId() {
          return ask()
        },
        deliveryMode: 2,
      }
      const proxy = new Proxy(
        { deliveryMode: 2, messageId: 'm' },
        { get: (of, name) => ask() && Reflect.get(of, name) },
      )
      const published = [getter, proxy].map((properties, at) => follow(publish(String(at), properties)))
      await turn()
      isOver = true
      ends[level]?.(the, the.peer.frames.at(-1)?.channel ?? 0)
      await the.clock.advance(1_000)
      for (const { error } of published) assert.match(error?.message ?? '', /^publish of a message to the default/)
      assert.equal(came(the.peer), '0 1')
    })
  }

  it('that closes its publisher has it wait for the confirm, and its channel closed', async () => {
    for (const isConfirmed of [true, false]) {
      const the = await scene()
      const publisher = await the.protocol.publisher()
      const first = publisher.publish('1', 'q')
      await turn()
      const id = the.peer.frames.at(-1)?.channel ?? 0
      the.peer.reply(id, methods.BasicAck, { deliveryTag: 1 })
      await first
      let closing: Promise<void> | undefined
      const headers = {
        get now() {
          closing ??= publisher.close()
          return 1
        },
      }
      const second = follow(publisher.publish('2', 'q', { headers }))
      if (isConfirmed) the.peer.reply(id, methods.BasicAck, { deliveryTag: 2 })
      assert.ok(closing !== undefined)
      await the.clock.until(closing)
      assert.equal((second.error as AmqpError | undefined)?.outcome, isConfirmed ? undefined : 'unknown')
      assert.notEqual(second.state, 'pending')
      assert.equal(the.peer.names.at(-1), `${id} channel.close`)
    }
  })

  it('that closes the connection during a recovery ends it', async () => {
    const the = await scene({ recovery: true })
    const publisher = await the.protocol.publisher()
    the.peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    let closing: Promise<void> | undefined
    const headers = {
      get now() {
        if (the.broker.peers.length === 2) closing ??= the.protocol.close()
        return 1
      },
    }
    const published = follow(publisher.publish('1', 'q', { headers }))
    await the.clock.advance(1_000)
    assert.ok(closing !== undefined)
    await the.clock.until(closing)
    assert.equal((published.error as AmqpError).outcome, 'unknown')
  })
})
