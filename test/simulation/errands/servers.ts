import { type Errand, LATE_SERVER, NO_SERVER } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

const SERVERS = ['one', 'two', 'three'].map(name => `amqp://${name}`)

/** Of several servers one is enough: the next one is tried when one is gone or says nothing, or all at once. */
export const servers: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({ servers: SERVERS, connectTimeout: 3_000, recovery: QUICK })
  own.silence('two')
  own.refuse(true, 'three')
  const began = outing.clock.now()
  own.cut()
  await outing.sleep(1)
  await own.protocol.ready({ timeout: 20_000 })
  outing.took(began, 500, 2_500, 'a recovery beside a server that says nothing')
  await own.protocol.publish('1', '', queue, {}, { timeout: 20_000 })
  const raced = await outing.connect({
    servers: [...SERVERS, `amqp://${LATE_SERVER}`],
    serverOrder: 'race',
    recovery: QUICK,
  })
  for (let round = 0; round < 3; round++) {
    await outing.sleep(1_200)
    outing.equal(raced.open, 1, 'connections after a race')
    await lose(outing, raced)
  }
  await raced.protocol.publish('2', '', queue, {}, { timeout: 20_000 })
  // A recovery begins with the server after the one that was lost.
  const inTurn = await outing.connect({ servers: SERVERS, recovery: { ...QUICK, maxDelay: 50 } })
  const used = [inTurn.protocol.stats().serverAddress]
  for (let round = 0; round < 3; round++) {
    await lose(outing, inTurn)
    used.push(inTurn.protocol.stats().serverAddress)
  }
  outing.equal(used, ['one', 'two', 'three', 'one'], 'the servers of a connection that is lost')
  outing.equal(await outing.takeAll(queue), ['1', '2'], 'what was published')
}

/** The first connection: what cannot succeed is given up at once, and what may is tried until it is closed. */
export const firstConnections: Errand = async outing => {
  let attempts = 0
  const password = () => {
    attempts++
    return 'not the password'
  }
  const refused = await outing.connect({ password }, true)
  const ended = outing.failure(refused.protocol.waitClosed(), 'AuthenticationError', 'a login that is refused')
  await Promise.race([ended, outing.sleep(5_000)])
  outing.equal(attempts, 1, 'attempts with a login that is refused')
  const away = await outing.connect({ servers: [`amqp://${NO_SERVER}`] }, true)
  const { protocol } = away
  const events: string[] = []
  protocol.on('connecting', () => events.push('connecting'))
  protocol.on('closed', () => events.push('closed'))
  const waits = [
    outing.failure(protocol.ready(), 'ConnectionClosedError', 'ready()'),
    outing.failure(protocol.queueDeclare('never'), 'ConnectionClosedError', 'a call'),
    outing.failure(protocol.publish('never', '', 'never'), 'ConnectionClosedError', 'a publish'),
    outing.failure(protocol.consumer('never'), 'ConnectionClosedError', 'a consumer'),
  ]
  await outing.sleep(2_000)
  outing.expect(events.length > 2, `${events.length} attempts in two seconds`)
  await protocol.close()
  const isEnded = await Promise.race([Promise.all(waits), outing.sleep(1_000)])
  outing.expect(isEnded !== undefined, 'what waits for a first connection does not learn of the close')
  const { length } = events
  await outing.sleep(5_000)
  outing.equal(events.length, length, 'events after the close')
  // One that ends with the bytes by which it opens, which are read together or one after the other, is recovered like any other.
  const { control, connect } = outing.startBroker()
  for (let n = 0; n < 6; n++) {
    control.closeNext(true)
    const own = await connect({ recovery: QUICK, firstAttempts: 2 })
    await outing.sleep(10)
    const asked = own.protocol.queueDeclare('first', { timeout: 5_000 })
    await asked.catch(error => outing.expect(false, `a first connection that ended at once: ${error}`))
    await own.protocol.close()
  }
}

