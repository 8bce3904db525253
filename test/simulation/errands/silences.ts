import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** A read of a socket, and the message that it may have completed. */
const ONE_READ = 65_536 + 60_000

/** The broker is silent for a while: timeouts and signals end what waits, and what was not known is put right after it. */
export const silences: Errand = async outing => {
  const { clock } = outing
  const queue = await outing.queue()
  const own = await outing.connect()
  const { protocol } = own
  const channel = await protocol.channel()
  const other = await protocol.channel()
  const publisher = await protocol.publisher()
  await publisher.publish('0', queue)
  const client = await protocol.rpcClient()
  own.freeze()
  const began = clock.now()
  const declared = outing.failure(
    channel.queueDeclare(queue, { passive: true, timeout: 300 }),
    'TimeoutError',
    'a declare without an answer',
  )
  const behind = outing.failure(channel.basicGet(queue), 'ChannelClosedError', 'a call behind one that timed out')
  const consumed = outing.failure(
    other.basicConsume(() => outing.expect(false, 'a consumer that was given up got a message'), queue, {
      signal: outing.signalAfter(100),
    }),
    'AbortError',
    'a consumer without an answer',
  )
  const called = outing.failure(client.call(queue, 'question', { timeout: 250 }), 'TimeoutError', 'an RPC call')
  const first = publisher.publish('1', queue, {}, { timeout: 200 })
  const second = outing.meanwhile(publisher.publish('2', queue))
  outing.equal(
    (await outing.failure(first, 'TimeoutError', 'a publish')).outcome,
    'unknown',
    'the outcome of a publish',
  )
  outing.took(began, 200, 220, 'a publish with a timeout')
  await consumed
  outing.took(began, 200, 220, 'a consumer with a signal')
  outing.equal((await called).outcome, 'unknown', 'the outcome of an RPC call')
  outing.took(began, 250, 270, 'an RPC call with a timeout')
  await declared
  outing.took(began, 300, 320, 'a call with a timeout')
  await behind
  outing.expect(!channel.isOpen, 'a channel is open though a call of it timed out')
  own.thaw()
  await second
  outing.equal((await other.queueDeclare(queue, { passive: true })).queue, queue, 'the answer of the other channel')
  await outing.sleep(50)
  const { consumerCount } = await other.queueDeclare(queue, { passive: true })
  outing.equal(consumerCount, 0, 'consumers that were given up')
  const texts = await outing.takeAll(queue)
  outing.equal(
    texts.filter(text => text !== 'question'),
    ['0', '1', '2'],
    'the messages',
  )
}

/** What waits for room in the socket goes on when there is some, or learns of the end. */
export const crowds: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({ recovery: false })
  const channel = await own.protocol.channel()
  const body = Buffer.alloc(70_000)
  const publish = (count: number): Promise<unknown>[] =>
    Array.from({ length: count }, () => channel.basicPublish(body, '', queue))
  own.freeze()
  const first = outing.meanwhile(Promise.all(publish(4)))
  await outing.sleep(10)
  own.thaw()
  await first
  await outing.holds(queue, 4, 'large messages')
  await channel.queuePurge(queue)
  own.freeze()
  const last = publish(4).map(sent => sent.then(() => 'sent').catch((error: Error) => error.name))
  await outing.sleep(10)
  own.cut()
  const ended = await Promise.race([Promise.all(last), outing.sleep(2_000).then(() => ['never'])])
  outing.expect(
    ended.every(end => end === 'sent' || end === 'ConnectionLostError'),
    `publishes without room ended so: ${ended}`,
  )
}

/** A publisher that waits for a confirm is not idle, however long that takes. */
export const slowConfirms: Errand = async outing => {
  const queue = await outing.queue()
  // Without heartbeats, nothing but their timeouts ends publishes into a network that swallows them.
  const own = await outing.connect({ heartbeat: 0 })
  let losses = 0
  own.protocol.on('disconnected', () => losses++)
  await own.protocol.publish('1', '', queue, {}, { timeout: 10_000 })
  own.freeze()
  const sent = outing.meanwhile(own.protocol.publish('2', '', queue, {}, { timeout: 150_000 }))
  await outing.sleep(130_000)
  own.thaw()
  await sent
  outing.equal(await outing.takeAll(queue), ['1', '2'], 'the messages')
  outing.equal(losses, 0, 'losses without heartbeats')
}

