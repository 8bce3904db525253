import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import {
  AbortError,
  type AmqpProtocol,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionLostError,
  type ConnectOptions,
  type Consumer,
  ConsumerCancelledError,
  type ConsumerOptions,
  connect,
  EncodeError,
  type HandlerOptions,
  type Message,
  type RpcServerOptions,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { startBroker } from '../../src/testing/index.ts'
import {
  contentFrames,
  deliverFrame,
  delivery,
  FakeBroker,
  type FakePeer,
  methodFrame,
} from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** A consumer of a broker in memory that agrees to everything, over any number of connections. */
class Fixture {
  readonly clock = new VirtualClock()
  readonly broker = new FakeBroker()
  readonly errors: Error[] = []
  /** Consumer tags, in the order of basic.consume. */
  readonly tags: string[] = []
  /** The number of the channel that it consumes on. */
  channel = 1
  /** Arguments of each basic.consume. */
  readonly arguments: unknown[] = []
  #protocol: AmqpProtocol | undefined
  peer: FakePeer | undefined

  async connect(options: ConnectOptions = {}): Promise<AmqpProtocol> {
    this.broker.prepare = peer => {
      peer.answers.set(methods.BasicQos.name, ({ channel }) => methodFrame(channel, methods.BasicQosOk, {}))
      peer.answers.set(methods.BasicConsume.name, ({ channel, args }) => {
        const consumerTag = String(args['consumerTag'])
        this.tags.push(consumerTag)
        this.channel = channel
        this.arguments.push(args['arguments'])
        return methodFrame(channel, methods.BasicConsumeOk, { consumerTag })
      })
      peer.answers.set(methods.BasicCancel.name, ({ channel, args }) =>
        methodFrame(channel, methods.BasicCancelOk, { consumerTag: String(args['consumerTag']) }),
      )
    }
    this.#protocol = await connect({
      clock: this.clock,
      heartbeat: 0,
      createTransport: this.broker.createTransport,
      onError: error => this.errors.push(error),
      ...options,
    })
    this.peer = await this.broker.accept()
    return this.#protocol
  }

  get protocol(): AmqpProtocol {
    if (this.#protocol === undefined) throw new Error('not connected')
    return this.#protocol
  }

  get connection(): FakePeer {
    if (this.peer === undefined) throw new Error('not connected')
    return this.peer
  }

  async consumer(options?: ConsumerOptions): Promise<Consumer> {
    await this.connect()
    return this.protocol.consumer('q', options)
  }

  async handler(handler: (message: Message) => unknown, options?: HandlerOptions): Promise<Consumer> {
    await this.connect()
    return this.protocol.consumer('q', handler, options)
  }

  /** Deliver messages with these tags as bodies, in one read. */
  async deliver(...tags: number[]): Promise<void> {
    const tag = this.tags.at(-1) ?? ''
    this.connection.send(...tags.map(each => delivery(this.channel, tag, each, `${each}`)))
    await turn()
  }

  async deliverOfStream(...offsets: number[]): Promise<void> {
    const tag = this.tags.at(-1) ?? ''
    const frames = offsets.flatMap(offset => [
      deliverFrame(this.channel, tag, offset),
      contentFrames(this.channel, `${offset}`, { headers: { 'x-stream-offset': offset } }),
    ])
    this.connection.send(...frames)
    await turn()
  }

  /** Lose the connection, and have the client come back. */
  async reconnect(): Promise<void> {
    this.connection.finish()
    await this.clock.advance(1_000)
    this.peer = await this.broker.accept()
    await this.clock.advance(1_000)
  }

  /** The settlements since the last look: method and tag. */
  async settled(): Promise<string[]> {
    await turn()
    return this.connection.frames
      .splice(0)
      .filter(({ method }) => method !== undefined && /ack|reject/.test(method.name))
      .map(({ method, args }) => `${method?.name} ${args['deliveryTag']}`)
  }
}

describe('A consumer whose connection is lost again before onCancel has answered', () => {
  it('is resumed once it consumes again, and not before', async () => {
    const fixture = new Fixture()
    let answer = (): void => {}
    const onCancel = (): Promise<void> =>
      new Promise(resolve => {
        answer = resolve
      })
    const consumer = await fixture.consumer({ onCancel })
    const events: string[] = []
    for (const event of ['cancelled', 'resumed'] as const) consumer.on(event, () => events.push(event))
    await fixture.reconnect()
    assert.equal(fixture.tags.length, 2)
    fixture.connection.finish()
    await turn()
    answer()
    await turn()
    assert.deepEqual(events, ['cancelled'])
    assert.equal(consumer.stats().state, 'recovering')
    await fixture.reconnect()
    assert.deepEqual(events, ['cancelled', 'resumed'])
    assert.equal(consumer.stats().state, 'consuming')
    await fixture.protocol.close()
  })
})

