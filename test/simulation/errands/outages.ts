import type { Errand } from './errand.ts'
import { lose } from './recoveries.ts'

/** A recovery makes as many attempts as it may, with pauses within their bounds, and then all that waits ends. */
export const givenUp: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({ recovery: { initialDelay: 100, factor: 2, maxDelay: 2_000, maxAttempts: 4 } })
  const { protocol } = own
  const attempts: number[] = []
  const events: string[] = []
  protocol.on('disconnected', () => events.push('disconnected'))
  protocol.on('recovering', (attempt, delay) => {
    attempts.push(attempt)
    outing.expect(delay >= 0 && delay <= 2_000, `the pause before attempt ${attempt} is ${delay} ms`)
  })
  protocol.on('closed', () => events.push('closed'))
  const consumer = await protocol.consumer(queue)
  const channel = await protocol.channel()
  const next = outing.failure(consumer.next(), 'ConnectionLostError', 'next()')
  const closed = outing.failure(protocol.waitClosed(), 'ConnectionLostError', 'waitClosed()')
  own.refuse(true)
  own.cut()
  await outing.sleep(2)
  outing.equal(protocol.state, 'recovering', 'the state')
  const calls = outing.failure(channel.queueDeclare(queue, { passive: true }), 'ConnectionLostError', 'a call')
  const opened = outing.failure(protocol.channel(), 'ConnectionLostError', 'a channel')
  const sent = outing.failure(protocol.publish('x', '', queue), 'ConnectionLostError', 'a publish')
  const bounded = outing.failure(protocol.ready({ timeout: 1 }), 'TimeoutError', 'ready()')
  await Promise.race([Promise.all([next, closed, calls, opened]), outing.sleep(60_000)])
  outing.equal(attempts, [1, 2, 3, 4], 'the attempts')
  outing.equal(events, ['disconnected', 'closed'], 'the events')
  outing.equal((await sent).outcome, 'notSent', 'the outcome of a publish')
  await bounded
  outing.equal(protocol.state, 'closed', 'the state at the end')
  // The program may say that an attempt was the last.
  let asked = 0
  const asks = await outing.connect({ recovery: { initialDelay: 1, giveUpOn: async () => ++asked === 2 } })
  const over = outing.failure(asks.protocol.waitClosed(), 'ConnectionLostError', 'waitClosed()')
  asks.refuse(true)
  asks.cut()
  await Promise.race([over, outing.sleep(10_000)])
  outing.equal([asked, asks.protocol.state], [2, 'closed'], 'attempts until the program gives up, and the state')
}

/** One connection after the other that is lost as soon as it is there: the pauses grow, and are short again after one that stays. */
export const flapping: Errand = async outing => {
  const own = await outing.connect({ recovery: { initialDelay: 10, factor: 3, maxDelay: 500, jitter: 0 } })
  const { protocol } = own
  const delays: number[] = []
  protocol.on('recovering', (_attempt, delay) => delays.push(delay))
  let left = 7
  protocol.on('recovered', () => left-- > 0 && own.cut())
  own.cut()
  await outing.until(() => left < 0, 'a connection that stays', 20_000)
  await outing.sleep(2_000)
  await lose(outing, own)
  outing.equal(delays, [10, 10, 10, 10, 100, 300, 500, 500, 10], 'the pauses before attempts')
}

const MANY = 1_300

