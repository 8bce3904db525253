import { type Consumer, int8, int16 } from '../../../src/index.ts'
import { WireTypes } from '../../../src/protocol/wire-types.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

/** How next() ends. */
const endOf = (next: Promise<IteratorResult<unknown, undefined>>): Promise<string> =>
  next.then(
    ({ done }) => (done === true ? 'done' : 'a message'),
    (error: Error) => error.name,
  )

/** What asks a consumer for a message when it ends, and what asks it later, learns the same. */
export const consumerEnds: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const controller = new AbortController()
  const { signal } = controller
  const ways: readonly [should: string, end: (consumer: Consumer, queue: string) => unknown][] = [
    ['done', consumer => consumer.close()],
    ['AbortError', () => controller.abort()],
    ['ConsumerCancelledError', (_, queue) => control.cancelConsumers(queue)],
    ['ConnectionClosedError', () => own.protocol.close()],
  ]
  const own = await connect()
  for (const [should, end] of ways) {
    const queue = `ends with ${should}`
    await own.protocol.queueDeclare(queue)
    const consumer = await own.protocol.consumer(queue, {
      onCancel: () => 'close',
      ...(should === 'AbortError' && { signal }),
    })
    const closed = new Promise(resolve => consumer.once('closed', resolve))
    const waiting = outing.meanwhile(endOf(consumer.next()))
    await end(consumer, queue)
    await Promise.race([closed, outing.sleep(10_000)])
    outing.equal(
      [await waiting, await endOf(consumer.next())],
      [should, should],
      'the ends of two that ask for a message',
    )
  }
}

/** Handlers that take long are reported each time that this has doubled. */
export const slowHandlers: Errand = async outing => {
  const queue = await outing.queue()
  const reports: number[] = []
  const consumer = outing.keep(
    await outing.protocol.consumer(queue, () => outing.sleep(9_000), { concurrency: 2, slowHandlerThreshold: 1_000 }),
  )
  consumer.on('slow', (handlers, milliseconds) => {
    outing.equal(handlers, 2, 'handlers that are slow')
    reports.push(milliseconds)
  })
  await outing.publish(queue, '1', '2')
  await outing.sleep(9_500)
  outing.equal(reports.length, 4, 'reports of handlers that are slow')
  for (const [n, milliseconds] of reports.entries())
    outing.expect(
      milliseconds >= 1_000 * 2 ** n && milliseconds < 1_500 * 2 ** n,
      `report ${n} came at ${milliseconds} ms`,
    )
}

/** What may not wait any longer is reported, once for each time that too much waits. */
export const overflows: Errand = async outing => {
  const queue = await outing.queue()
  const errors: string[] = []
  const own = await outing.connect({ recovery: QUICK, maxWaiting: 2, onError: ({ name }) => errors.push(name) })
  const channel = await own.protocol.channel()
  for (let round = 1; round <= 2; round++) {
    own.refuse(true)
    own.cut()
    await outing.sleep(5)
    const sent = Array.from({ length: 5 }, (_, n) => channel.basicPublish(`${round} ${n}`, '', queue))
    const ends = Promise.allSettled(sent)
    own.refuse(false)
    await own.protocol.ready({ timeout: 20_000 })
    const failed = (await ends).filter(({ status }) => status === 'rejected').length
    outing.equal(failed, 3, 'publishes that may not wait')
    outing.equal(errors.filter(name => name === 'BufferFullError').length, round, 'reports that too much waits')
    await channel.queueDeclare(queue, { passive: true })
  }
  outing.equal(await outing.takeAll(queue), ['1 0', '1 1', '2 0', '2 1'], 'what may wait')
}