describe('next()', () => {
  it('gives its place back when its timeout or its signal ends it: no message is lost by that', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    const controller = new AbortController()
    const late = rejection(consumer.next({ timeout: 100 }), TimeoutError)
    const aborted = rejection(consumer.next({ signal: controller.signal }), AbortError)
    const third = consumer.next({ timeout: Number.POSITIVE_INFINITY })
    controller.abort()
    await fixture.clock.advance(100)
    assert.match((await late).message, /^next message of "q"/)
    await aborted
    await fixture.deliver(1)
    assert.equal((await third).value?.text(), '1')
    await rejection(consumer.next({ signal: controller.signal }), AbortError)
    await rejection(consumer.next({ timeout: -1 }), EncodeError)
    assert.deepEqual(await fixture.settled(), [])
  })

  it('never settles what another call was given', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    const all = [consumer.next(), consumer.next()]
    await fixture.deliver(1, 2, 3)
    const [first, second] = (await Promise.all(all)).map(({ value }) => value)
    await consumer.next()
    assert.deepEqual(await fixture.settled(), [])
    assert.equal(first?.ack(), true)
    assert.equal(second?.reject(), true)
    assert.deepEqual(await fixture.settled(), ['basic.ack 1', 'basic.reject 2'])
  })

  it('of a loop that asks ahead settles nothing either: such a loop works on several messages', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    const loop = consumer[Symbol.asyncIterator]()
    const all = [loop.next(), loop.next()]
    await fixture.deliver(1, 2, 3)
    await Promise.all(all)
    await loop.next()
    assert.deepEqual(await fixture.settled(), [])
  })

  it('of a loop acks the message before', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    const loop = consumer[Symbol.asyncIterator]()
    await fixture.deliver(1, 2)
    await loop.next()
    assert.deepEqual(await fixture.settled(), [])
    await loop.next()
    assert.deepEqual(await fixture.settled(), ['basic.ack 1'])
  })
})

describe('A loop over batches', () => {
  it('acks with one frame beside loops that were made and never asked for anything', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    for (let i = 0; i < 3; i++) consumer[Symbol.asyncIterator]()
    const batches = consumer.batches({ size: 3 })
    const first = batches.next()
    await fixture.deliver(1, 2, 3)
    assert.equal((await first).value?.length, 3)
    void batches.next()
    assert.deepEqual(await fixture.settled(), ['basic.ack 3'])
  })

  it('acks one by one beside a loop that has a message', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    const loop = consumer[Symbol.asyncIterator]()
    const one = loop.next()
    await fixture.deliver(1)
    assert.equal((await one).done, false)
    const batches = consumer.batches({ size: 2 })
    const first = batches.next()
    await fixture.deliver(2, 3)
    await first
    void batches.next()
    assert.deepEqual(await fixture.settled(), ['basic.ack 2', 'basic.ack 3'])
  })
})

describe('A message', () => {
  it('that cannot be acked at the moment, since another is being encoded, can be acked after that', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    const channel = await fixture.protocol.channel()
    await fixture.deliver(1)
    const { value: message } = await consumer.next()
    let sent: boolean | undefined
    const headers = {
      get x() {
        sent ??= message?.ack()
        return 1
      },
    }
    await channel.basicPublish('y', '', 'r', { headers })
    assert.equal(sent, false)
    assert.equal(message?.ack(), true)
    assert.equal(message?.ack(), false)
    assert.deepEqual(await fixture.settled(), ['basic.ack 1'])
  })

  it('that was taken away may have its handler fail with anything', async () => {
    const fixture = new Fixture()
    const hostile = {
      get cause() {
        throw new Error('no')
      },
    }
    await fixture.handler(
      ({ signal }) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(hostile))),
    )
    await fixture.deliver(1)
    await fixture.reconnect()
    assert.equal(fixture.errors.length, 1, 'it says nothing of the signal')
    assert.equal(fixture.protocol.state, 'open')
  })
})

