import type { Channel, Envelope } from '../../../src/index.ts'
import { Random } from '../random.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

/** A consumer of a stream goes on where its store says, and the store has what was handled. */
export const storedOffsets: Errand = async outing => {
  const { protocol } = outing
  const queue = await outing.queue({ arguments: { 'x-queue-type': 'stream' } })
  await outing.publish(queue, '0', '1', '2', '3', '4', '5', '6')
  let stored: bigint | undefined
  let loads = 0
  let saving = 0
  const offsetStore = {
    load: () => {
      loads++
      return stored
    },
    save: async (offset: bigint) => {
      outing.expect(stored === undefined || offset > stored, `offset ${offset} was stored after ${stored}`)
      outing.expect(saving === 0, 'an offset was saved while another one was')
      saving++
      await outing.sleep(100)
      saving--
      stored = offset
    },
  }
  const seen: string[] = []
  const first = outing.keep(
    await protocol.consumer(
      queue,
      async message => {
        seen.push(message.text())
        // The fourth is in hand for longer than the time between two saves.
        await outing.sleep(message.text() === '3' ? 7_000 : 10)
      },
      { concurrency: 1, prefetchCount: 3, offsetStore },
    ),
  )
  await outing.until(() => stored !== undefined, 'a stored offset', 8_000)
  outing.equal(String(stored), '3', 'the offset while the fourth is in hand')
  await outing.until(() => seen.length >= 5, 'five messages', 10_000)
  // It is saved again and again.
  await outing.until(() => saving > 0, 'the next stored offset', 8_000)
  await first.close()
  outing.equal(String(stored), String(seen.length), 'the offset after the close')
  const before = seen.length
  const second = outing.keep(
    await protocol.consumer(queue, message => void seen.push(message.text()), {
      concurrency: 1,
      offsetStore,
      // It is only for the first start.
      arguments: { 'x-stream-offset': 'first' },
    }),
  )
  await outing.until(() => seen.length >= 7, 'the rest of the stream')
  outing.equal(seen, ['0', '1', '2', '3', '4', '5', '6'], `the stream, after a new start at ${before}`)
  outing.equal(loads, 2, 'times that the store was asked')
  await second.close()
  outing.equal(String(stored), '7', 'the offset at the end')
}

/** A consumer that began at the end of a stream has what is published from then on, also during an outage. */
export const streamOutage: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const queue = await outing.queue({ arguments: { 'x-queue-type': 'stream' } })
  await outing.publish(queue, 'before')
  await outing.sleep(2_000 + 137 * (outing.number % 20))
  const seen: string[] = []
  const options = { arguments: { 'x-stream-offset': 'next' }, prefetchCount: 10 } as const
  outing.keep(await own.protocol.consumer(queue, message => void seen.push(message.text()), options))
  for (const text of ['1', '2']) {
    own.refuse(true)
    own.cut()
    await outing.publish(queue, text)
    await outing.sleep(100)
    own.refuse(false)
    await outing.until(() => seen.includes(text), 'what was published to a stream during an outage', 5_000)
  }
  outing.equal(seen, ['1', '2'], 'what was read of a stream')
}

const [SECOND, DAY] = [1_000, 86_400_000]
/** Places in a stream, and how long before the start of its consumer each is that moves with time. */
const PLACES = [
  ['next', 0],
  ['last', 0],
  ['3s', 3 * SECOND],
  ['4m', 240 * SECOND],
  ['5h', 5 * 3_600 * SECOND],
  ['7D', 7 * DAY],
  ['2M', 60 * DAY],
  ['1Y', 365 * DAY],
  ['first', undefined],
  [5, undefined],
  [new Date(1_600_000_000_000), undefined],
] as const

/** A consumer of a stream that has got nothing asks after a loss for what it asked for first, though time has passed. */
export const streamAges: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  await protocol.queueDeclare('log', { arguments: { 'x-queue-type': 'stream' } })
  const channel = await protocol.channel()
  await channel.basicQos({ prefetchCount: 10 })
  const began = outing.clock.wallTime()
  const should = new Map<string, (typeof PLACES)[number]>()
  for (const each of PLACES) {
    const options = { arguments: { 'x-stream-offset': each[0] } }
    should.set((await channel.basicConsume(() => {}, 'log', options)).consumerTag, each)
  }
  for (let loss = 1; loss <= 2; loss++) {
    await outing.sleep(5_000)
    await lose(outing, own)
    await outing.sleep(50)
    const { places } = control.evidence()
    outing.equal(places.length, should.size, `consumers of a stream after loss ${loss}`)
    for (const [tag, is] of places) {
      const [place, age] = should.get(tag) ?? []
      const since = age === undefined ? undefined : began - age
      // A time is one of whole seconds.
      const isRight =
        since === undefined
          ? JSON.stringify(is) === JSON.stringify(place)
          : is instanceof Date && is.getTime() > since - SECOND && is.getTime() <= since + 100
      outing.expect(isRight, `a consumer that began at ${place} asks for ${is} after loss ${loss}`)
    }
  }
}