/** What is begun during an outage is done after it, in its order; and a close ends an outage at once. */
export const outages: Errand = async outing => {
  const { clock } = outing
  const queue = await outing.queue()
  const own = await outing.connect({ recovery: { initialDelay: 10 } })
  const { protocol } = own
  const channel = await protocol.channel({ publisherConfirms: true })
  const publisher = await protocol.publisher()
  own.refuse(true)
  own.cut()
  await outing.sleep(100)
  const sent = ['1', '2', '3'].map(text => outing.meanwhile(protocol.publish(text, '', queue)))
  const mixed = ['a', 'b'].map(text => outing.meanwhile(channel.publish(text, '', queue)))
  const late = outing.failure(protocol.publish('x', '', queue, {}, { timeout: 50 }), 'TimeoutError', 'a publish')
  // More than any list of the client keeps in one piece.
  const stored = await outing.queue()
  const many = Array.from({ length: MANY }, () => outing.meanwhile(publisher.publish('', stored)))
  const asked = outing.meanwhile(channel.queueDeclare(queue, { passive: true }))
  const opened = outing.meanwhile(protocol.channel())
  const consumed = outing.meanwhile(protocol.consumer(queue, () => {}, { prefetchCount: 1 }))
  const gone = outing.failure(
    channel.basicGet(queue, { signal: outing.signalAfter(20) }),
    'AbortError',
    'a call that is given up in an outage',
  )
  // Those that are given up come after others, and are more.
  const few = await protocol.publisher()
  const patient = Array.from({ length: 3 }, () => outing.meanwhile(few.publish('', stored)))
  const impatient = Array.from({ length: 70 }, () => few.publish('x', queue, {}, { timeout: 30 }).catch(() => {}))
  await Promise.all(impatient)
  outing.equal(few.pending, 3, 'publishes of a publisher that wait')
  outing.equal((await late).outcome, 'notSent', 'the outcome of what timed out')
  await gone
  const { waiting } = protocol.stats()
  outing.expect(waiting >= 3, `${waiting} publishes wait`)
  own.refuse(false)
  const began = clock.now()
  await protocol.ready({ timeout: 20_000 })
  outing.took(began, 0, 3_000, 'the end of an outage')
  await Promise.all([...sent, ...mixed, ...many, ...patient, asked])
  outing.equal(few.pending, 0, 'publishes of a publisher that wait, after an outage')
  outing.equal(await outing.ready(stored), MANY + 3, 'messages that waited in an outage')
  await (await opened).close()
  await (await consumed).close()
  const seen: string[] = []
  const consumer = await protocol.consumer(queue)
  await protocol.publish('last', '', queue)
  for (let text = ''; text !== 'last'; ) {
    const { value } = await consumer.next({ timeout: 5_000 })
    text = value?.text() ?? 'last'
    seen.push(text)
    value?.ack()
  }
  outing.expect(!seen.includes('x'), 'what timed out was sent')
  own.refuse(true)
  own.cut()
  await outing.sleep(100)
  const waits = outing.failure(protocol.queueDeclare(queue), 'ConnectionClosedError', 'a call that a close ends')
  const start = clock.now()
  await protocol.close()
  outing.took(start, 0, 100, 'the close in an outage')
  await waits
}

/** Without recovery a loss ends all that waits, with its reason. */
export const unrecovered: Errand = async outing => {
  const queue = await outing.queue()
  const { protocol, cut } = await outing.connect({ recovery: false, onError: () => {} })
  const consumer = await protocol.consumer(queue)
  const next = outing.failure(consumer.next(), 'ConnectionLostError', 'next()')
  const closed = outing.failure(protocol.waitClosed(), 'ConnectionLostError', 'waitClosed()')
  // No promise of a program with a handler says so.
  let why: Error | undefined
  consumer.once('closed', error => {
    why = error
  })
  const client = await protocol.rpcClient({ timeout: Number.POSITIVE_INFINITY })
  const called = outing.failure(client.call(await outing.queue(), 'question'), 'ConnectionLostError', 'an RPC call')
  await outing.sleep(20)
  const channel = await protocol.channel()
  const ended = outing.failure(channel.waitClosed(), 'ConnectionLostError', 'waitClosed() of a channel')
  const asked = outing.failure(channel.queueDeclare(queue, { passive: true }), 'ConnectionLostError', 'a call')
  const sent = protocol.publish('x', '', queue)
  const failed = outing.failure(sent, 'ConnectionLostError', 'a publish')
  cut()
  const isOver = await Promise.race([Promise.all([next, closed, ended, asked, called]), outing.sleep(5_000)])
  outing.expect(isOver !== undefined, 'what waits does not end with its connection')
  outing.equal(why?.name, 'ConnectionLostError', 'why a consumer says that it is closed')
  outing.expect(['unknown', 'notSent'].includes((await failed).outcome ?? ''), 'the publish has no outcome')
  outing.equal(protocol.state, 'closed', 'the state')
  await protocol.close()
}
