import { RemoteError } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

/** A close whose broker says nothing ends within its time, whatever it waits for, and says of each message what is known. */
export const silentCloses: Errand = async outing => {
  const { clock } = outing
  const queue = await outing.queue()
  const own = await outing.connect({ heartbeat: 0 })
  const { protocol } = own
  const away = await outing.connect()
  const publishers = [await away.protocol.publisher(), await protocol.publisher()]
  // Without heartbeats nothing else ends a wait for bytes that the network lost.
  for (const publisher of publishers) await publisher.publish('0', queue, {}, { timeout: 10_000 })
  const [first, second] = publishers
  const channel = await protocol.channel()
  const other = await protocol.channel({ publisherConfirms: true })
  own.freeze()
  away.refuse(true)
  away.cut()
  await outing.sleep(5)
  let began = clock.now()
  // What is waited for is given up meanwhile.
  const givenUp = outing.failure(
    first?.publish('1', queue, {}, { timeout: 200 }) ?? other.close(),
    'TimeoutError',
    'a publish',
  )
  await first?.close()
  outing.took(began, 200, 260, 'the close of a publisher whose last message is given up')
  await givenUp
  await away.protocol.close()
  began = clock.now()
  const left = outing.failure(second?.publish('2', queue) ?? other.close(), 'ChannelClosedError', 'a publish')
  await second?.close({ timeout: 300 })
  outing.took(began, 300, 360, 'the close of a publisher without confirms')
  const { outcome } = (await Promise.race([left, outing.sleep(100)])) ?? {}
  outing.equal(outcome, 'unknown', 'the outcome of a publish whose publisher was closed')
  began = clock.now()
  const closed = outing.meanwhile(protocol.waitClosed())
  const closing = protocol.close({ timeout: 500 })
  const secondClose = outing.meanwhile(channel.close())
  await outing.sleep(450)
  // The close is written by now: nothing can be published after it.
  const late = await Promise.race([
    outing.failure(other.publish('3', '', queue), 'ConnectionClosedError', 'a publish'),
    closing,
  ])
  await closing
  outing.took(began, 100, 560, 'the close of a connection whose broker is silent')
  outing.equal(late?.outcome ?? 'notSent', 'notSent', 'the outcome of a publish after a close')
  const isOver = await Promise.race([Promise.all([closed, secondClose]).then(() => true), outing.sleep(1_000)])
  outing.expect(isOver === true, 'waitClosed() does not end with the close')
  own.thaw()
  await outing.sleep(50)
  outing.expect(!(await outing.takeAll(queue)).includes('3'), 'a publish after a close arrived')
}

/** What handlers do while a connection is closed still works: they ask, publish and declare, and their messages are acked. */
export const busyCloses: Errand = async outing => {
  const [queue, requests, results] = [await outing.queue(), await outing.queue(), await outing.queue()]
  outing.keep(await outing.protocol.rpcServer(requests, request => `answer to ${request.text()}`))
  const { protocol } = await outing.connect()
  const client = await protocol.rpcClient()
  let working = 0
  const work = async (text: string): Promise<void> => {
    working++
    await outing.sleep(150)
    const answer = await client.call(requests, text, { timeout: 2_000 })
    await protocol.queueDeclare(results, { passive: true })
    await protocol.publish(answer.text(), '', results)
  }
  const failures: unknown[] = []
  await protocol.consumer(queue, message => work(message.text()), {
    onFailure: (_, error) => void failures.push(error),
  })
  const other = await outing.queue()
  const channel = await protocol.channel()
  await channel.basicConsume(async (on, body, { deliveryTag }) => {
    await work(body.toString()).catch(error => failures.push(error))
    await on.basicClientAck(deliveryTag)
  }, other)
  await outing.publish(queue, '1')
  await outing.publish(other, '2')
  await outing.until(() => working === 2, 'two that work', 5_000)
  await protocol.close()
  outing.equal(failures.map(String), [], 'what failed during a close')
  outing.equal((await outing.takeAll(results)).sort(), ['answer to 1', 'answer to 2'], 'what was done during a close')
  for (const each of [queue, other]) await outing.holds(each, 0, 'messages that are left')
}

/** What was given up before it began does not come back with the next connection. */
export const givenUpOpenings: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const { openChannels } = protocol.stats()
  own.freeze()
  const signal = () => ({ signal: outing.signalAfter(5) })
  await Promise.all([
    outing.failure(protocol.channel(signal()), 'AbortError', 'a channel'),
    outing.failure(protocol.channel({ publisherConfirms: true, ...signal() }), 'AbortError', 'a channel with confirms'),
    outing.failure(protocol.consumer(queue, signal()), 'AbortError', 'a consumer'),
    outing.failure(protocol.queueDeclare(queue, { passive: true, ...signal() }), 'AbortError', 'a call'),
  ])
  if (outing.number % 2 === 0) await lose(outing, own)
  own.thaw()
  await protocol.ready({ timeout: 20_000 })
  await outing.sleep(100)
  outing.equal(protocol.stats().openChannels, openChannels, 'channels of what was given up')
  await lose(outing, own)
  outing.equal(protocol.stats().openChannels, openChannels, 'channels of what was given up, after a loss')
}