describe('A consumer whose connection is lost', () => {
  it('starts no handler with what came by it, neither meanwhile nor after', async () => {
    const fixture = new Fixture()
    const started: string[] = []
    const release: (() => void)[] = []
    await fixture.handler(
      message => {
        started.push(message.text())
        return new Promise<void>(resolve => release.push(resolve))
      },
      { concurrency: 1 },
    )
    await fixture.deliver(1, 2, 3)
    fixture.connection.finish()
    await turn()
    release.shift()?.()
    await turn()
    assert.deepEqual(started, ['1'])
    await fixture.clock.advance(1_000)
    fixture.peer = await fixture.broker.accept()
    await fixture.clock.advance(1_000)
    assert.deepEqual(started, ['1'])
    await fixture.deliver(1)
    assert.deepEqual(started, ['1', '1'])
    assert.deepEqual(await fixture.settled(), [])
    release.shift()?.()
    await turn()
    assert.deepEqual(await fixture.settled(), ['basic.ack 1'])
  })

  it('runs what had arrived without acks', async () => {
    const fixture = new Fixture()
    const started: string[] = []
    const release: (() => void)[] = []
    await fixture.handler(
      message => {
        started.push(message.text())
        return new Promise<void>(resolve => release.push(resolve))
      },
      { concurrency: 1, noAck: true },
    )
    await fixture.deliver(1, 2, 3)
    await fixture.reconnect()
    while (release.length > 0) {
      release.shift()?.()
      await turn()
    }
    assert.deepEqual(started, ['1', '2', '3'])
  })

  it('runs what had arrived without acks to the last, also if no connection follows, and is over then', async () => {
    const fixture = new Fixture()
    const protocol = await fixture.connect({ recovery: false })
    const log: string[] = []
    const release: (() => void)[] = []
    const handler = (message: Message) => {
      log.push(message.text())
      return new Promise<void>(resolve => release.push(resolve))
    }
    const consumer = await protocol.consumer('q', handler, { concurrency: 1, noAck: true })
    consumer.on('closed', () => log.push('closed'))
    await fixture.deliver(1, 2, 3)
    fixture.connection.finish()
    await turn()
    while (release.length > 0) {
      release.shift()?.()
      await turn()
    }
    assert.deepEqual(log, ['1', '2', '3', 'closed'])
  })

  it('has what came without acks in one read with the end of a connection that none follows', async () => {
    const close = methodFrame(0, methods.ConnectionClose, {
      replyCode: 320,
      replyText: 'CONNECTION_FORCED',
      classId: 0,
      methodId: 0,
    })
    const takers: ((protocol: AmqpProtocol, log: string[]) => Promise<unknown>)[] = [
      (protocol, log) =>
        protocol.consumer('q', message => void log.push(message.text()), { concurrency: 1, noAck: true }),
      async (protocol, log) => {
        const consumer = await protocol.consumer('q', { noAck: true })
        const loop = async (): Promise<void> => {
          for await (const message of consumer) log.push(message.text())
        }
        loop().catch(() => {})
      },
    ]
    for (const take of takers) {
      const fixture = new Fixture()
      const log: string[] = []
      await take(await fixture.connect({ recovery: false }), log)
      await turn()
      const tag = fixture.tags.at(-1) ?? ''
      fixture.connection.send(...[1, 2, 3].map(each => delivery(fixture.channel, tag, each, `${each}`)), close)
      await turn()
      assert.deepEqual(log, ['1', '2', '3'])
    }
  })

  it('starts nothing before onCancel has decided', async () => {
    for (const noAck of [false, true]) {
      const fixture = new Fixture()
      const started: string[] = []
      let decide: (what: 'resume' | 'close') => void = () => {}
      const onCancel = () =>
        new Promise<'resume' | 'close'>(resolve => {
          decide = resolve
        })
      const consumer = await fixture.handler(message => started.push(message.text()), { onCancel, noAck })
      const events: string[] = []
      consumer.on('cancelled', () => events.push('cancelled'))
      consumer.on('resumed', () => events.push('resumed'))
      await fixture.reconnect()
      await fixture.deliver(1, 2)
      assert.deepEqual(started, [])
      assert.deepEqual(events, ['cancelled'])
      decide('resume')
      await turn()
      assert.deepEqual(started, ['1', '2'])
      assert.deepEqual(events, ['cancelled', 'resumed'])
    }
  })

  it('while its window is renewed has that reported once, and asks once whether to go on', async () => {
    for (const answer of ['resume', 'close'] as const) {
      const fixture = new Fixture()
      const events: string[] = []
      const onCancel = () => {
        events.push('asked')
        return answer
      }
      const fail = (): void => {
        throw new Error('no')
      }
      const consumer = await fixture.handler(fail, { prefetchCount: 4, onCancel })
      for (const name of ['cancelled', 'resumed', 'closed'] as const) consumer.on(name, () => events.push(name))
      fixture.connection.answers.delete(methods.BasicConsume.name)
      await fixture.deliver(1, 2)
      assert.equal(fixture.connection.frames.filter(({ name }) => name === '1 basic.consume').length, 2)
      await fixture.reconnect()
      await fixture.clock.advance(1_000)
      assert.deepEqual(events, ['cancelled', 'asked', answer === 'resume' ? 'resumed' : 'closed'])
    }
  })

  it('is over when onCancel says so, though the channel has come back', async () => {
    const fixture = new Fixture()
    const started: string[] = []
    const consumer = await fixture.handler(message => started.push(message.text()), { onCancel: () => 'close' })
    const closed: unknown[] = []
    consumer.on('closed', error => closed.push(error))
    await fixture.reconnect()
    assert.equal(closed.length, 1)
    assert.deepEqual(fixture.errors, closed)
    assert.deepEqual(started, [])
    assert.equal(fixture.protocol.channelsIdsCount, 0)
  })

  it('ends each of its loops with an error of its own, which shows the line of that loop', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer({ onCancel: () => 'close' })
    async function first(): Promise<void> {
      for await (const _ of consumer);
    }
    async function second(): Promise<void> {
      for await (const _ of consumer.batches({ size: 2 }));
    }
    async function third(): Promise<void> {
      await consumer.next()
    }
    const failed = [first, second, third].map(loop => rejection(loop(), ConsumerCancelledError))
    await turn()
    fixture.connection.reply(fixture.channel, methods.BasicCancel, { consumerTag: fixture.tags[0] ?? '', noWait: true })
    const errors = await Promise.all(failed)
    assert.deepEqual(
      errors.map(({ stack }) => /at (?:async )?(first|second|third)/.exec(stack ?? '')?.[1]),
      ['first', 'second', 'third'],
    )
    for (const { message, queueName, consumerTag } of errors) {
      assert.match(message, /^the server cancelled the consumer of queue "q"/)
      assert.deepEqual([queueName, consumerTag], ['q', fixture.tags[0]])
    }
  })

  it('goes on if a channel that did not answer in time ends after another one consumes', async () => {
    const fixture = new Fixture()
    const started: string[] = []
    const finish: (() => void)[] = []
    const consumer = await fixture.handler(message => {
      started.push(message.text())
      return new Promise<void>(resolve => finish.push(resolve))
    })
    const { connection, channel: first } = fixture
    const { answers } = connection
    const consume = answers.get(methods.BasicConsume.name)
    assert.ok(consume !== undefined)
    let unanswered = 0
    answers.set(methods.BasicConsume.name, ({ channel }) => {
      unanswered = channel
    })
    answers.delete(methods.ChannelClose.name)
    connection.reply(first, methods.ChannelClose, {
      replyCode: 406,
      replyText: 'PRECONDITION_FAILED',
      classId: 0,
      methodId: 0,
    })
    await fixture.clock.advance(20_000)
    assert.notEqual(unanswered, 0)
    answers.set(methods.BasicConsume.name, consume)
    await fixture.clock.advance(2_000)
    assert.equal(consumer.stats().state, 'consuming')
    assert.notEqual(fixture.channel, unanswered)
    await fixture.deliver(1, 2)
    connection.reply(unanswered, methods.ChannelCloseOk, {})
    await turn()
    finish[0]?.()
    await turn()
    assert.deepEqual(started, ['1', '2'])
    await fixture.deliver(3)
    finish[1]?.()
    await turn()
    assert.deepEqual(started, ['1', '2', '3'])
  })

  it('reports to onError that its connection is over for good, once for all handlers', async () => {
    for (const recovery of [false, { maxAttempts: 1 }]) {
      const fixture = new Fixture()
      await fixture.connect({ recovery })
      const consumer = await fixture.protocol.consumer('q', () => {})
      await fixture.protocol.consumer('r', () => {})
      const closed = new Promise<Error | undefined>(resolve => consumer.once('closed', resolve))
      fixture.broker.prepare = () => {
        throw new Error('refused')
      }
      fixture.connection.finish()
      const error = await fixture.clock.until(closed)
      assert.ok(error instanceof ConnectionLostError)
      assert.match(error.message, /^consuming from "q" failed: the connection to \S+ was lost: /)
      assert.deepEqual(
        fixture.errors.map(({ name }) => name),
        ['ConnectionLostError'],
      )
    }
  })

  it('leaves the end of its connection to the call that waits for a message', async () => {
    const fixture = new Fixture()
    await fixture.connect({ recovery: false })
    const consumer = await fixture.protocol.consumer('q')
    const next = rejection(consumer.next(), ConnectionLostError)
    fixture.connection.finish()
    await next
    assert.deepEqual(fixture.errors, [])
  })

  it('takes what onCancel returns by mistake for an error of the program, and consumes again', async () => {
    const fixture = new Fixture()
    const started: string[] = []
    const onCancel = (() => 'stop') as unknown as () => 'close'
    await fixture.handler(message => started.push(message.text()), { onCancel })
    await fixture.reconnect()
    await fixture.deliver(1)
    assert.deepEqual(started, ['1'])
    assert.deepEqual(
      fixture.errors.map(({ message }) => message),
      ['consumer of queue "q": "what onCancel returns" must be "resume" or "close", not "stop"'],
    )
  })

  it('takes what onFailure returns by mistake for an error of the program, which names the message', async () => {
    const fixture = new Fixture()
    const onFailure = (() => 'ignore') as unknown as () => 'drop'
    await fixture.handler(() => Promise.reject(new Error('no good')), { onFailure })
    await fixture.deliver(1)
    assert.deepEqual(
      fixture.errors.map(({ message }) => message.replace(/ must be .* not/, ' must be ..., not')),
      [
        'no good',
        'what onFailure returns for a message from the default exchange with routing key "q" (delivery tag 1) must be ..., not "ignore"',
      ],
    )
  })

  it('has no messages for a loop or for next() if it has a handler', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.handler(() => {})
    const text = 'the consumer of queue "q" has a handler, and no messages for a loop or for next()'
    for (const ask of [consumer.next(), consumer[Symbol.asyncIterator]().next(), consumer.batches({ size: 1 }).next()])
      assert.equal((await rejection<EncodeError>(ask, EncodeError)).message, text)
  })

  it('aborts the signal of messages in hand, and does not count later errors of their handlers as failures', async () => {
    const fixture = new Fixture()
    const reasons: unknown[] = []
    await fixture.handler(
      ({ signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reasons.push(signal.reason)
            reject(signal.reason)
          })
        }),
    )
    await fixture.deliver(1)
    await fixture.reconnect()
    assert.equal(reasons.length, 1)
    assert.deepEqual(fixture.errors, [])
  })
})

