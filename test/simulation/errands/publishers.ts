import type { BasicProperties } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { textsOf } from './fates.ts'
import { lose } from './recoveries.ts'

/** Channels that publishes by `protocol.publish` take at most. */
const MOST_PUBLISHERS = 16

/** What a publisher promises of each message: its mode, its end, its place. */
export const publishers: Errand = async outing => {
  const queue = await outing.queue()
  const publisher = outing.keep(await outing.protocol.publisher({ persistent: false, maxInFlight: 2 }))
  const all = Array.from({ length: 7 }, (_, n) => outing.meanwhile(publisher.publish(`${n}`, queue)))
  const { unconfirmed, waiting } = publisher.stats()
  outing.expect(unconfirmed <= 2 && unconfirmed + waiting === 7, `${unconfirmed} are in flight, and ${waiting} wait`)
  const gone = publisher.publish('gone', queue, {}, { signal: outing.signalAfter(0) })
  const late = outing.meanwhile(publisher.publish('late', queue))
  await gone.catch(() => {})
  await Promise.all([...all, late])
  const returned = await outing.failure(publisher.publish('x', `${queue} none`), 'MessageReturnedError', 'to no queue')
  outing.equal(returned.outcome, 'refused', 'the outcome of what comes back')
  await publisher.publish('nowhere', `${queue} none`, {}, { mandatory: false })
  const aborted = new AbortController()
  aborted.abort()
  const notSent = publisher.publish('x', queue, {}, { signal: aborted.signal })
  outing.equal((await outing.failure(notSent, 'AbortError', 'aborted before')).outcome, 'notSent', 'its outcome')
  const first = await outing.take(queue)
  outing.expect(first?.properties.deliveryMode !== 2, 'what is not to be persistent is')
  const texts = await outing.takeAll(queue)
  outing.equal(
    texts.filter(text => text !== 'gone'),
    ['1', '2', '3', '4', '5', '6', 'late'],
    'the messages',
  )
  const last = outing.meanwhile(publisher.publish('last', queue))
  const began = outing.clock.now()
  await publisher.close()
  outing.took(began, 0, 1_000, 'the close of a publisher')
  await last
  const after = await outing.failure(publisher.publish('x', queue), 'ChannelClosedError', 'after the close')
  outing.equal(after.outcome, 'notSent', 'the outcome of a publish after the close')
  outing.equal(await outing.takeAll(queue), ['last'], 'what was published before the close')
}

/** `protocol.publish` to more exchanges than it keeps channels for: all at once, and one after the other, before and after a loss. */
export const manyExchanges: Errand = async outing => {
  const own = await outing.connect({ recovery: { initialDelay: 1, jitter: 0 } })
  const { protocol } = own
  const queue = await outing.queue()
  const exchanges: string[] = []
  const count = outing.number % 2 === 0 ? 3 : 19
  for (let n = 0; n < count; n++) exchanges.push(await outing.exchange('fanout'))
  await Promise.all(exchanges.map(exchange => outing.protocol.queueBind(queue, exchange)))
  const numbers = exchanges.map(() => 0)
  const publish = (n: number): Promise<void> => {
    const text = `${n} ${numbers[n]}`
    numbers[n] = (numbers[n] ?? 0) + 1
    return outing.meanwhile(protocol.publish(text, exchanges[n] ?? '', '', {}, { timeout: 20_000 }))
  }
  for (let round = 0; round < 4; round++) {
    // In turns: some wait for their confirms when others have no channel.
    const sent = exchanges.flatMap((_, n) => [publish(n), publish((7 * n) % count)])
    if (round % 2 === 1) {
      await outing.sleep(round === 1 ? 0 : 1)
      own.cut()
      await outing.sleep(1)
      sent.push(...exchanges.map((_, n) => publish(count - 1 - n)))
    }
    await Promise.all(sent)
    for (let n = 0; n < count; n += 2) await publish(n)
  }
  const { publishers, openChannels } = protocol.stats()
  outing.expect(publishers.length <= MOST_PUBLISHERS, `${publishers.length} publishers for ${count} exchanges`)
  outing.expect(openChannels <= MOST_PUBLISHERS, `${openChannels} channels are open for ${count} exchanges`)
  const texts = [...new Set(await outing.takeAll(queue))]
  for (const [n, sent] of numbers.entries()) {
    const own = texts.filter(text => text.startsWith(`${n} `))
    const should = Array.from({ length: sent }, (_, m) => `${n} ${m}`)
    outing.equal(own, should, `the messages by exchange ${n}`)
  }
}

/**
 * If more exchanges are busy than there are channels, messages of one exchange keep their order, also if one of them is nacked,
 * and a channel is free again when the next is published.
 */