/** A peer that says nothing for two heartbeats is given up, and all goes on with the next connection. */
export const deadPeer: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({ recovery: { initialDelay: 1 } })
  const { protocol } = own
  const reasons: string[] = []
  protocol.on('disconnected', error => reasons.push(error.message))
  const lost = new Promise<void>(resolve => protocol.once('disconnected', () => resolve()))
  const channel = await protocol.channel()
  own.freeze()
  const began = outing.clock.now()
  const asked = outing.failure(channel.queueDeclare(queue, { passive: true }), 'ConnectionLostError', 'a call')
  const sent = outing.meanwhile(protocol.publish('x', '', queue))
  await Promise.race([lost, outing.sleep(60_000)])
  outing.took(began, 9_000, 25_000, 'the discovery of a dead peer')
  await asked
  await sent
  outing.equal(reasons.length, 1, 'losses')
  outing.expect((await outing.takeAll(queue)).includes('x'), 'what was published to a dead peer is lost')
  own.thaw()
}

/** Of several calls that are under way when the broker falls silent, each ends: what was answered, and what was not. */
export const silentAnswers: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({ rpcTimeout: 1_000 })
  const { clock } = outing
  for (let round = 0; round < 8; round++) {
    const channel = await own.protocol.channel()
    const began = clock.now()
    const count = 2 + (round % 3)
    let ended = 0
    const end = (): void => void ended++
    const calls: Promise<void>[] = []
    for (let n = 0; n < count; n++) {
      const call = n % 2 === 0 ? channel.queueDeclare(queue, { passive: true }) : channel.basicGet(queue)
      calls.push(call.then(end, end))
      await outing.sleep(1)
    }
    own.freeze()
    await Promise.race([Promise.all(calls), outing.sleep(5_000)])
    outing.equal(ended, count, 'calls that ended though their broker was silent')
    outing.took(began, 0, 1_100, 'calls of a silent broker')
    own.thaw()
    await channel.close()
  }
}

/** What a program keeps is bounded while its hands are full: by less if it waits for nothing, and block and unblock leave it so. */
export const boundedHands: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const [own, other] = [await connect({ maxBuffered: 1_000, heartbeat: 0 }), await connect()]
  const { protocol } = own
  for (const queue of ['large', 'small']) await protocol.queueDeclare(queue)
  // Only who publishes learns of a block.
  control.block('low on memory')
  const sent = outing.meanwhile(protocol.publish('', '', 'small'))
  await outing.sleep(5)
  outing.equal(protocol.blocked, 'low on memory', 'why the broker blocks')
  control.unblock()
  await sent
  await protocol.consumer('large', { prefetchCount: 0 })
  const publish = (): Promise<unknown> =>
    Promise.all([1, 2, 3, 4].map(() => other.protocol.publish(Buffer.alloc(60_000), '', 'large')))
  const kept = (): number => protocol.stats().receivedBytesWaiting
  await publish()
  await outing.sleep(2_000)
  outing.expect(kept() <= ONE_READ + 1_000, `${kept()} bytes wait for a program that waits for nothing`)
  const asked = outing.meanwhile(protocol.queueDeclare('large', { passive: true }))
  await outing.sleep(5)
  outing.expect(kept() <= ONE_READ + 4_000, `${kept()} bytes wait for a program whose hands are full`)
  await asked
}