/** A close without an answer ends after the time for any call, whatever the call before it may take. */
export const closeBehindCall: Errand = async outing => {
  const { connect } = outing.startBroker()
  const own = await connect({ rpcTimeout: 1_000, heartbeat: 0 })
  const channels = [await own.protocol.channel(), await own.protocol.channel()]
  own.freeze()
  const asked = channels.map((channel, n) =>
    outing.failure(
      channel.queueDeclare('silent', { timeout: n === 0 ? 3_600_000 : 500 }),
      'TimeoutError',
      'a call without an answer before a close',
    ),
  )
  for (const channel of channels) {
    const began = outing.clock.now()
    await Promise.race([channel.close(), outing.sleep(60_000)])
    outing.took(began, 500, 1_100, 'a close without an answer behind a call')
  }
  await Promise.race([
    Promise.all(asked),
    outing.sleep(5_000).then(() => outing.expect(false, 'a call before a close')),
  ])
  own.thaw()
}

/** A request that no reply can answer is not kept for ever, and a caller learns that its reply could not be sent. */
export const unanswerable: Errand = async outing => {
  const { control, release, connect } = outing.startBroker()
  const { protocol } = await connect({ maxMessageSize: 20_000 })
  for (const queue of ['dead', 'requests'])
    await protocol.queueDeclare(queue, {
      ...(queue === 'requests' && { arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' } }),
    })
  let handled = 0
  const server = outing.keep(
    await protocol.rpcServer('requests', request => {
      handled++
      switch (request.text()) {
        case 'throw':
          throw new RangeError('no use for it')
        case 'nack':
          control.nackNext(1)
          return 'nacked'
        default:
          return 'x'.repeat(Number(request.text()))
      }
    }),
  )
  const client = outing.keep(await protocol.rpcClient({ timeout: 5_000 }))
  const nacked = await client.call('requests', 'nack').catch((error: unknown) => error)
  // Before 4 a reply is in no queue, which could refuse it.
  const isNacked = release !== '3.10'
  outing.equal(nacked instanceof RemoteError, isNacked, 'whether a reply that the broker nacks is an error')
  await outing.failure(client.call('requests', '20001'), 'ProtocolError', 'a reply that is too large')
  outing.equal((await client.call('requests', '20000')).body.length, 20_000, 'the size of a large reply')
  handled = 0
  await protocol.publish('throw', '', 'requests')
  await outing.until(
    () => control.evidence().queued.get('dead')?.length === 1,
    'a request that nobody waits for',
    2_000,
  )
  outing.equal(handled, 1, 'times that it was handled')
  await server.close()
}

/** From the beginning of a close on, messages go to other programs, though work in hand goes on; and that is acked. */
export const closeStops: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const other = (await connect()).protocol
  for (const way of ['handler', 'batch handler', 'loop', 'callback'] as const) {
    const { protocol } = await connect({ connections: outing.number % 2 === 0 ? 'shared' : 'separate' })
    await protocol.queueDeclare(way)
    const seen: string[] = []
    const work = async (text: string): Promise<void> => {
      seen.push(text)
      await outing.sleep(500)
    }
    if (way === 'handler') await protocol.consumer(way, message => work(message.text()))
    if (way === 'batch handler') {
      const batch = { size: 1, wait: 0 }
      await protocol.consumer(way, ([message]) => work(message?.text() ?? 'none'), { batch })
    }
    if (way === 'loop') {
      const consumer = await protocol.consumer(way)
      const loop = async (): Promise<void> => {
        for await (const message of consumer) await work(message.text())
      }
      outing.meanwhile(loop())
    }
    if (way === 'callback') {
      const channel = await protocol.channel()
      await channel.basicConsume(async (on, body, { deliveryTag }) => {
        await work(body.toString())
        on.basicClientAck(deliveryTag)
      }, way)
    }
    await other.publish('before', '', way)
    await outing.sleep(50)
    const began = outing.clock.now()
    const closed = protocol.close({ timeout: 5_000 })
    await outing.sleep(100)
    outing.equal(control.evidence().consumers.get(way)?.length ?? 0, 0, `consumers of a ${way} during a close`)
    await other.publish('after', '', way)
    await closed
    outing.took(began, 400, 900, `a close that waits for a ${way}`)
    outing.equal(seen, ['before'], `what a ${way} has`)
    await outing.sleep(50)
    outing.equal((await other.queueDeclare(way, { passive: true })).messageCount, 1, `messages that a ${way} leaves`)
  }
}
