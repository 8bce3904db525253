import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** With two connections, what is asked by one waits for what the other one makes again, and has one time for both waits. */
export const behindTheOther: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK, connections: 'separate' })
  const { protocol } = own
  const locked = `${outing.name} locked`
  await protocol.queueDeclare(locked)
  const [channel, other] = [
    await protocol.channel({ connection: 'publisher' }),
    await protocol.channel({ connection: 'publisher', publisherConfirms: true }),
  ]
  own.refuse(true)
  own.cut()
  await outing.sleep(1)
  const began = outing.clock.now()
  const asked = outing.meanwhile(channel.queueDeclare(locked, { passive: true, timeout: 20_000 }))
  const sent = outing.meanwhile(other.publish('x', '', locked, {}, { mandatory: true, timeout: 20_000 }))
  const question = other.queueDeclare(locked, { passive: true, timeout: 400 })
  const hasty = outing.failure(question, 'TimeoutError', 'a question about what the other connection waits for')
  await outing.sleep(200)
  await outing.protocol.queueDelete(locked)
  // If a fault ends this before its end: the queue of the other connection would be in the way of this one for ever.
  outing.keep({ close: () => outing.protocol.queueDelete(locked) })
  await outing.protocol.queueDeclare(locked, { exclusive: true })
  own.refuse(false)
  await hasty
  outing.took(began, 400, 420, 'a question about what the other connection waits for')
  await outing.sleep(100)
  await outing.protocol.queueDelete(locked)
  for (const each of [asked, sent])
    await each.catch((error: unknown) => outing.expect(false, `what waits for the other connection: ${error}`))
}

/** One of two connections is back before the end of the other one is known: what goes to queues of that one waits for it. */
export const halfLost: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK, connections: 'separate' })
  const { protocol } = own
  await protocol.queueDeclare('exclusive', { exclusive: true })
  const seen: string[] = []
  await protocol.consumer('exclusive', message => void seen.push(message.text()))
  const publisher = await protocol.publisher({ mandatory: true })
  for (let round = 0; round < 3; round++) {
    own.freeze('toClient')
    control.closeConnections(320, 'CONNECTION_FORCED - broker forced connection closure')
    await outing.sleep(5)
    // That of the publishes.
    own.cut(1)
    const text = `${round}`
    const sent = publisher.publish(text, 'exclusive', {}, { timeout: 20_000 })
    const end = outing.meanwhile(sent.then(() => undefined))
    await outing.sleep(200)
    own.thaw('toClient')
    await end.catch((error: unknown) => outing.expect(false, `a publish to a queue of the other connection: ${error}`))
    await outing.until(() => seen.includes(text), 'a message of a queue of the other connection', 5_000)
    await protocol.ready({ timeout: 20_000 })
    await outing.sleep(1_500)
  }
}

/** Two connections end together, whichever of them is lost or closed first, and all that is under way on either learns of it. */
export const endsOfTwo: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  for (const first of [0, 1]) {
    const own = await connect({ connections: 'separate', recovery: false })
    const { protocol } = own
    await protocol.queueDeclare('other')
    await protocol.queueDeclare('queue')
    const consumer = await protocol.consumer('queue')
    await protocol.publish('x', '', 'queue')
    const { value } = await consumer.next()
    value?.ack()
    control.withholdConfirms()
    const sent = outing.meanwhile(protocol.publish('y', '', 'other'))
    const asked = outing.meanwhile(consumer.next())
    await outing.sleep(20)
    own.cut(first)
    const which = `the loss of connection ${first} of two`
    await outing.failure(protocol.waitClosed(), 'ConnectionLostError', which)
    outing.equal(protocol.state, 'closed', `the state after ${which}`)
    await outing.failure(sent, 'ConnectionLostError', `a publish at ${which}`)
    await outing.failure(asked, 'ConnectionLostError', `next() at ${which}`)
    await outing.failure(protocol.queueDeclare('queue'), 'ConnectionLostError', `a call after ${which}`)
    await outing.sleep(200)
    outing.equal(own.open, 0, `connections after ${which}`)
    control.releaseConfirms()
  }
  // The first one is lost while the close waits for a handler.
  const closing = await connect({ connections: 'separate' })
  await closing.protocol.publish('x', '', 'queue')
  let begun = 0
  await closing.protocol.consumer('queue', () => {
    begun++
    return outing.sleep(300)
  })
  await outing.until(() => begun > 0, 'a handler', 1_000)
  const ends: string[] = []
  closing.protocol.on('closed', error => ends.push(error === undefined ? 'in order' : error.name))
  const closed = outing.meanwhile(closing.protocol.close({ timeout: 5_000 }))
  await outing.sleep(50)
  closing.cut(0)
  await closed.catch(() => {})
  await outing.sleep(200)
  outing.equal(ends.length, 1, 'how often the end of two connections is said, of which one was lost during the close')
  const { protocol, freeze } = await connect({ connections: 'separate', recovery: QUICK })
  const said: string[] = []
  protocol.on('closed', error => said.push(error === undefined ? 'in order' : error.name))
  freeze()
  const began = outing.clock.now()
  await protocol.close({ timeout: 300 })
  outing.took(began, 300, 320, 'the close of two connections that are silent')
  await outing.sleep(200)
  outing.equal(said, ['in order'], 'how the close of two connections ended')
}