/** A program that has its hands full still gets the answers that it waits for, one after the other. */
export const fullHands: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({ maxBuffered: 1_000, heartbeat: 0 })
  const { protocol } = own
  const consumer = await protocol.consumer(queue, { prefetchCount: 0 })
  // More than it may keep: from then on it reads little.
  for (let n = 0; n < 12; n++) await outing.protocol.publish(Buffer.alloc(2_000, n), '', queue)
  await outing.sleep(100)
  const channel = await protocol.channel({ signal: outing.signalAfter(60_000) })
  for (let n = 0; n < 5; n++) {
    const began = outing.clock.now()
    // More messages come before the answer, each by itself.
    own.freeze()
    const asked = outing.meanwhile(channel.queueDeclare(queue, { passive: true, timeout: 60_000 }))
    for (let m = 0; m < 3; m++) await outing.protocol.publish(Buffer.alloc(2_000, 12 + 3 * n + m), '', queue)
    await outing.sleep(100)
    own.thaw()
    await asked
    outing.took(began, 0, 30_000, 'a call of a program that has its hands full')
  }
  for (let n = 0; n < 27; n++) {
    const { value } = await consumer.next({ timeout: 30_000 })
    outing.equal(value?.body[0], n, 'what waited')
    value?.ack()
  }
}

/** What is begun during an outage has no more time than it says: what it waited for counts, also if the next broker is silent. */
export const timeouts: Errand = async outing => {
  const queue = await outing.queue()
  // That of a publish comes before that of its connection.
  const own = await outing.connect({ recovery: QUICK, ...(outing.number % 2 === 0 && { publishTimeout: 600_000 }) })
  const { protocol } = own
  const { clock } = outing
  const publisher = await protocol.publisher()
  const client = await protocol.rpcClient()
  const consumer = await protocol.consumer(queue)
  const timeout = 2_000
  for (let round = 0; round < 4; round++) {
    const channel = await protocol.channel({ publisherConfirms: true })
    own.refuse(true)
    own.cut()
    await outing.sleep(10)
    const began = clock.now()
    const late: string[] = []
    const begun = {
      call: channel.queueDeclare(queue, { passive: true, timeout }),
      get: channel.basicGet(queue, { timeout }),
      publish: channel.publish('1', '', queue, {}, { timeout }),
      'publish by a publisher': publisher.publish('2', queue, {}, { timeout }),
      'publish of a protocol': protocol.publish('3', '', queue, {}, { timeout }),
      'RPC call': client.call(queue, 'question', { timeout }),
      'call of a protocol': protocol.queueDeclare(queue, { passive: true, timeout }),
      'next()': consumer.next({ timeout }),
    }
    const ends = Object.entries(begun).map(([what, promise]) => {
      const end = (): void => {
        const took = clock.now() - began
        if (took > timeout + 10) late.push(`${what} after ${took} ms`)
      }
      return promise.then(end, end)
    })
    await outing.sleep(300)
    own.refuse(false)
    await Promise.race([own.linked(), outing.sleep(began + timeout - clock.now())])
    while (protocol.stats().openChannels === 0 && clock.now() < began + timeout) await outing.sleep(1)
    // Some are on their way by then, some are answered, and some wait.
    await outing.sleep(round)
    own.freeze()
    await Promise.race([Promise.all(ends), outing.sleep(10_000)])
    own.thaw()
    await Promise.race([Promise.all(ends), outing.sleep(10_000)])
    outing.equal(late, [], 'what had more time than it said')
    await protocol.ready({ timeout: 20_000 })
    await channel.close()
  }
}

/** Calls that are given up between others leave these as they are: all end with their connection, in whatever order some left. */
export const callsBetween: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({ recovery: QUICK })
  for (const leaving of [
    [1, 2],
    [2, 1],
    [0, 3, 2],
    [4, 3, 1],
  ]) {
    const channel = await own.protocol.channel()
    own.freeze()
    const ends: string[] = []
    const controllers = Array.from({ length: 5 }, () => new AbortController())
    const calls = controllers.map(({ signal }, n) =>
      channel.queueDeclare(queue, { passive: true, signal }).catch((error: Error) => ends.push(`${n} ${error.name}`)),
    )
    await outing.sleep(1)
    for (const n of leaving) controllers[n]?.abort()
    await outing.sleep(1)
    own.cut()
    await Promise.race([Promise.all(calls), outing.sleep(5_000)])
    const should = controllers.map((_, n) => `${n} ${leaving.includes(n) ? 'AbortError' : 'ConnectionLostError'}`)
    outing.equal(ends.sort(), should, 'the ends of calls, some of which were given up')
    await own.protocol.ready({ timeout: 20_000 })
    await channel.close()
  }
}
