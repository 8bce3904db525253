import { getEventListeners } from 'node:events'
import type { Message } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** A close gives back at once what next() handed out, though a loop still has a message in hand. */
export const closeInLoop: Errand = async outing => {
  const queue = await outing.queue()
  const consumer = outing.keep(await outing.protocol.consumer(queue, { prefetchCount: 10 }))
  await outing.publish(queue, '1')
  const { value: first } = await consumer.next({ timeout: 5_000 })
  outing.equal(first?.text(), '1', 'the first message')
  let isWorking = false
  const loop = async (): Promise<void> => {
    for await (const _message of consumer) {
      isWorking = true
      await outing.sleep(2_000)
      isWorking = false
    }
  }
  const looped = outing.meanwhile(loop())
  await outing.publish(queue, '2')
  await outing.until(() => isWorking, 'a loop with a message', 5_000)
  const closed = outing.meanwhile(consumer.close({ timeout: 4_000 }))
  await outing.sleep(500)
  outing.expect(isWorking, 'a close interrupts a loop')
  outing.equal(await outing.ready(queue), 1, 'messages that a close gives back while a loop works')
  await closed
  await looped
  await outing.holds(queue, 1, 'messages that are left')
  // One that settles its message itself has nothing in hand from then on.
  const { protocol } = await outing.connect()
  const other = await outing.queue()
  const acking = await protocol.consumer(other)
  const acks = async (): Promise<void> => {
    for await (const message of acking) {
      await outing.sleep(100)
      message.ack()
      await outing.sleep(3_000)
    }
  }
  const ended = acks().catch(() => {})
  await outing.publish(other, '1')
  await outing.sleep(50)
  const began = outing.clock.now()
  await protocol.close()
  outing.took(began, 40, 400, 'the close while a loop works whose message is settled')
  await ended
}

/** The broker cancels a consumer: what no handler had goes back, and the consumer is there again, with each event once. */
export const brokerCancels: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ rpcTimeout: 1_000, heartbeat: 0 })
  const { protocol } = own
  const queue = 'cancelled'
  await protocol.queueDeclare(queue)
  const events: string[] = []
  const seen: string[] = []
  const consumer = outing.keep(
    await protocol.consumer(
      queue,
      async message => {
        seen.push(message.text())
        await outing.sleep(100)
      },
      { concurrency: 1, prefetchCount: 5 },
    ),
  )
  consumer.on('cancelled', () => events.push('cancelled'))
  consumer.on('resumed', () => events.push('resumed'))
  const publish = async (...texts: string[]): Promise<void> => {
    for (const text of texts) await protocol.publish(text, '', queue, {}, { timeout: 20_000 })
  }
  await publish('1', '2', '3')
  control.cancelConsumers(queue)
  await outing.until(() => events.length >= 2, 'the events of a cancel', 5_000)
  await outing.sleep(1_000)
  outing.equal(events, ['cancelled', 'resumed'], 'the events of a cancel')
  outing.equal([...new Set(seen)].sort(), ['1', '2', '3'], 'the messages after a cancel')
  // The next consumer has no answer in time: another channel gets one, and the end of the first changes nothing.
  control.cancelConsumers(queue)
  await outing.until(() => events.length === 3, 'the next cancel', 1_000)
  own.freeze()
  await outing.sleep(1_300)
  own.thaw()
  for (let n = 4; n < 12; n++) {
    await publish(`${n}`)
    await outing.sleep(50)
  }
  await outing.until(() => seen.includes('11'), 'messages after a channel that was given up', 5_000)
  await outing.sleep(1_000)
  await publish('last')
  await outing.until(() => seen.includes('last'), 'a message after the end of a channel that was given up', 5_000)
  await outing.sleep(300)
  // One that is ended at once each time asks ever more rarely.
  const pauses: number[] = []
  for (let n = 0; n < 4; n++) {
    const { length } = events
    const began = outing.clock.now()
    control.cancelConsumers(queue)
    await outing.until(() => events.length === length + 2, 'the events of one more cancel', 10_000)
    pauses.push(outing.clock.now() - began)
  }
  outing.expect((pauses[0] ?? 0) < 1_000, `the first pause before a consumer is asked for again: ${pauses[0]}`)
  outing.expect((pauses[3] ?? 0) >= 1_000, `the last pause before a consumer is asked for again: ${pauses[3]}`)
  outing.equal(consumer.stats().state, 'consuming', 'the state of the consumer')
  outing.equal(consumer.stats().unacknowledged, 0, 'unacknowledged messages')
  outing.equal(control.evidence().unacked.get(queue), 0, 'messages that the broker has as unacked')
  outing.equal(control.evidence().consumers.get(queue)?.length, 1, 'consumers that the broker has')
}

/** A consumer whose connection ends in the moment in which it starts is over, and leaves nothing. */
export const stillborn: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  for (let pause = 0; pause < 5; pause++) {
    const own = await connect({ recovery: false })
    const { protocol } = own
    await protocol.queueDeclare('short')
    const controller = new AbortController()
    const { signal } = controller
    const consumed = protocol.consumer('short', { signal }).catch(() => undefined)
    await outing.sleep(pause)
    own.freeze()
    control.closeConnections(320, 'CONNECTION_FORCED')
    await outing.sleep(5)
    own.thaw()
    const consumer = await consumed
    const next = consumer?.next({ timeout: 1_000 }).catch((error: Error) => error.name)
    outing.expect(consumer === undefined || (await next) !== 'TimeoutError', 'a consumer outlives its connection')
    outing.equal(getEventListeners(signal, 'abort').length, 0, 'listeners that a consumer leaves at its signal')
  }
}

