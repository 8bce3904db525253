import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError, type ConnectOptions, connect, type Logger, MessageReturnedError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { startBroker } from '../../src/testing/index.ts'
import { Recoverable } from '../support/agreeable-broker.ts'
import { contentFrames, delivery, methodFrame } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const PREFIX = '[asyncamqp orders] '

/** A connection without `onError` whose log is kept, as `level text`. */
async function logged(options: ConnectOptions = {}) {
  const lines: string[] = []
  const to =
    (level: string) =>
    (text: string): void => {
      assert.ok(text.startsWith(PREFIX), text)
      // The fake broker answers without delay, a recovery comes after a random one.
      lines.push(`${level} ${text.slice(PREFIX.length).replace(/\b\d+ ms/g, '# ms')}`)
    }
  const logger: Logger = { info: to('info'), warn: to('warn'), error: to('error') }
  const the = await Recoverable.open({ connectionName: 'orders', logger, onError: undefined, ...options })
  lines.splice(0)
  return { the, lines }
}

const LOST = 'warn the connection to localhost:5672 was lost: cut; it was open for # ms; reconnecting'

describe('the log of a connection', () => {
  it('has a line for the loss and one for the recovery, and none for each consumer', async () => {
    const { the, lines } = await logged()
    await the.protocol.consumer('paid', () => {})
    await the.recover()
    await turn()
    assert.deepEqual(lines, [
      LOST,
      'info connected to localhost:5672 again, # ms after the loss, at attempt 1, with 1 channel, 0 exchanges, 0 queues, 0 bindings, 1 consumer',
    ])
  })

  it('says why a consumer could not be recovered, and that it is tried again', async () => {
    const lines: string[] = []
    const add = (text: string): void => void lines.push(text)
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock, users: { guest: { password: 'guest' } } })
    const options = { ...broker.inMemory, clock, logger: { warn: add }, connectionName: 'orders' }
    await using protocol = await connect(options)
    await protocol.queueDeclare('paid', { durable: true })
    await protocol.consumer('paid', () => {})
    broker.setUser('guest', { password: 'guest', permissions: { '/': { configure: '', write: '', read: '' } } })
    lines.splice(0)
    broker.resetConnections()
    await clock.until(new Promise(resolve => protocol.once('recovered', resolve)))
    const refused = /ACCESS_REFUSED \(403\), read access to queue 'paid'/
    const about = lines.filter(line => line.includes('onsumer') && !line.includes('channel 1 was closed'))
    assert.ok(about.length >= 2, lines.join('\n'))
    for (const line of about) {
      assert.match(line, refused)
      assert.match(line, /; it (?:is tried again, and the rest goes on|will consume again)$/)
    }
  })

  it('has one line for a loss that is not recovered from, as an error', async () => {
    const { the, lines } = await logged({ recovery: false })
    the.peer.transport.break(new Error('cut'))
    await turn()
    assert.deepEqual(lines, [`error ${LOST.slice(5).replace('reconnecting', 'recovery is off, so it stays closed')}`])
  })

  it('has one line for each attempt that failed, and one more for the last', async () => {
    const { the, lines } = await logged({ recovery: { maxAttempts: 2 } })
    const { prepare } = the.broker
    the.broker.prepare = peer => {
      prepare(peer)
      const close = { replyCode: 403, replyText: 'ACCESS_REFUSED - Login was refused', classId: 10, methodId: 11 }
      peer.answers.set('connection.start-ok', () => methodFrame(0, methods.ConnectionClose, close))
    }
    const closed = new Promise(resolve => the.protocol.once('closed', resolve))
    the.peer.transport.break(new Error('cut'))
    await the.clock.until(closed)
    const refusal = /connect to localhost:5672 failed: .*Login was refused/.exec(lines[1] ?? '')?.[0] ?? 'nothing'
    assert.deepEqual(lines, [
      LOST,
      `warn attempt 1 to reconnect failed (step connection.tune): ${refusal}; the next one follows in # ms`,
      `warn attempt 2 to reconnect failed (step connection.tune): ${refusal}; no other follows`,
      `error the connection to localhost:5672 is given up, after 2 attempts in # ms: ${refusal}; it stays closed, and all that waits for it rejects`,
    ])
  })

  it('says that a block has ended, and when', async () => {
    const { the, lines } = await logged()
    the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' }))
    await the.clock.advance(3_000)
    the.peer.send(methodFrame(0, methods.ConnectionUnblocked, {}))
    await turn()
    assert.deepEqual(lines, [
      'warn the broker at localhost:5672 takes no publishes: low on memory; they wait',
      'info the broker at localhost:5672 no longer blocks publishes, after 3.0 s; those that waited go out',
    ])
  })

  it('has one line for a channel that was closed, also if no promise rejects, and no more than one a minute', async () => {
    const { the, lines } = await logged()
    the.refuse.set('queue.declare q', { replyCode: 404, replyText: 'NOT_FOUND - no queue' })
    const ask = async (): Promise<void> => {
      const channel = await the.protocol.channel()
      await rejection(channel.queueDeclare('q'), Error)
    }
    for (let times = 0; times < 5; times++) await ask()
    await the.clock.advance(60_000)
    await ask()
    const channel = await the.protocol.channel()
    the.peer.send(
      methodFrame(channel.channelId, methods.ChannelClose, {
        replyCode: 406,
        replyText: 'unknown delivery tag',
        classId: 60,
        methodId: 80,
      }),
    )
    await turn()
    assert.equal(lines.length, 3, lines.join('\n'))
    assert.match(
      lines[0] ?? '',
      /^warn channel 1 was closed by the server because of queue\.declare: .*no queue.*; what was pending on it rejects, or is sent again$/,
    )
    assert.equal(lines[1]?.replace('channel 5', 'channel 1'), `${lines[0]} (and 3 more like it within a minute)`)
    assert.match(lines[2] ?? '', /because of basic\.ack: .*unknown delivery tag/)
  })

  /** Delete a queue with 300 consumers; a minute later, delete another one and close. */
  async function deleteQueues(options: ConnectOptions): Promise<void> {
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock })
    const protocol = await connect({ ...broker.inMemory, clock, ...options })
    for (const queueName of ['busy', 'late']) {
      await protocol.queueDeclare(queueName)
      const channel = await protocol.channel()
      await Promise.all(Array.from({ length: 300 }, () => channel.basicConsume(() => {}, queueName)))
      await protocol.queueDelete(queueName)
      await turn()
      if (queueName === 'busy') await clock.advance(60_000)
    }
    await clock.until(protocol.close())
  }
  const cancelled = (queueName: string, tag: string): string =>
    `the server cancelled consumer "${tag}" of queue "${queueName}": the queue was deleted or moved, or the consumer took too long`

  it('has one line for all consumers of a queue that was deleted, and counts the others', async () => {
    const lines: string[] = []
    await deleteQueues({ logger: { warn: text => void lines.push(text.replace(/ctag-\d+/, 'ctag')) } })
    const expected = ['busy', 'late'].flatMap(queueName => {
      const line = `the consumer of queue "${queueName}" was stopped: ${cancelled(queueName, 'ctag')}; it gets no more messages`
      return [line, `${line} (and 298 more like it within a minute)`]
    })
    assert.deepEqual(
      lines.map(line => line.replace(/^\[asyncamqp .*?\] /, '')),
      expected,
    )
  })

  it('has one line for all messages that came back from a routing key, whatever their ids', async () => {
    const lines: string[] = []
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock })
    const protocol = await connect({ ...broker.inMemory, clock, logger: { warn: text => void lines.push(text) } })
    const channel = await protocol.channel()
    for (const [n, routingKey] of ['lost', 'lost', 'lost', 'gone'].entries()) {
      await channel.basicPublish('x', '', routingKey, { messageId: `m-${n}` }, { mandatory: true })
    }
    await channel.basicQos()
    await clock.until(protocol.close())
    assert.equal(lines.length, 3, lines.join('\n'))
    assert.match(lines[0] ?? '', /"lost" came back: /)
    assert.match(lines[1] ?? '', /"gone" came back: /)
    assert.match(lines[2] ?? '', /"lost" came back: .* \(and 1 more like it within a minute\)$/)
  })

  it('is kept from the error of a copy that is refused, which says to onError which copy it is', async () => {
    const errors: Error[] = []
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock })
    const protocol = await connect({ ...broker.inMemory, clock, onError: error => void errors.push(error) })
    await protocol.queueDeclare('orders')
    await protocol.queueDeclare('orders.retry.1000')
    const fail = (): never => {
      throw new Error('out of stock')
    }
    const parked = { exchangeName: '', routingKey: 'nowhere' }
    await protocol.consumer('orders', fail, {
      onFailure: ({ properties }) => (properties.messageId === 'parked' ? parked : { retries: 1, delays: [1_000] }),
    })
    const all = ['parked', 'first', 'second'].map(messageId => protocol.publish('x', '', 'orders', { messageId }))
    await clock.until(Promise.all(all))
    while (errors.length < 6) await turn()
    await clock.until(protocol.close())
    const refused = errors.filter(({ message }) => message !== 'out of stock')
    assert.deepEqual(
      refused.map(({ message }) => /^the copy of message "(\w+)".*its queue: (?!the copy)/.exec(message)?.[1]).sort(),
      ['first', 'parked', 'second'],
    )
    assert.ok(refused.some(error => error instanceof MessageReturnedError && error.body.toString() === 'x'))
    assert.ok(refused.some(error => error instanceof ChannelClosedError && error.replyCode === 406))
  })

  it('has one line for all copies of failed messages that are refused for one reason, whatever their ids', async () => {
    const lines: string[] = []
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock })
    const protocol = await connect({ ...broker.inMemory, clock, logger: { warn: text => void lines.push(text) } })
    await protocol.queueDeclare('orders')
    const fail = (): never => {
      throw new Error('out of stock')
    }
    await protocol.consumer('orders', fail, { onFailure: { exchangeName: '', routingKey: 'nowhere' } })
    await protocol.consumer('orders', fail, { onFailure: { exchangeName: '', routingKey: 'full' } })
    await protocol.queueDeclare('full', { arguments: { 'x-max-length': 0, 'x-overflow': 'reject-publish' } })
    for (let n = 0; n < 8; n++) await protocol.publish('x', '', 'orders', { messageId: `m-${n}` })
    await clock.until(protocol.close())
    const about = lines.filter(line => line.includes('the copy of message'))
    assert.equal(about.length, 4, lines.join('\n'))
    assert.equal(about.filter(line => /NO_ROUTE/.test(line)).length, 2)
    assert.equal(about.filter(line => / \(and 2 more like it within a minute\)$/.test(line)).length, 2)
  })

  it('is bounded in the same way if it is the warnings of the process', async () => {
    const texts: string[] = []
    const warned = ({ message }: Error): void => void texts.push(message.replace(/ctag-\d+/, 'ctag'))
    process.on('warning', warned)
    try {
      await deleteQueues({})
      await turn()
    } finally {
      process.removeListener('warning', warned)
    }
    const expected = ['busy', 'late'].flatMap(queueName => {
      const text = cancelled(queueName, 'ctag')
      return [text, `${text} (and 298 more like it within a minute)`]
    })
    assert.deepEqual(texts, expected)
  })

  it('says of a message without acks whose handler failed that it is gone', async () => {
    const { the, lines } = await logged()
    const failing = (): Promise<never> => Promise.reject(new Error('no good'))
    const consumer = await the.protocol.consumer('work', failing, { noAck: true })
    the.peer.send(delivery(1, consumer.stats().consumerTag ?? '', 1, 'a'))
    await turn()
    assert.deepEqual(lines, ['warn a handler of queue "work" failed (noAck: its message is gone): no good'])
  })

  it('names the queue of a consumer that was cancelled, or whose handler failed', async () => {
    const { the, lines } = await logged()
    const consumer = await the.protocol.consumer('work', () => Promise.reject(new Error('no good')), {
      onFailure: 'reject',
    })
    const tag = consumer.stats().consumerTag ?? ''
    the.peer.send(delivery(1, tag, 1, 'a'))
    the.peer.send(delivery(1, tag, 2, 'b'))
    await turn()
    the.peer.send(methodFrame(1, methods.BasicCancel, { consumerTag: tag, noWait: true }))
    const resumed = new Promise<void>(resolve => consumer.once('resumed', resolve))
    await the.clock.until(resumed)
    assert.deepEqual(lines, [
      'warn a handler of queue "work" failed (onFailure: reject): no good',
      'warn the consumer of queue "work" was stopped: the server cancelled the consumer of queue "work": the queue was deleted or moved, or the consumer took too long; it will consume again',
      'info the consumer of queue "work" consumes again, after # ms',
    ])
  })

  it('counts what was sent again', async () => {
    const { the, lines } = await logged()
    const publisher = await the.protocol.publisher({ exchangeName: 'orders' })
    for (let i = 0; i < 3; i++) publisher.publish(`${i}`, 'key').catch(() => {})
    await turn()
    await the.recover()
    await turn()
    assert.deepEqual(
      lines.filter(line => line.includes('sent again')),
      [
        'warn 3 messages to exchange "orders" were sent again; receivers may see 3 twice, since they may have arrived before',
      ],
    )
    await the.clock.until(the.protocol.close({ timeout: 0 }))
    assert.equal(lines.at(-1), 'info the connection to localhost:5672 was closed by the program')
  })

  it('says no password, and gives a structured logger what tools look for', async () => {
    const entries: [Record<string, unknown>, string][] = []
    const keep = (fields: unknown, text: unknown): void => void entries.push([{ ...(fields as object) }, String(text)])
    const pino = { child: () => pino, bindings: () => ({}), info: keep, warn: keep, error: keep }
    const the = await Recoverable.open({
      connectionName: 'orders',
      logger: pino,
      onError: undefined,
      password: 's3cret',
      login: 'me',
    })
    await the.recover()
    const channel = await the.protocol.channel()
    const envelope = { replyCode: 312, replyText: 'NO_ROUTE', exchangeName: 'e', routingKey: 'k' }
    the.peer.send(
      Buffer.concat([
        methodFrame(channel.channelId, methods.BasicReturn, envelope),
        contentFrames(channel.channelId, 'private'),
      ]),
    )
    await turn()
    const [opened, lost, recovered, returned] = entries.filter(([{ event }]) => event !== 'warning')
    const endpoint = { connectionName: 'orders', serverAddress: 'localhost', serverPort: 5672, virtualHost: '/' }
    for (const [fields, text] of entries) {
      for (const [name, value] of Object.entries(endpoint)) assert.equal(fields[name], value)
      assert.doesNotMatch(text, /^\[|s3cret|private/)
      assert.doesNotMatch(JSON.stringify(fields), /s3cret/)
    }
    assert.equal(opened?.[0]['event'], 'connection.opened')
    assert.equal(lost?.[0]['reason'], 'socket')
    assert.match(String(lost?.[0]['err']), /was lost: cut/)
    assert.equal(lost?.[0]['error'], undefined)
    assert.equal(recovered?.[0]['attempts'], 1)
    assert.match(returned?.[1] ?? '', /came back/)
    assert.equal(returned?.[0]['err'], undefined)
  })

  it('is kept from errors that onError gets', async () => {
    const errors: Error[] = []
    const { the, lines } = await logged({ onError: error => errors.push(error) })
    await the.protocol.consumer('work', () => {
      throw new Error('no good')
    })
    const [consumer] = the.protocol.stats().consumers
    the.peer.send(delivery(1, consumer?.consumerTag ?? '', 1, 'a'))
    await turn()
    assert.deepEqual(
      errors.map(({ message }) => message),
      ['no good'],
    )
    assert.deepEqual(lines, [])
  })
})