describe('A consumer whose channel the server closes', () => {
  it('is named by the error, since many consumers have channels', async () => {
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock })
    const errors: Error[] = []
    const protocol = await connect({ ...broker.inMemory, clock, onError: error => errors.push(error) })
    await protocol.queueDeclare('orders')
    await protocol.consumer('orders', () => {}, { onCancel: error => void errors.push(error) })
    await protocol.consumer('orders', () => {})
    const replyText =
      'PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms.'
    broker.closeChannels({ replyCode: 406, replyText })
    await clock.until(broker.queue('orders').hasConsumers(2))
    assert.equal(errors.length, 2)
    for (const error of errors) {
      assert.ok(error instanceof ChannelClosedError)
      assert.match(
        error.message,
        /^consuming from "orders" failed: channel \d was closed by the server: PRECONDITION_FAILED/,
      )
      assert.deepEqual([error.replyCode, error.replyText], [406, replyText])
    }
    await clock.until(protocol.close())
  })
})

describe('A consumer that the server cancels in the read that grants it', () => {
  for (const [what, granted] of [
    ['at its start', 1],
    ['while it takes the place of one whose window is full', 2],
  ] as const) {
    it(`${what} consumes again`, async () => {
      const fixture = new Fixture()
      await fixture.connect()
      const answer = fixture.connection.answers.get(methods.BasicConsume.name)
      fixture.connection.answers.set(methods.BasicConsume.name, frame => {
        const ok = answer?.(frame) ?? Buffer.alloc(0)
        if (fixture.tags.length !== granted) return ok
        const consumerTag = String(frame.args['consumerTag'])
        return Buffer.concat([ok, methodFrame(frame.channel, methods.BasicCancel, { consumerTag, noWait: true })])
      })
      const handler = () => Promise.reject(new Error('no'))
      const consumer = await fixture.protocol.consumer('q', handler, { prefetchCount: 2 })
      const resumed = new Promise<void>(resolve => consumer.once('resumed', resolve))
      if (granted === 2) await fixture.deliver(1)
      await fixture.clock.until(resumed)
      assert.equal(fixture.tags.length, granted + 1)
      assert.equal(fixture.errors.filter(({ name }) => name === 'ConsumerCancelledError').length, 1)
    })
  }
})

