import type { Channel, Envelope, Message } from '../../../src/index.ts'
import type { Errand } from './errand.ts'

/** A loop acks what it has done, and gives the rest back when it is left. */
export const loops: Errand = async outing => {
  const queue = await outing.queue()
  await outing.publish(queue, '1', '2', '3', '4', '5')
  const consumer = outing.keep(await outing.protocol.consumer(queue, { prefetchCount: 10 }))
  const seen: string[] = []
  for await (const message of consumer) {
    seen.push(message.text())
    if (message.text() === '1') outing.expect(message.reject(), 'a message cannot be settled in a loop')
    if (message.text() === '3') break
  }
  outing.equal(seen, ['1', '2', '3'], 'the messages of a loop')
  await outing.holds(queue, 3, 'messages that a loop gives back')
  outing.equal(await outing.takeAll(queue), ['3', '4', '5'], 'what a loop gave back')
  const done = await consumer.next()
  outing.expect(done.done === true, 'a loop that was left goes on')
}

/** A program that asks for one message at a time settles it, and loses none when it stops waiting. */
export const oneByOne: Errand = async outing => {
  const queue = await outing.queue()
  const consumer = outing.keep(await outing.protocol.consumer(queue, { prefetchCount: 3 }))
  const began = outing.clock.now()
  await outing.failure(consumer.next({ timeout: 250 }), 'TimeoutError', 'next() with a timeout')
  outing.took(began, 250, 300, 'next() with a timeout')
  await outing.failure(consumer.next({ signal: outing.signalAfter(50) }), 'AbortError', 'next() with a signal')
  const waiting = [0, 1].map(() => outing.meanwhile(consumer.next()))
  await outing.publish(queue, '1', '2', '3', '4')
  const [one, two] = (await Promise.all(waiting)).map(({ value }) => value)
  outing.equal([one?.text(), two?.text()], ['1', '2'], 'the first messages')
  outing.expect(two?.ack() === true, 'it cannot be acked')
  outing.expect(two?.ack() === false, 'it can be acked twice')
  outing.expect(two?.nack() === false, 'what was acked can be given back')
  outing.expect(one?.nack() === true, 'it cannot be given back')
  const after: Message[] = []
  for (let n = 0; n < 3; n++) {
    const { value } = await consumer.next({ timeout: 5_000 })
    if (value !== undefined) after.push(value)
  }
  outing.equal(after.map(message => message.text()).sort(), ['1', '3', '4'], 'what comes then')
  const again = after.find(message => message.text() === '1')
  outing.expect(again?.envelope.isRedeliver === true, 'what was given back does not say so')
  for (const message of after) message.ack()
  await outing.publish(queue, '5')
  await outing.sleep(50)
  const gone = new AbortController()
  gone.abort()
  await outing.failure(consumer.next({ signal: gone.signal }), 'AbortError', 'next() with a signal that is aborted')
  const { value: kept } = await consumer.next({ timeout: 5_000 })
  const { signal } = kept ?? {}
  const ended = outing.meanwhile(consumer.next())
  await consumer.close()
  outing.expect((await ended).done === true, 'the close of a consumer does not end next()')
  outing.expect(signal?.aborted === true, 'a message in hand does not learn of the close of its consumer')
  outing.expect(kept?.ack() === false, 'a message in hand can be acked after the close of its consumer')
  await outing.holds(queue, 1, 'messages that are left')
}

/** Messages that wait for the program stay in order, however many. */
export const manyWaiting: Errand = async outing => {
  const queue = await outing.queue()
  const consumer = outing.keep(await outing.protocol.consumer(queue, { prefetchCount: 0 }))
  const all = Array.from({ length: 150 }, (_, n) => `${n}`)
  const seen: string[] = []
  const takeMany = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) {
      const { value } = await consumer.next({ timeout: 5_000 })
      if (value?.ack() === true) seen.push(value.text())
    }
  }
  await outing.publish(queue, ...all.slice(0, 50))
  await takeMany(20)
  await outing.publish(queue, ...all.slice(50))
  await outing.sleep(100)
  await takeMany(130)
  outing.equal(seen, all, 'the order of messages that wait')
}

