import type { Channel, Envelope } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** A connection that is made in the background: its calls wait for it. */
export const background: Errand = async outing => {
  const queue = await outing.queue()
  const events: string[] = []
  const { protocol } = await outing.connect({}, true)
  protocol.on('connected', () => events.push('connected'))
  outing.equal(protocol.state, 'connecting', 'the state before there is a connection')
  const sent = outing.meanwhile(protocol.publish('early', '', queue, {}, { timeout: 20_000 }))
  const asked = outing.meanwhile(protocol.queueDeclare(queue, { passive: true }))
  await outing.failure(protocol.ready({ timeout: 0 }), 'TimeoutError', 'ready() with no time')
  await protocol.ready()
  outing.equal(protocol.state, 'open', 'the state when it is ready')
  await Promise.all([sent, asked])
  outing.equal(events, ['connected'], 'the events')
  outing.equal(await outing.takeAll(queue), ['early'], 'what was published early')
  await protocol.close()
  outing.equal(protocol.state, 'closed', 'the state after the close')
  await protocol.waitClosed()
}

/** A token that expires is renewed when four fifths of its time are over, and once for each. */
export const tokens: Errand = async outing => {
  const times: number[] = []
  let seconds = 10
  const password = () => {
    times.push(outing.clock.now())
    const expiresAt = outing.clock.wallTime() + 1_000 * seconds
    seconds = 20
    return { password: outing.password, expiresAt }
  }
  const { protocol, cut } = await outing.connect({ password, recovery: { initialDelay: 1 } })
  const began = times[0] ?? 0
  await outing.sleep(began + 7_500 - outing.clock.now())
  outing.equal(times.length, 1, 'tokens before four fifths of the time')
  await outing.sleep(1_000)
  outing.equal(times.length, 2, 'tokens after four fifths of the time')
  if (outing.number % 2 === 0) cut()
  await outing.sleep(100)
  await protocol.ready({ timeout: 10_000 })
  outing.equal(times.length, 2, 'tokens when the last one is good')
  await outing.sleep((times[1] ?? 0) + 16_500 - outing.clock.now())
  outing.equal(times.length, 3, 'tokens after four fifths of the second')
  await protocol.close()
  await outing.sleep(20_000)
  outing.equal(times.length, 3, 'tokens after the close')
}

/** A token that did not come is asked for again while the last one is good. */
export const tokenAgain: Errand = async outing => {
  let asked = 0
  const password = () => {
    if (++asked === 2) throw new Error('no token yet')
    const expiresAt = outing.clock.wallTime() + (asked === 1 ? 10_000 : 60_000)
    return { password: outing.password, expiresAt }
  }
  const { protocol } = await outing.connect({ password })
  await outing.until(() => asked === 3, 'the question for a token after one that failed', 12_000)
  await outing.sleep(5_000)
  outing.equal(asked, 3, 'questions for a token')
  outing.equal(protocol.state, 'open', 'the state of a connection whose token came late')
}

/** Tokens are asked for a login, and before the last one expires, and never for a connection that is gone. */
export const slowTokens: Errand = async outing => {
  let asked = 0
  const password = async () => {
    if (++asked > 1) await outing.sleep(1_000)
    return { password: outing.password, expiresAt: outing.clock.wallTime() + 10_000 }
  }
  const recovery = { initialDelay: 100, maxDelay: 500, jitter: 0 } as const
  const own = await outing.connect({ password, recovery })
  const { protocol, refuse, cut } = own
  refuse(true)
  cut()
  await outing.sleep(20_000)
  outing.equal(asked, 1, 'tokens while there is no connection')
  refuse(false)
  await protocol.ready({ timeout: 20_000 })
  outing.equal(asked, 2, 'tokens for the next login')
  await outing.until(() => asked === 3, 'the next token', 10_000)
  outing.equal(own.keeping, 0, 'timers that keep the process alive while a connection waits for its next token')
  await protocol.close()
  await outing.sleep(20_000)
  outing.equal(asked, 3, 'tokens after the close')
}