/** A socket that is there after its attempt has been given up is closed at once, and says nothing to the server. */
export const givenUpAttempts: Errand = async outing => {
  for (const end of ['close', 'signal', 'timeout'] as const) {
    const options = {
      servers: [`amqp://${LATE_SERVER}`],
      recovery: { ...QUICK, maxAttempts: 1 },
      ...(end === 'signal' && { signal: outing.signalAfter(20) }),
      ...(end === 'timeout' && { connectTimeout: 20 }),
    }
    const own = await outing.connect(options, true)
    const closed = own.protocol.waitClosed().catch(() => {})
    await outing.sleep(20)
    if (end === 'close') await own.protocol.close()
    if (end !== 'timeout') await closed
    // It comes late each time.
    for (let n = 0; n < 20; n++) {
      await outing.sleep(10)
      outing.expect(own.open === 0 || n < 19, `a connection whose attempt was given up is open: ${end}`)
      outing.expect(own.protocol.state !== 'open', `an attempt that was given up leads to a connection: ${end}`)
    }
    await own.protocol.close()
    await outing.sleep(200)
    outing.equal(own.open, 0, `connections after the close: ${end}`)
  }
}

/** A stream that ends in the middle of a login leaves nothing, and the next attempt follows. */
export const brokenLogins: Errand = async outing => {
  for (let n = 0; n < 16; n++) {
    const own = await outing.connect({ recovery: QUICK }, true)
    // Within the network, what the broker has said and the end of its stream may come at once.
    for (let turn = 0; turn < n && own.open === 0; turn++) await outing.sleep(1)
    await outing.sleep(n % 8)
    own.halfClose()
    await own.protocol.ready({ timeout: 20_000 })
    await own.protocol.close()
  }
  // Then no timer of theirs may run.
  await outing.sleep(16_000)
}

/** With two connections, publishes have one of their own: both end together. */
export const twoConnections: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect({
    connections: 'separate',
    // One that is lost again and again waits longer each time.
    recovery: { ...QUICK, maxDelay: 50 },
  })
  const { protocol } = own
  outing.equal(own.open, 2, 'connections')
  const lost: string[] = []
  protocol.on('disconnected', (_error, connection) => lost.push(connection))
  for (const which of [0, 1]) {
    own.cut(which)
    await outing.sleep(1)
    await protocol.ready({ timeout: 20_000 })
    await protocol.publish(`${which}`, '', queue, {}, { timeout: 20_000 })
    outing.equal(own.open, 2, 'connections after a loss')
  }
  outing.equal(lost.length, 2, 'losses')
  // What is published waits for the queue that only the other connection can make, also if that is lost again meanwhile.
  const exclusive = `${outing.name} exclusive`
  await protocol.queueDeclare(exclusive, { exclusive: true })
  for (let pause = 1; pause <= 6; pause++) {
    own.cut(0)
    await outing.sleep(pause)
    // The one that has just come. It learns of the loss a moment later.
    own.cut(1)
    const sent: Promise<unknown>[] = []
    for (let n = 0; n < 8; n++) {
      await outing.sleep(1)
      sent.push(outing.meanwhile(protocol.publish('x', '', exclusive, {}, { timeout: 20_000 })))
    }
    await protocol.ready({ timeout: 20_000 })
    const ends = await Promise.allSettled(sent)
    const failed = ends.filter(({ status }) => status === 'rejected').length
    outing.equal(failed, 0, 'publishes that did not wait for their queue')
    // That for the topology is the first one again.
    own.cut()
    await outing.sleep(1)
    await protocol.ready({ timeout: 20_000 })
  }
  // What was back when it is lost once more, before all was, is away again.
  const taken = await outing.queue()
  await (await protocol.channel()).basicConsume(() => {}, taken)
  own.refuse(true)
  own.cut(0)
  await outing.sleep(10)
  const other = await outing.channel()
  const { consumerTag } = await other.basicConsume(() => {}, taken, { exclusive: true })
  own.refuse(false)
  await outing.sleep(200)
  outing.equal(protocol.state, 'recovering', 'the state while a consumer is waited for')
  own.refuse(true)
  own.cut(1)
  await outing.sleep(5)
  const early = outing.meanwhile(protocol.publish('x', '', exclusive, {}, { timeout: 20_000 }))
  await outing.sleep(50)
  own.refuse(false)
  await other.basicCancel(consumerTag)
  await early.catch(error => outing.expect(false, `a publish whose queue was back, and is away again: ${error}`))
  await protocol.ready({ timeout: 20_000 })
  const last = await outing.connect({ connections: 'separate', recovery: { ...QUICK, maxAttempts: 1 } })
  const closed = outing.failure(last.protocol.waitClosed(), 'ConnectionLostError', 'waitClosed()')
  last.refuse(true)
  // The other one is as good as ever.
  last.cut(1)
  const isEnded = await Promise.race([closed.then(() => true), outing.sleep(30_000)])
  outing.expect(isEnded === true, 'one of two connections is given up, and the other one goes on')
  outing.equal(last.protocol.state, 'closed', 'the state')
}