describe('A consumer whose connection is closed for good in the read that grants it', () => {
  it('is over when the program has it, and lets go of its signal', async () => {
    const fixture = new Fixture()
    const protocol = await fixture.connect({ recovery: false })
    const forced = { replyCode: 320, replyText: 'CONNECTION_FORCED', classId: 0, methodId: 0 }
    fixture.connection.answers.set(methods.BasicConsume.name, ({ channel, args }) =>
      Buffer.concat([
        methodFrame(channel, methods.BasicConsumeOk, { consumerTag: String(args['consumerTag']) }),
        methodFrame(0, methods.ConnectionClose, forced),
      ]),
    )
    const { signal } = new AbortController()
    const consumer = await protocol.consumer('q', { signal })
    await rejection(consumer.next(), ConnectionClosedError)
    assert.deepEqual(getEventListeners(signal, 'abort'), [])
  })
})

describe('Closing a consumer', () => {
  it('cancels the one that is just taking its place, too', async () => {
    const fixture = new Fixture()
    const fail = () => {
      throw new Error('no')
    }
    const consumer = await fixture.handler(fail, { prefetchCount: 2 })
    const answer = fixture.connection.answers.get(methods.BasicConsume.name)
    fixture.connection.answers.delete(methods.BasicConsume.name)
    await fixture.deliver(1)
    const consumes = fixture.connection.frames.filter(({ name }) => name === '1 basic.consume')
    const renewed = consumes.at(-1)
    assert.equal(consumes.length, 2)
    const closed = consumer.close()
    await turn()
    if (renewed !== undefined && answer !== undefined) fixture.connection.send(answer(renewed) ?? Buffer.alloc(0))
    await fixture.clock.until(closed)
    const cancels = fixture.connection.frames.filter(({ name }) => name === '1 basic.cancel')
    assert.deepEqual(
      cancels.map(({ args }) => args['consumerTag']),
      fixture.tags,
    )
  })

  it('starts no handler once it has resolved, not even for what came without acks', async () => {
    const fixture = new Fixture()
    let started = 0
    const release: (() => void)[] = []
    const consumer = await fixture.handler(
      () => {
        started++
        return new Promise<void>(resolve => release.push(resolve))
      },
      { concurrency: 1, noAck: true },
    )
    await fixture.deliver(1, 2, 3)
    let closed = false
    consumer.on('closed', () => {
      closed = true
    })
    const closing = consumer.close({ timeout: 200 })
    await fixture.clock.advance(200)
    await closing
    assert.equal(closed, true)
    release.shift()?.()
    await turn()
    assert.equal(started, 1)
  })

  it('aborts the signals of messages that it gives back past its timeout, also if they are first read after that', async () => {
    const fixture = new Fixture()
    const messages: Message[] = []
    const hang = (message: Message) => {
      messages.push(message)
      return new Promise(() => {})
    }
    const consumer = await fixture.handler(hang)
    await fixture.deliver(1)
    const closing = consumer.close({ timeout: 200 })
    await fixture.clock.advance(200)
    await closing
    const [message] = messages
    assert.equal(message?.signal.aborted, true)
    assert.equal(message?.ack(), false)
    assert.deepEqual(await fixture.settled(), ['basic.nack 1'])
  })
})