/** Calls of a channel whose broker is silent, or closes it at the same time: each ends, and says why. */
export const crossedCloses: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ rpcTimeout: 1_000, heartbeat: 0 })
  const { protocol } = own
  const { clock } = outing
  await protocol.queueDeclare('queue')
  const crossing = await protocol.channel()
  own.freeze('toClient')
  control.closeChannels(541, 'INTERNAL_ERROR')
  await outing.sleep(1)
  const pending = outing.failure(crossing.queueDeclare('queue', { passive: true }), 'ChannelClosedError', 'a call')
  const over = outing.failure(crossing.waitClosed(), 'ChannelClosedError', 'waitClosed()')
  const closing = crossing.close()
  own.thaw('toClient')
  await closing
  const reasons = await Promise.race([Promise.all([pending, over]), outing.sleep(5_000)])
  for (const { message = '' } of reasons ?? [{}])
    outing.expect(message.includes('541'), `the broker closed a channel with 541, and its program learned: ${message}`)
  // What comes after a call that is given up has its own time.
  const silent = await protocol.channel()
  const closed = await protocol.channel()
  own.freeze()
  const began = clock.now()
  const declare = (options = {}): Promise<unknown> => silent.queueDeclare('queue', { passive: true, ...options })
  const ends = Promise.all([
    outing.failure(declare({ signal: outing.signalAfter(200) }), 'AbortError', 'a call that is given up'),
    outing.failure(declare(), 'TimeoutError', 'the call after it'),
    closed.close(),
    closed.waitClosed(),
  ])
  const isOver = await Promise.race([ends, outing.sleep(5_000)])
  outing.expect(isOver !== undefined, 'a call or a close without an answer does not end')
  outing.took(began, 1_000, 1_300, 'calls and a close without an answer')
  own.thaw()
}