/** A consumer that was interrupted hands nothing out, and comes back, when its program has said what it wants. */
export const interruptions: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const queue = await outing.queue()
  const seen: string[] = []
  const events: string[] = []
  let answer: 'resume' | 'close' | 'throw' = 'resume'
  let isAsked = false
  const onCancel = async (): Promise<'resume' | 'close'> => {
    isAsked = true
    await outing.sleep(300)
    isAsked = false
    // One that throws has not said that it wants no more.
    if (answer === 'throw') throw new RangeError('no answer')
    return answer
  }
  const handler = (message: Message): void => {
    outing.expect(!isAsked, `${message.text()} was handed out while its program was asked`)
    seen.push(message.text())
  }
  const consumer = await protocol.consumer(queue, handler, { onCancel })
  for (const event of ['cancelled', 'resumed', 'closed'] as const) consumer.on(event, () => events.push(event))
  let once = 0
  consumer.once('cancelled', () => once++)
  for (let n = 0; n < 3; n++) {
    answer = n === 1 ? 'throw' : 'resume'
    own.cut()
    await protocol.ready({ timeout: 20_000 })
    await outing.publish(queue, `${n}`)
    await outing.sleep(100)
    await outing.until(() => seen.length === n + 1, 'a message after an interruption', 5_000)
  }
  outing.equal(seen, ['0', '1', '2'], 'messages after interruptions')
  outing.equal(events, ['cancelled', 'resumed', 'cancelled', 'resumed', 'cancelled', 'resumed'], 'the events')
  outing.equal(once, 1, 'calls of a listener for one event')
  answer = 'close'
  own.cut()
  await outing.until(() => events.includes('closed'), 'the end of a consumer whose program wants it no more', 5_000)
  await protocol.ready({ timeout: 20_000 })
  await outing.publish(queue, 'after it')
  await outing.sleep(200)
  outing.equal(seen.length, 3, 'messages of a consumer that has ended')
  await outing.holds(queue, 1, 'messages that are left')
  const { consumerCount } = await outing.protocol.queueDeclare(queue, { passive: true })
  outing.equal(consumerCount, 0, 'consumers that are left')
  // It is asked about a refusal, too: another connection has the queue.
  const passing = `${outing.name} passing`
  await outing.protocol.queueDeclare(passing)
  const asked: Error[] = []
  const refused = await protocol.consumer(passing, handler, {
    onCancel: error => {
      asked.push(error)
      return error.message.includes('405') ? 'close' : 'resume'
    },
  })
  let why: Error | undefined
  refused.once('closed', error => {
    why = error
  })
  await outing.protocol.queueDelete(passing)
  outing.keep({ close: () => outing.protocol.queueDelete(passing) })
  await outing.protocol.queueDeclare(passing, { exclusive: true })
  await outing.until(() => why !== undefined, 'the end of a consumer that is refused', 5_000)
  outing.expect(why?.message.includes('405') === true, `the error of its end is ${why?.message}`)
  outing.equal(asked.length, 2, 'times that its program was asked')
  // It is asked again after each time that it was granted.
  const often = `${outing.name} often`
  outing.keep({ close: () => outing.protocol.queueDelete(often) })
  await outing.protocol.queueDeclare(often)
  let refusals = 0
  const granted = await protocol.consumer(often, handler, {
    onCancel: error => {
      if (error.message.includes('405')) refusals++
    },
  })
  for (const round of [1, 2]) {
    await outing.protocol.queueDelete(often)
    await outing.protocol.queueDeclare(often, { exclusive: true })
    await outing.until(() => refusals === round, `refusal ${round} of which the program is asked`, 5_000)
    const resumed = new Promise<void>(resolve => granted.once('resumed', () => resolve()))
    await outing.protocol.queueDelete(often)
    await outing.protocol.queueDeclare(often)
    await Promise.race([resumed, outing.sleep(10_000)])
  }
}

/** A program that has taken many messages and settled some of them has the others in hand, and each learns of the end. */
export const manyInHand: Errand = async outing => {
  const queue = await outing.queue()
  const consumer = outing.keep(await outing.protocol.consumer(queue, { prefetchCount: 0 }))
  const texts = Array.from({ length: 150 }, (_, n) => `${n}`)
  await outing.publish(queue, ...texts)
  const held: Message[] = []
  for (const [n, text] of texts.entries()) {
    const { value } = await consumer.next({ timeout: 10_000 })
    if (value === undefined) continue
    outing.equal(value.text(), text, 'the next message')
    if (n % 3 === 2) value.ack()
    else held.push(value)
  }
  outing.equal(consumer.stats().unacknowledged, held.length, 'messages in hand')
  const signals = held.map(({ signal }) => signal)
  await consumer.close()
  const left = signals.filter(({ aborted }) => !aborted).length
  outing.equal(left, 0, 'messages in hand that did not learn of the end of their consumer')
  await outing.holds(queue, held.length, 'messages that go back')
}