describe('A batch that is collected when its connection is lost', () => {
  const batch = { size: 3, wait: 10_000 }
  const texts = (messages: readonly Message[]): string[] => messages.map(message => message.text())

  it('begins again for a handler: it is full, or its time is over, without what was taken back', async () => {
    const fixture = new Fixture()
    const protocol = await fixture.connect()
    const batches: string[][] = []
    await protocol.consumer('q', messages => void batches.push(texts(messages)), { batch })
    await fixture.deliver(1, 2)
    await fixture.clock.advance(5_000)
    await fixture.reconnect()
    await fixture.deliver(1, 2)
    await fixture.clock.advance(9_000)
    assert.deepEqual(batches, [])
    await fixture.deliver(3)
    assert.deepEqual(batches, [['1', '2', '3']])
  })

  it('counts as unacknowledged no more', async () => {
    const fixture = new Fixture()
    const protocol = await fixture.connect()
    const consumer = await protocol.consumer('q', () => {}, { batch })
    await fixture.deliver(1, 2)
    assert.equal(consumer.stats().unacknowledged, 2)
    fixture.connection.finish()
    await turn()
    assert.equal(consumer.stats().unacknowledged, 0)
  })

  it('begins again for a loop', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    const first = follow(consumer.batches(batch).next())
    await fixture.deliver(1, 2)
    await fixture.reconnect()
    await fixture.deliver(1, 2)
    assert.equal(first.state, 'pending')
    await fixture.deliver(3)
    assert.deepEqual(texts(first.value?.value ?? []), ['1', '2', '3'])
  })
})

describe('Calls of next()', () => {
  it('get messages in their order, also one that is made when the consumer has just been resumed', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer()
    consumer.pause()
    const first = consumer.next()
    await fixture.deliver(1, 2)
    consumer.resume()
    const second = consumer.next()
    assert.equal((await first).value?.text(), '1')
    assert.equal((await second).value?.text(), '2')
  })
})

describe('A message whose settlement was not sent', () => {
  it('still aborts its signal, also if that is first read then', async () => {
    const fixture = new Fixture()
    const messages: Message[] = []
    const hang = (message: Message) => {
      messages.push(message)
      return new Promise(() => {})
    }
    await fixture.handler(hang)
    await fixture.deliver(1, 2)
    fixture.connection.finish()
    await turn()
    const [first, second] = messages
    assert.equal(first?.ack(), false)
    assert.equal(first?.reject(), false)
    assert.equal(first?.signal.aborted, true)
    assert.equal(second?.signal.aborted, true)
  })
})

describe('A handler that calls back', () => {
  it('is not called within itself by resume()', async () => {
    const fixture = new Fixture()
    let [depth, deepest, handled] = [0, 0, 0]
    const consumer = await fixture.handler(
      () => {
        depth++
        deepest = Math.max(deepest, depth)
        handled++
        consumer.resume()
        depth--
      },
      { concurrency: 1_000, prefetchCount: 1_000 },
    )
    consumer.pause()
    await fixture.deliver(...Array.from({ length: 500 }, (_, at) => at + 1))
    consumer.resume()
    await turn()
    assert.equal(handled, 500)
    assert.equal(deepest, 1)
  })

  it('is not called within a message that is being encoded, in which it could not be acked', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.handler(() => {})
    const channel = await fixture.protocol.channel()
    consumer.pause()
    await fixture.deliver(1)
    const headers = {
      get x() {
        consumer.resume()
        return 1
      },
    }
    await channel.basicPublish('', '', 'q', { headers })
    assert.deepEqual(await fixture.settled(), ['basic.ack 1'])
  })
})

describe('A failed message that is held back', () => {
  const fail = (message: Message) => {
    if (message.text() !== 'good') throw new Error('no')
  }

  it('keeps no others away: if such take half of the window, the consumer gets a new one', async () => {
    const fixture = new Fixture()
    const handled: string[] = []
    const handler = (message: Message) => {
      fail(message)
      handled.push(message.text())
    }
    const consumer = await fixture.handler(handler, { prefetchCount: 4 })
    const cancelled: unknown[] = []
    consumer.on('cancelled', error => cancelled.push(error))
    const [first] = fixture.tags
    await fixture.deliver(1)
    assert.equal(fixture.tags.length, 1)
    await fixture.deliver(2)
    assert.equal(fixture.tags.length, 2)
    const cancel = fixture.connection.frames.find(({ name }) => name === '1 basic.cancel')
    assert.equal(cancel?.args['consumerTag'], first)
    fixture.connection.send(delivery(1, fixture.tags[1] ?? '', 3, 'good'))
    await turn()
    assert.deepEqual(handled, ['good'])
    assert.deepEqual(await fixture.settled(), ['basic.ack 3'])
    await fixture.clock.advance(1_000)
    assert.deepEqual(await fixture.settled(), ['basic.reject 1', 'basic.reject 2'])
    assert.deepEqual(cancelled, [])
    await fixture.reconnect()
    assert.equal(fixture.tags.length, 3, 'one consumer comes back')
  })

  it('takes no place of a window any more once its connection is lost', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.handler(fail, { prefetchCount: 4 })
    await fixture.deliver(1)
    assert.equal(consumer.stats().unacknowledged, 1)
    fixture.connection.finish()
    await turn()
    assert.equal(consumer.stats().unacknowledged, 0)
    await fixture.clock.advance(500)
    fixture.peer = await fixture.broker.accept()
    await fixture.clock.advance(1)
    assert.equal(fixture.tags.length, 2)
    await fixture.deliver(1)
    assert.equal(consumer.stats().unacknowledged, 1)
    assert.equal(fixture.tags.length, 2, 'one of four is held back')
  })

  it('gets no new window where a single consumer is active: the next in line would be that one', async () => {
    const fixture = new Fixture()
    const protocol = await fixture.connect()
    fixture.connection.answers.set(methods.QueueDeclare.name, ({ channel }) =>
      methodFrame(channel, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 }),
    )
    await protocol.queueDeclare('q', { arguments: { 'x-single-active-consumer': true } })
    await protocol.consumer('q', fail, { prefetchCount: 4 })
    await fixture.deliver(1, 2)
    assert.equal(fixture.tags.length, 1)
  })

  it('goes back well within the time that the broker gives an ack', async () => {
    const fixture = new Fixture()
    await fixture.handler(fail, { prefetchCount: 4, arguments: { 'x-consumer-timeout': 10_000 } })
    const tag = fixture.tags[0] ?? ''
    fixture.connection.send(
      deliverFrame(1, tag, 1, true),
      contentFrames(1, 'poison', { headers: { 'x-delivery-count': 6 } }),
    )
    await turn()
    await fixture.clock.advance(3_300)
    assert.deepEqual(await fixture.settled(), [])
    await fixture.clock.advance(100)
    assert.deepEqual(await fixture.settled(), ['basic.reject 1'])
  })

  it('goes back sooner after the broker has ended the consumer over an ack that took too long', async () => {
    const fixture = new Fixture()
    await fixture.handler(fail, { prefetchCount: 4 })
    const replyText =
      'PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 9000 ms. This timeout value can be configured, see consumers doc guide to learn more'
    fixture.connection.reply(1, methods.ChannelClose, { replyCode: 406, replyText, classId: 0, methodId: 0 })
    await fixture.clock.advance(1_000)
    fixture.connection.frames.splice(0)
    fixture.connection.send(
      deliverFrame(fixture.channel, fixture.tags.at(-1) ?? '', 1, true),
      contentFrames(fixture.channel, 'poison', { headers: { 'x-delivery-count': 6 } }),
    )
    await turn()
    await fixture.clock.advance(3_000)
    assert.deepEqual(await fixture.settled(), ['basic.reject 1'])
  })
})