/** A consumer of a stream comes back as it was, but for its place. */
export const streamConsumers: Errand = async outing => {
  const { control, release, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  await protocol.queueDeclare('log', { arguments: { 'x-queue-type': 'stream' } })
  const channel = await protocol.channel()
  await channel.basicQos({ prefetchCount: 7 })
  const tags: number[] = []
  const seen: string[] = []
  await channel.basicConsume(
    (_channel, body, { deliveryTag }) => {
      seen.push(body.toString())
      tags.push(deliveryTag)
    },
    'log',
    { arguments: { 'x-stream-offset': 'first', 'x-own': 'kept' } },
  )
  for (const text of ['1', '2', '3', '4', '5']) await protocol.publish(text, '', 'log')
  await outing.until(() => seen.length === 5, 'a stream', 2_000)
  const look = (): string => `${control.evidence().consumers.get('log')}`
  const before = look()
  // Those of it that were acked do not come again, also if one ack was for several.
  await channel.basicClientAck(tags[2] ?? 0, { multiple: true })
  await lose(outing, own)
  await outing.until(() => seen.length >= 7, 'the rest of a stream', 5_000)
  await outing.sleep(50)
  outing.equal(seen.slice(5), ['4', '5'], 'what comes again of a stream')
  outing.equal(look(), before, 'the consumer of a stream after a loss')
  // The broker filters chunks, and the client the messages of one; before 3.13 only the client does, which lets pass what has no value.
  const passing = release === '3.10' ? ['1', '2', '3', '4', '5'] : []
  for (const value of ['a', 'b', 'c'])
    await protocol.publish(value, '', 'log', { headers: { 'x-stream-filter-value': value } })
  const filtered: string[] = []
  const consumer = await protocol.consumer('log', message => void filtered.push(message.text()), {
    arguments: { 'x-stream-offset': 'first', 'x-stream-filter': ['a', 'c'] },
  })
  await outing.until(() => filtered.includes('c'), 'what a filter lets through', 2_000)
  outing.equal(filtered, [...passing, 'a', 'c'], 'what a filter lets through')
  await consumer.close()
  const unfiltered: string[] = []
  const other = await protocol.consumer('log', message => void unfiltered.push(message.text()), {
    arguments: { 'x-stream-offset': 'first', 'x-stream-filter': 'b', 'x-stream-match-unfiltered': true },
  })
  await outing.until(() => unfiltered.includes('b'), 'what a filter lets through', 2_000)
  outing.equal([unfiltered.length, unfiltered.at(-1)], [6, 'b'], 'what has no value, and passes a filter')
  await other.close()
}

/** What a program has received and publishes again has the wire types that it came with, and what the program has changed. */
export const forwards: Errand = async outing => {
  const { protocol } = outing
  const [first, second] = [await outing.exchange('headers'), await outing.exchange('headers')]
  const [came, changed] = [await outing.queue(), await outing.queue()]
  const only = { small: int8(5), 'x-match': 'all' }
  await protocol.queueBind(came, first, '', { arguments: only })
  await protocol.queueBind(changed, second, '', { arguments: only })
  // One of another type, which is another value to the broker.
  const headers = { small: int8(5), size: int16(7), text: 'as it was' }
  await protocol.publish('body', first, '', { headers }, { mandatory: true })
  const { body = '', properties } = (await outing.take(came, 2_000)) ?? {}
  const sent = protocol.publish(body, second, '', properties ?? {}, { mandatory: true })
  await sent.catch(error => outing.expect(false, `a message that is sent on: ${error}`))
  const { headers: again = {} } = (await outing.take(changed, 2_000))?.properties ?? {}
  outing.equal(again['text'], 'as it was', 'a header')
  // A headers exchange compares values alone, and other receivers see their types.
  const types = [...(WireTypes.of(again)?.values() ?? [])].map(({ key, type }) => `${key} ${String.fromCharCode(type)}`)
  outing.equal(types.sort(), ['size s', 'small b'], 'the types of headers that are sent on')
  const { headers: own = {} } = properties ?? {}
  own['text'] = 'changed'
  await protocol.publish(body, second, '', properties ?? {}, { mandatory: true }).catch(() => {})
  outing.equal(
    (await outing.take(changed, 2_000))?.properties.headers?.['text'],
    'changed',
    'a header that was changed',
  )
}

/** A channel is closed over a call without an answer: no callback begins any more, and what waits for one goes back. */
export const closedOverTimeout: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect()
  const channel = await own.protocol.channel()
  const seen: string[] = []
  const work = async (_channel: unknown, body: Buffer): Promise<void> => {
    seen.push(body.toString())
    await outing.sleep(200)
  }
  await channel.basicConsume(work, queue, { concurrency: 1 })
  await outing.publish(queue, '1', '2', '3')
  await outing.until(() => seen.length === 1, 'a message')
  await outing.sleep(20)
  own.freeze('toServer')
  const asked = channel.queueDeclare(queue, { passive: true, timeout: 50 })
  await outing.failure(asked, 'TimeoutError', 'a question without an answer')
  await outing.sleep(500)
  outing.equal(seen, ['1'], 'callbacks of a channel that was closed over a timeout')
  own.thaw('toServer')
  await outing.holds(queue, 3, 'messages that go back')
}

/** What came without acks is run to the last after a cancel, but a close of the channel by the program drops it. */
export const droppedByClose: Errand = async outing => {
  const queue = await outing.queue()
  const seen: string[] = []
  for (const closes of [false, true]) {
    const channel = outing.keep(await outing.protocol.channel())
    const work = async (_channel: unknown, body: Buffer): Promise<void> => {
      seen.push(body.toString())
      await outing.sleep(100)
    }
    const { consumerTag } = await channel.basicConsume(work, queue, { concurrency: 1, noAck: true })
    const [first, ...others] = closes ? ['4', '5', '6'] : ['1', '2', '3']
    await outing.publish(queue, first ?? '', ...others)
    await outing.until(() => seen.includes(first ?? ''), 'a message without acks', 5_000)
    await outing.sleep(20)
    await channel.basicCancel(consumerTag)
    if (closes) await channel.close()
    await outing.sleep(500)
  }
  outing.equal(seen, ['1', '2', '3', '4'], 'messages without acks of consumers that were cancelled')
}