/** A close lets handlers end and sends their acks, within its time; what no handler has seen goes back. */
export const closes: Errand = async outing => {
  const queue = await outing.queue()
  await outing.publish(queue, '1', '2', '3', '4')
  const { protocol } = await outing.connect()
  const isShort = outing.number % 2 === 0
  const ended: string[] = []
  const begun: string[] = []
  const other = await outing.queue()
  await outing.publish(other, '1', '2')
  const channel = await protocol.channel()
  let answered = 0
  const answer = async (on: Channel, _body: Buffer, { deliveryTag }: Envelope): Promise<void> => {
    await outing.sleep(600)
    if (await on.basicClientAck(deliveryTag)) answered++
  }
  await channel.basicConsume(answer, other, { concurrency: 1 })
  await protocol.consumer(
    queue,
    async message => {
      begun.push(message.text())
      await outing.sleep(400)
      ended.push(message.text())
    },
    { concurrency: 2 },
  )
  const published = outing.meanwhile(protocol.publish('5', '', queue))
  await outing.until(() => begun.length === 2, 'two handlers')
  const began = outing.clock.now()
  const closed = protocol.close({ timeout: isShort ? 100 : 3_000 })
  outing.expect(protocol.close() === closed, 'a second close gets another promise')
  await closed
  await published
  outing.took(began, isShort ? 50 : 500, isShort ? 150 : 700, 'the close')
  outing.equal(ended, isShort ? [] : ['1', '2'], 'the handlers that ended before the close')
  outing.equal(begun, ['1', '2'], 'the handlers that began')
  await outing.holds(queue, isShort ? 5 : 3, 'messages that go back')
  outing.equal(answered, isShort ? 0 : 1, 'callbacks that ended before the close')
  await outing.holds(other, isShort ? 2 : 1, 'messages of a callback that go back')
  await outing.failure(protocol.queueDeclare(queue), 'ConnectionClosedError', 'a call after the close')
  await outing.sleep(500)
}

/** A close waits for what is on its way, in every form. */
export const closeAtOnce: Errand = async outing => {
  const queue = await outing.queue()
  const { protocol } = await outing.connect()
  const publisher = await protocol.publisher({ maxInFlight: 2 })
  const channel = await protocol.channel({ publisherConfirms: true })
  const ends = [
    ...['1', '2', '3', '4', '5'].map(text => publisher.publish(text, queue)),
    protocol.publish('6', '', queue),
    channel.publish('7', '', queue),
  ].map(sent => sent.then(() => '').catch((error: Error) => error.message))
  await protocol.close()
  outing.equal(
    (await Promise.all(ends)).filter(end => end !== ''),
    [],
    'what was on its way when the connection was closed',
  )
  outing.equal((await outing.takeAll(queue)).sort(), ['1', '2', '3', '4', '5', '6', '7'], 'what arrived')
}

/** What has ended within its time leaves no timer behind that keeps the process alive. */
export const deadlines: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect()
  const { protocol } = own
  const bounds = { timeout: 300_000 }
  const quiet = (what: string): void => outing.equal(own.keeping, 0, `timers that ${what} leaves`)
  await protocol.ready(bounds)
  quiet('ready()')
  // Its own: `protocol.publish` looks once a minute for channels to close.
  const publisher = await protocol.publisher()
  await publisher.publish('1', queue, {}, bounds)
  quiet('a publish')
  const channel = await protocol.channel()
  await channel.queueDeclare(queue, { passive: true, ...bounds })
  await channel.basicGet(queue, bounds)
  quiet('a call')
  const server = await protocol.rpcServer(queue, () => 'answer')
  const client = await protocol.rpcClient()
  await client.call(queue, 'question', bounds)
  await outing.sleep(5)
  quiet('an RPC call')
  await client.close()
  await server.close()
  const consumer = await protocol.consumer(queue)
  const next = outing.meanwhile(consumer.next(bounds))
  await publisher.publish('2', queue)
  const { value } = await next
  value?.ack()
  quiet('next()')
  await publisher.publish('3', queue)
  const batches = consumer.batches({ size: 1, wait: 300_000 })
  await batches.next()
  quiet('a batch')
  await batches.return?.()
  await consumer.close()
  await publisher.close()
  await channel.close()
  await outing.sleep(5)
  quiet('a close')
  await protocol.close()
  quiet('the end of the connection')
}