describe('A consumer of a stream', () => {
  const stream = { arguments: { 'x-stream-offset': 'first' } } as const

  it('never acks what is refused where its queue may be none: messages of a stream may be forwarded', async () => {
    const fixture = new Fixture()
    await fixture.handler(message => message.reject(), { onFailure: 'reject' })
    await fixture.deliverOfStream(1)
    assert.deepEqual(await fixture.settled(), [])
    assert.equal(fixture.errors.length, 1)
    fixture.connection.send(delivery(fixture.channel, fixture.tags.at(-1) ?? '', 2, '2'))
    await turn()
    assert.deepEqual(await fixture.settled(), ['basic.reject 2'])
  })

  it('gives nothing back: messages without an ack stay unsettled, however it ends', async () => {
    const ends: readonly ((consumer: Consumer) => Promise<unknown>)[] = [
      consumer => consumer.close(),
      async consumer => {
        for await (const _message of consumer) break
      },
      async consumer => {
        consumer.pause()
        await consumer.close()
      },
      async consumer => {
        await consumer.next()
        await consumer.close()
      },
    ]
    for (const end of ends) {
      const fixture = new Fixture()
      const consumer = await fixture.consumer(stream)
      await fixture.deliverOfStream(1, 2, 3)
      await end(consumer)
      assert.deepEqual(await fixture.settled(), [])
      assert.equal(fixture.protocol.state, 'open')
    }
  })

  it('has a failed message handled again after its pause, and goes on from it after a loss', async () => {
    const fixture = new Fixture()
    const started: string[] = []
    const handler = (message: Message) => {
      started.push(`${message.text()} ${message.deliveryCount}`)
      if (message.text() === '2' && message.deliveryCount === 0) throw new Error('not yet')
    }
    await fixture.handler(handler, { ...stream, concurrency: 1 })
    await fixture.deliverOfStream(1, 2, 3)
    assert.deepEqual(await fixture.settled(), ['basic.ack 1', 'basic.ack 3'])
    await fixture.clock.advance(999)
    assert.deepEqual(started, ['1 0', '2 0', '3 0'])
    await fixture.clock.advance(2)
    assert.deepEqual(started, ['1 0', '2 0', '3 0', '2 1'])
    assert.deepEqual(await fixture.settled(), ['basic.ack 2'])
    await fixture.reconnect()
    assert.deepEqual(fixture.arguments.at(-1), { 'x-stream-offset': 4 })
  })

  it('goes on from the message that failed if the connection is lost during its pause', async () => {
    const fixture = new Fixture()
    const fail = () => {
      throw new Error('no')
    }
    await fixture.handler(fail, stream)
    await fixture.deliverOfStream(7, 8)
    await fixture.reconnect()
    assert.deepEqual(fixture.arguments.at(-1), { 'x-stream-offset': 7 })
  })

  it('gets more while half of its window is held back, and is resumed from the first that is', async () => {
    const fixture = new Fixture()
    const handled: string[] = []
    const handler = (message: Message) => {
      handled.push(message.text())
      if (message.text() === '1' || message.text() === '2') throw new Error('no')
    }
    await fixture.handler(handler, { ...stream, prefetchCount: 4 })
    await fixture.deliverOfStream(1, 2)
    assert.deepEqual(await fixture.settled(), ['basic.ack 2'], 'with all before it')
    await fixture.deliverOfStream(3)
    assert.deepEqual(await fixture.settled(), ['basic.ack 3'])
    await fixture.reconnect()
    assert.deepEqual(fixture.arguments.at(-1), { 'x-stream-offset': 1 })
    assert.deepEqual(handled, ['1', '2', '3'])
  })

  it('acks rejected messages, and hands out requeued ones again', async () => {
    const fixture = new Fixture()
    const consumer = await fixture.consumer(stream)
    await fixture.deliverOfStream(1, 2)
    const { value: first } = await consumer.next()
    assert.equal(first?.reject(), true)
    const { value: second } = await consumer.next()
    assert.equal(second?.nack(), true)
    assert.equal(second?.ack(), false, 'it is settled once')
    const next = consumer.next()
    await fixture.clock.advance(1)
    const { value: again } = await next
    assert.equal(again?.text(), '2')
    assert.equal(again?.deliveryCount, 1)
    assert.equal(again?.ack(), true)
    assert.deepEqual(await fixture.settled(), ['basic.ack 1', 'basic.ack 2'])
  })

  for (const [what, consume] of [
    ['a handler', (fixture: Fixture, giveBack: (message: Message) => void) => fixture.handler(giveBack, stream)],
    [
      'a loop',
      async (fixture: Fixture, giveBack: (message: Message) => void) => {
        const consumer = await fixture.consumer(stream)
        const run = async (): Promise<void> => {
          for await (const message of consumer) giveBack(message)
        }
        run().catch(() => {})
      },
    ],
  ] as const) {
    it(`lets others run if ${what} gives back whatever comes`, async () => {
      const fixture = new Fixture()
      let times = 0
      await consume(fixture, message => {
        if (++times === 1_000) throw new Error('nobody else ran')
        message.nack()
      })
      await fixture.deliverOfStream(1)
      assert.equal(times, 1)
      await fixture.clock.advance(10)
      assert.ok(times > 1 && times < 1_000, `${times}`)
    })
  }

  it('that has got nothing yet resumes from when it began', async () => {
    const fixture = new Fixture()
    await fixture.clock.advance(5_500)
    await fixture.consumer()
    await fixture.reconnect()
    assert.deepEqual(fixture.arguments.at(-1), { 'x-stream-offset': new Date(1_700_000_005_000) })
  })
})