export const busyExchanges: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: { initialDelay: 1, jitter: 0 } })
  const { protocol } = own
  await protocol.queueDeclare('all')
  const exchanges = Array.from({ length: MOST_PUBLISHERS + 2 }, (_, n) => `exchange ${n}`)
  for (const exchange of exchanges) {
    await protocol.exchangeDeclare(exchange, 'fanout')
    await protocol.queueBind('all', exchange)
  }
  const numbers = exchanges.map(() => 0)
  const publish = (n: number): Promise<void> => {
    const text = `${n} ${numbers[n]}`
    numbers[n] = (numbers[n] ?? 0) + 1
    return outing.meanwhile(protocol.publish(text, exchanges[n] ?? '', '', { messageId: text }, { timeout: 60_000 }))
  }
  for (let n = MOST_PUBLISHERS - 1; n < exchanges.length; n++) {
    // What is nacked just after a loss is sent again.
    await publish(0)
    await lose(outing, own)
    const sent: Promise<void>[] = []
    for (let busy = 0; busy < MOST_PUBLISHERS - 1; busy++) {
      control.leaveUnconfirmed(`${busy} ${numbers[busy]}`)
      sent.push(publish(busy))
    }
    await outing.sleep(10)
    control.nackNext(1)
    sent.push(publish(n))
    await outing.sleep(10)
    control.releaseConfirms()
    await outing.sleep(10)
    sent.push(publish(n), publish(n))
    await Promise.all(sent)
  }
  const texts = await textsOf(protocol, 'all')
  for (const [n, count] of numbers.entries()) {
    const own = texts.filter(text => text.startsWith(`${n} `))
    const should = Array.from({ length: count }, (_, m) => `${n} ${m}`)
    outing.equal([...new Set(own)], should, `the messages by exchange ${n}`)
  }
}

/** Payloads of all kinds arrive as what they were. */
export const payloads: Errand = async outing => {
  const queue = await outing.queue()
  const { protocol } = outing
  const payload = { text: 'Grüße', list: [1, 2.5, null], nested: { yes: true } }
  await protocol.publish(payload, '', queue)
  await protocol.publish('Grüße', '', queue)
  await protocol.publish(new Uint8Array([0, 1, 255]), '', queue)
  const consumer = outing.keep(await protocol.consumer(queue, { prefetchCount: 0 }))
  const [object, text, bytes] = [await consumer.next(), await consumer.next(), await consumer.next()].map(
    ({ value }) => value,
  )
  outing.equal(object?.json(), payload, 'an object')
  outing.equal(object?.properties.contentType, 'application/json', 'the type of an object')
  outing.equal(text?.text(), 'Grüße', 'a text')
  outing.equal([...(bytes?.body ?? [])], [0, 1, 255], 'bytes')
  for (const message of [object, text, bytes]) outing.expect(message?.ack() === true, 'it cannot be acked')
}

/** What a message says of itself, by what is published, with which properties, and how. */
export const modes: Errand = async outing => {
  const { protocol } = outing
  const queue = await outing.queue()
  const [lasting, passing] = [await protocol.publisher(), await protocol.publisher({ persistent: false })]
  const ways = [
    { mode: 2, publish: (body: object, given: BasicProperties) => protocol.publish(body, '', queue, given) },
    { mode: 2, publish: (body: object, given: BasicProperties) => lasting.publish(body, queue, given) },
    { mode: undefined, publish: (body: object, given: BasicProperties) => passing.publish(body, queue, given) },
  ]
  const bodies = [
    { body: Buffer.from('bytes'), type: undefined },
    { body: { an: 'object' }, type: 'application/json' },
    { body: ['a list'], type: 'application/json' },
  ]
  const properties: BasicProperties[] = [
    {},
    { contentType: 'text/odd', priority: 3 },
    { deliveryMode: 1, contentType: undefined },
    { deliveryMode: undefined, messageId: 'one' },
  ]
  const channel = await outing.channel()
  for (const [n, { mode, publish }] of ways.entries()) {
    for (const { body } of bodies) await Promise.all(properties.map(given => publish(body, given)))
    for (const { type } of bodies) {
      for (const given of properties) {
        const { properties: came } = (await channel.basicGet(queue, { noAck: true })) ?? {}
        const should = [given.deliveryMode ?? mode, given.contentType ?? type, given.priority, given.messageId]
        const is = [came?.deliveryMode, came?.contentType, came?.priority, came?.messageId]
        outing.equal(is, should, `the properties of a message that was published in way ${n}`)
      }
    }
  }
  for (const publisher of [lasting, passing]) await publisher.close()
}

/**
 * A message that is confirmed late, as by another queue, is not sent again since others are nacked; and others wait for it
 * once, for a second.
 */
export const lateBesideNacks: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect()
  const queue = 'late'
  await protocol.queueDeclare(queue)
  for (const onNack of ['reject', 'retry'] as const) {
    const publisher = await protocol.publisher({ onNack })
    await publisher.publish('first', queue)
    await outing.sleep(1_500)
    control.leaveUnconfirmed(onNack)
    const late = outing.meanwhile(publisher.publish('late', queue, { messageId: onNack }))
    for (const timeout of onNack === 'reject' ? [1_500, 100] : [1_500]) {
      await outing.sleep(50)
      control.nackNext(1)
      await publisher.publish('nacked', queue, {}, { timeout: 10 }).catch(() => {})
      if (onNack === 'reject') await publisher.publish('other', queue, {}, { timeout })
    }
    await outing.sleep(8_000)
    control.releaseConfirms()
    await late
    outing.equal(publisher.resent, 0, `messages sent again beside a nack (onNack: ${onNack})`)
    await publisher.close()
  }
}