/** A message of a stream that fails is handled again here; one that is rejected is passed over. */
export const failedInStream: Errand = async outing => {
  const queue = await outing.queue({ arguments: { 'x-queue-type': 'stream' } })
  await outing.publish(queue, '0', '1', '2')
  const seen: string[] = []
  const consumer = outing.keep(
    await outing.protocol.consumer(
      queue,
      message => {
        seen.push(message.text())
        if (message.text() === '1' && seen.length < 9) throw new Error('not yet')
      },
      {
        concurrency: 1,
        arguments: { 'x-stream-offset': 'first' },
        onFailure: outing.number % 2 === 0 ? 'reject' : { retries: 1, delays: [50] },
      },
    ),
  )
  await outing.until(() => seen.includes('2'), 'the end of a stream')
  await outing.sleep(500)
  const should = outing.number % 2 === 0 ? ['0', '1', '2'] : ['0', '1', '1', '2']
  outing.equal([...seen].sort(), should, 'what was handled of a stream')
  await consumer.close()
}

/**
 * Messages of a stream are settled in any way, as chance wants it, before and after losses: each settlement does what it can
 * do to a stream, and says so, none ends the channel, and the consumer goes on with the first that is not settled.
 */
export const streamSettlements: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const errors: unknown[] = []
  const own = await connect({ recovery: QUICK, onError: error => errors.push(error) })
  const { protocol } = own
  const random = new Random(Math.floor(outing.clock.random() * 2 ** 31))
  await protocol.queueDeclare('log', { arguments: { 'x-queue-type': 'stream' } })
  const texts = Array.from({ length: 40 }, (_, n) => `${n}`)
  for (const text of texts) await protocol.publish(text, '', 'log')
  const channel = await protocol.channel()
  await channel.basicQos({ prefetchCount: 5 })
  /** Unsettled, by tag. */
  const unsettled = new Map<number, string>()
  let settled = new Set<string>()
  const seen = new Set<string>()
  let isFirst = true
  const see = (_channel: Channel, body: Buffer, { deliveryTag }: Envelope): void => {
    const text = body.toString()
    if (isFirst)
      outing.equal(
        text,
        texts.find(each => !settled.has(each)),
        'where a consumer of a stream goes on',
      )
    isFirst = false
    seen.add(text)
    unsettled.set(deliveryTag, text)
  }
  await channel.basicConsume(see, 'log', { arguments: { 'x-stream-offset': 'first' } })
  const settle = async (): Promise<void> => {
    const tags = [...unsettled.keys()]
    const [how, multiple, requeue] = [
      random.pick(['ack', 'ack', 'nack', 'reject'] as const),
      random.chance(0.4),
      random.chance(0.4),
    ]
    const tag = random.pick(tags)
    const isSettled = how === 'ack' || !requeue
    const done = await (how === 'ack'
      ? channel.basicClientAck(tag, { multiple })
      : how === 'nack'
        ? channel.basicClientNack(tag, { multiple, requeue })
        : channel.basicReject(tag, { requeue }))
    outing.equal(done, isSettled, `whether a ${how} of a stream is sent, multiple ${multiple}, requeue ${requeue}`)
    if (!isSettled) return
    for (const each of multiple && how !== 'reject' ? tags.filter(before => before <= tag) : [tag]) {
      settled.add(unsettled.get(each) ?? '')
      unsettled.delete(each)
    }
  }
  for (let round = 0; round < 3; round++) {
    await outing.sleep(20)
    for (let n = 0; n < 6 && unsettled.size > 0; n++) {
      await settle()
      await outing.sleep(random.pick([0, 5]))
    }
    const [old] = unsettled.keys()
    unsettled.clear()
    isFirst = true
    // Those after the first that is not settled come again.
    const first = texts.findIndex(text => !settled.has(text))
    settled = new Set(texts.slice(0, first))
    await lose(outing, own)
    await outing.sleep(50)
    if (old !== undefined) outing.equal(await channel.basicClientAck(old), false, 'an ack of before the loss')
  }
  const end = outing.clock.now() + 10_000
  while (seen.size < texts.length && outing.clock.now() < end) {
    const last = Math.max(0, ...unsettled.keys())
    if (last > 0) await channel.basicClientAck(last, { multiple: true })
    unsettled.clear()
    await outing.sleep(5)
  }
  outing.equal(seen.size, texts.length, 'messages of a stream that were seen')
  outing.equal(errors.map(String), [], 'what is reported of settlements of a stream')
  outing.equal(control.evidence().unknownTags, 0, 'settlements of what was settled')
}

/** What a program rejects of a stream stays in it, and the next ones come, also if the broker takes acks alone. */
export const rejectedInStream: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect()
  await protocol.queueDeclare('log', { arguments: { 'x-queue-type': 'stream' } })
  const texts = ['1', '2', '3', '4', '5', '6']
  for (const text of texts) await protocol.publish(text, '', 'log', {}, { timeout: 5_000 })
  const channel = await protocol.channel()
  await channel.basicQos({ prefetchCount: 2 })
  const seen: string[] = []
  await channel.basicConsume(
    (on, body, { deliveryTag }) => {
      const isReject = seen.push(body.toString()) % 2 === 0
      void (isReject ? on.basicReject(deliveryTag) : on.basicClientNack(deliveryTag, { requeue: false }))
    },
    'log',
    { arguments: { 'x-stream-offset': 'first' } },
  )
  await outing.until(() => seen.length >= texts.length, 'all of a stream whose messages are rejected', 5_000)
  await outing.sleep(50)
  outing.equal(seen, texts, 'the messages of a stream')
  outing.equal(control.evidence().unacked.get('log'), 0, 'messages of a stream that nothing settled')
}