describe('consumer()', () => {
  it('refuses a handler that is missing by mistake', async () => {
    const fixture = new Fixture()
    const protocol = await fixture.connect()
    const consume = protocol.consumer.bind(protocol) as (...args: unknown[]) => Promise<Consumer>
    for (const handler of [undefined, null, {}, 'handler']) {
      const error = await rejection(consume('q', handler, { concurrency: 5 }), EncodeError)
      assert.match(error.message, /handler/)
    }
    for (const given of [[null], [() => {}, null]]) {
      const error = await rejection(consume('q', ...given), EncodeError)
      assert.match(error.message, /^consumer: .*, not null$/)
    }
    const outcome = follow(consume('q', undefined, undefined))
    const none = { onFailure: undefined, concurrency: undefined }
    assert.equal((await consume('q', none)).queueName, 'q')
    await turn()
    assert.equal(outcome.state, 'resolved')
  })

  it('that is aborted right after the call rejects with AbortError, and leaves no channel', async () => {
    const open = {
      consumer: (protocol: AmqpProtocol, options: HandlerOptions) => protocol.consumer('q', () => {}, options),
      rpcServer: (protocol: AmqpProtocol, options: RpcServerOptions) => protocol.rpcServer('q', () => {}, options),
    }
    for (const kind of ['consumer', 'rpcServer'] as const) {
      const fixture = new Fixture()
      const protocol = await fixture.connect()
      const controller = new AbortController()
      const { signal } = controller
      const opening = rejection<Error>(open[kind](protocol, { signal }), AbortError)
      controller.abort(new Error('enough'))
      const error = await opening
      assert.match(error.message, /^consuming from "q" was aborted/)
      await turn()
      assert.equal(protocol.channelsIdsCount, 0)
      assert.deepEqual(fixture.errors, [])
    }
  })

  it('runs handlers, deciders and callbacks in the context in which they were registered', async () => {
    const context = new AsyncLocalStorage<string>()
    const fixture = new Fixture()
    const seen: (string | undefined)[] = []
    const note = (what: string): void => {
      seen.push(`${what}: ${context.getStore()}`)
    }
    const protocol = await context.run('connect', () => fixture.connect())
    const handler = async (message: Message): Promise<void> => {
      note(`handler ${message.text()}`)
      if (message.text() === '1') throw new Error('no')
    }
    const options: HandlerOptions = {
      concurrency: 1,
      onFailure: () => {
        note('onFailure')
        return 'reject' as const
      },
      onCancel: () => note('onCancel'),
    }
    const consumer = await context.run('consumer', () => protocol.consumer('q', handler, options))
    await fixture.deliver(1, 2, 3)
    consumer.pause()
    await fixture.deliver(4)
    context.run('resume', () => consumer.resume())
    await turn()
    await fixture.reconnect()
    const { peer } = fixture
    const channel = await protocol.channel()
    await context.run('callback', () => channel.basicConsume(() => note('callback'), 'q', { consumerTag: 'c' }))
    peer?.send(delivery(channel.channelId, 'c', 1, 'x'))
    await turn()
    assert.deepEqual(seen, [
      'handler 1: consumer',
      'onFailure: consumer',
      'handler 2: consumer',
      'handler 3: consumer',
      'handler 4: consumer',
      'onCancel: consumer',
      'callback: callback',
    ])
  })
})