/** What needs a channel waits for one, in its turn, and learns of the end. */
export const fewChannels: Errand = async outing => {
  const queue = await outing.queue()
  const { protocol } = await outing.connect({ channelMax: 2 })
  const channels = [await protocol.channel(), await protocol.channel()]
  const more = protocol.channel()
  await outing.failure(more, 'NoChannelAvailableError', 'a third channel of two')
  // It has a number if the broker has closed one of the two, and those that wait below need it.
  await more.then(
    channel => channel.close(),
    () => {},
  )
  const order: number[] = []
  const waiting = [0, 1, 2].map(n =>
    outing.meanwhile(protocol.queueDeclare(queue, { passive: true }).then(() => order.push(n))),
  )
  await outing.sleep(50)
  outing.equal(order, [], 'calls without a channel')
  await channels[0]?.close()
  await Promise.all(waiting)
  outing.equal(order, [0, 1, 2], 'the order of calls that waited')
  // A channel that is not needed at the moment makes room.
  const publisher = await protocol.publisher()
  await channels[1]?.close()
  await publisher.publish('1', queue, {}, { timeout: 20_000 })
  const others = [await protocol.channel({ signal: outing.signalAfter(5_000) }), await protocol.channel()]
  await others[0]?.close()
  await publisher.publish('2', queue, {}, { timeout: 20_000 })
  await others[1]?.close()
  await outing.holds(queue, 2, 'messages of a publisher whose channel was given up')
  // Neither the channel of a call nor that of its server is given up while they are needed.
  const requests = await outing.queue()
  const server = outing.keep(
    await outing.protocol.rpcServer(requests, async () => {
      await outing.sleep(300)
      return 'answer'
    }),
  )
  const client = await protocol.rpcClient()
  const called = outing.meanwhile(client.call(requests, 'question', { timeout: 20_000 }))
  const taken = await protocol.channel({ signal: outing.signalAfter(5_000) })
  const third = outing.meanwhile(protocol.channel({ signal: outing.signalAfter(5_000) }))
  const late = outing.failure(client.call(requests, 'late', { timeout: 100 }), 'TimeoutError', 'a late answer')
  const asked = outing.meanwhile(protocol.queueDeclare(queue, { passive: true }))
  outing.equal((await called).text(), 'answer', 'the answer to a call while a channel is wanted')
  await late
  const isFreed = await Promise.race([asked.then(() => true), outing.sleep(2_000)])
  outing.expect(isFreed === true, 'the channel of an RPC client is kept though no call needs it')
  for (const each of [taken, await third.catch(() => taken)]) await each.close()
  await server.close()
  const last = await protocol.channel({ signal: outing.signalAfter(5_000) })
  const busy = await protocol.channel({ signal: outing.signalAfter(5_000) })
  const left = outing.failure(protocol.queueDeclare(queue), 'ConnectionClosedError', 'a call without a channel')
  await outing.sleep(5)
  await protocol.close()
  await left
  outing.expect(!last.isOpen && !busy.isOpen, 'a channel outlives its connection')
}

/** What waited for a channel when the connection was lost gets one on the next, though all were taken. */
export const channelsAfterLoss: Errand = async outing => {
  const { control, connect } = outing.startBroker(2)
  const own = await connect({ channelMax: 4, recovery: QUICK })
  const { protocol } = own
  // The recovery needs no channel of its own.
  const other = await connect()
  for (const queue of ['one', 'two']) await other.protocol.queueDeclare(queue)
  control.withholdConfirms()
  // Of two channels that are free at once, each goes to somebody.
  const taken = [await protocol.channel(), await protocol.channel()]
  const early = [await protocol.publisher(), await protocol.publisher()]
  const first = early.map(publisher => outing.meanwhile(publisher.publish('early', 'one', { messageId: 'early' })))
  await outing.sleep(5)
  for (const channel of taken) void channel.close()
  await outing.sleep(100)
  const arrived = control.evidence().arrived.length
  outing.equal(arrived, 2, 'messages of publishers that waited for channels')
  control.releaseConfirms()
  await Promise.all(first)
  for (const publisher of early) await publisher.close()
  control.withholdConfirms()
  // Both channels are busy, and neither comes back by itself.
  const publishers = [await protocol.publisher(), await protocol.publisher()]
  const sent = publishers.map(publisher => outing.meanwhile(publisher.publish('x', 'one')))
  const asked = ['one', 'two'].map(queue => outing.meanwhile(protocol.queueDeclare(queue, { passive: true })))
  await outing.sleep(20)
  own.cut()
  const names = Promise.all(asked).then(answers => answers.map(({ queue }) => queue))
  const answers = await Promise.race([names, outing.sleep(10_000)])
  outing.equal(answers, ['one', 'two'], 'the answers to calls that waited for a channel')
  control.releaseConfirms()
  await Promise.all(sent)
  for (const publisher of publishers) await publisher.close()
  // What the program has made is made again though its own channels need all numbers.
  const all = [await protocol.channel(), await protocol.channel()]
  await all[0]?.queueDeclare('three', { exclusive: true })
  own.cut()
  await outing.sleep(1)
  await protocol.ready({ timeout: 20_000 })
  for (const channel of all) await channel.queueDeclare('three', { passive: true, timeout: 5_000 })
}