/** A pause hands nothing out, and a signal closes a consumer. */
export const pauses: Errand = async outing => {
  const queue = await outing.queue()
  const controller = new AbortController()
  const seen: string[] = []
  const { signal } = controller
  const consumer = outing.keep(
    await outing.protocol.consumer(queue, message => void seen.push(message.text()), { signal, concurrency: 1 }),
  )
  const closed = new Promise<unknown>(resolve => consumer.once('closed', resolve))
  consumer.pause()
  outing.expect(consumer.isPaused, 'a consumer that pauses does not say so')
  await outing.publish(queue, '1', '2')
  await outing.sleep(300)
  outing.equal(seen, [], 'what came during a pause')
  consumer.resume()
  await outing.until(() => seen.length === 2, 'it goes on after a pause', 1_000)
  consumer.pause()
  await outing.publish(queue, '3')
  await outing.sleep(50)
  controller.abort()
  const ended = await Promise.race([closed.then(() => true), outing.sleep(1_000)])
  outing.expect(ended === true, 'an aborted signal does not close its consumer')
  outing.equal(seen, ['1', '2'], 'what was handled')
  await outing.holds(queue, 1, 'messages that go back')
}

/** Several takers share a consumer: each settles what it has, in its own time, and has every message for itself. */
export const sharers: Errand = async outing => {
  const queue = await outing.queue()
  const consumer = outing.keep(await outing.protocol.consumer(queue, { prefetchCount: 10 }))
  const ends: string[] = []
  consumer.on('cancelled', error => ends.push(error.message))
  const seen: string[] = []
  const work = async (message: Message, milliseconds: number): Promise<void> => {
    seen.push(message.text())
    outing.expect(!message.envelope.isRedeliver, `${message.text()} came twice`)
    await outing.sleep(milliseconds)
  }
  const oneByOne = async (next: () => Promise<IteratorResult<Message, undefined>>, pause: number): Promise<void> => {
    for (let { value } = await next(); value !== undefined; { value } = await next()) {
      await work(value, pause)
      outing.expect(value.ack(), `${value.text()} was settled in the stead of the taker that had it`)
    }
  }
  const loop = async (pause: number): Promise<void> => {
    for await (const message of consumer) await work(message, pause)
  }
  const batches = async (pause: number): Promise<void> => {
    for await (const batch of consumer.batches({ size: 3, wait: 20 })) for (const each of batch) await work(each, pause)
  }
  const texts = Array.from({ length: 40 }, (_, n) => `${n}`)
  if (outing.number % 2 === 0) await outing.publish(queue, ...texts)
  await outing.sleep(50)
  const iterator = consumer[Symbol.asyncIterator]()
  const worker = (pause: number): Promise<void> => oneByOne(() => iterator.next(), pause)
  const next = (pause: number): Promise<void> => oneByOne(() => consumer.next(), pause)
  const ways = [
    () => [worker(7), worker(3), worker(30)],
    () => [batches(2), next(40)],
    () => [loop(50), batches(3)],
    () => [batches(20), batches(1), loop(9)],
  ]
  const takers = ways[outing.number % ways.length]?.() ?? []
  for (const taker of takers) taker.catch(() => {})
  if (outing.number % 2 !== 0) await outing.publish(queue, ...texts)
  await outing.until(() => seen.length >= texts.length, 'the messages of a consumer that is shared')
  await outing.sleep(200)
  await outing.holds(queue, 0, 'messages that are left')
  await consumer.close()
  outing.equal([...seen].sort(), [...texts].sort(), 'the messages of a consumer that is shared')
  outing.equal(ends, [], 'ends of a consumer that is shared')
}

/** Callbacks run beside each other, as many as there are messages, if the program does not say how many. */
export const callbacksTogether: Errand = async outing => {
  const queue = await outing.queue()
  const channel = outing.keep(await outing.protocol.channel())
  let running = 0
  const seen: number[] = []
  const work = async (on: Channel, _: Buffer, { deliveryTag }: Envelope): Promise<void> => {
    seen.push(++running)
    await outing.sleep(500)
    await on.basicClientAck(deliveryTag).catch(() => false)
  }
  await channel.basicConsume(work, queue)
  await outing.publish(queue, '1', '2', '3', '4', '5')
  await outing.until(() => seen.length === 5, 'five callbacks', 400)
  await outing.sleep(600)
  outing.equal(seen, [1, 2, 3, 4, 5], 'callbacks that run beside each other')
}
