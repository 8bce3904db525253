import type { Channel, Envelope } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, loseDuring, QUICK, reaches } from './recoveries.ts'

/** While another connection has a queue for a moment, what needs it waits, and what was published after that comes after it. */
export const behindLocks: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const queue = await outing.queue()
  const exclusive = `${outing.name} exclusive`
  const exchange = await outing.exchange('fanout')
  await protocol.queueDeclare(exclusive, { exclusive: true })
  await protocol.queueBind(exclusive, exchange)
  // What it leads to no longer holds nothing up.
  const free = await outing.exchange('fanout')
  await protocol.exchangeDeclare(free, 'fanout')
  await protocol.queueBind(queue, free)
  await protocol.exchangeBind(exchange, free)
  await protocol.exchangeUnbind(exchange, free)
  // What leads to it waits, too.
  const front = await outing.exchange('fanout')
  await protocol.exchangeDeclare(front, 'fanout')
  await protocol.exchangeBind(exchange, front)
  const channel = await protocol.channel({ publisherConfirms: true })
  const fromFront = await protocol.channel({ publisherConfirms: true })
  const other = await protocol.channel({ publisherConfirms: true })
  const direct = await protocol.channel({ publisherConfirms: true })
  const seen: string[] = []
  const consuming = await protocol.channel()
  let ends = 0
  consuming.addCancellationCallback(() => ends++)
  protocol.on('recoveryFailed', () => ends++)
  await consuming.basicConsume((_channel, body) => void seen.push(body.toString()), exclusive, { noAck: true })
  own.refuse(true)
  own.cut()
  await outing.sleep(1)
  // It waits for the connection, and then for the queue, in one and the same time.
  const began = outing.clock.now()
  const asked = other.queueDeclare(exclusive, { passive: true, timeout: 150 })
  const inTime = outing.failure(asked, 'TimeoutError', 'a question about a queue that is locked')
  await outing.sleep(50)
  await outing.protocol.queueDeclare(exclusive, { exclusive: true })
  own.refuse(false)
  await inTime
  outing.took(began, 150, 170, 'a question about a queue that is locked')
  await outing.sleep(50)
  const order: string[] = []
  const publish = (on: Channel, text: string, name: string, key: string): Promise<unknown> =>
    outing.meanwhile(on.publish(text, name, key, {}, { mandatory: true, timeout: 20_000 }).then(() => order.push(text)))
  const publisher = await protocol.publisher()
  const byPublisher = (text: string, key: string): Promise<unknown> =>
    outing.meanwhile(publisher.publish(text, key, {}, { timeout: 20_000 }).then(() => order.push(text)))
  const sent = [
    byPublisher('5', exclusive),
    byPublisher('6', queue),
    publish(fromFront, '8', front, ''),
    publish(channel, '1', exchange, ''),
    publish(channel, '2', '', queue),
    publish(direct, '3', '', exclusive),
    publish(direct, '4', '', queue),
    publish(other, 'free', free, ''),
  ]
  // A close goes after what was published before it.
  const closing = await protocol.channel({ publisherConfirms: true })
  const last = closing.publish('7', '', exclusive, {}, { mandatory: true }).then(
    () => 'sent',
    (error: Error & { outcome?: string }) => error.outcome,
  )
  sent.push(outing.meanwhile(closing.close()))
  // What is given up holds nothing up that came after it: the next look at the queue is too far off to wake that.
  await outing.sleep(350)
  const [impatient, asking] = [
    await protocol.channel({ publisherConfirms: true }),
    await protocol.channel({ publisherConfirms: true }),
  ]
  const late = impatient.publish('late', '', exclusive, {}, { mandatory: true, timeout: 50 })
  const givenUp = outing.failure(late, 'TimeoutError', 'a publish to a queue that is locked')
  sent.push(publish(impatient, 'after it', '', queue))
  const question = asking.queueDeclare(exclusive, { passive: true, timeout: 60 })
  const unanswered = outing.failure(question, 'TimeoutError', 'a question about a queue that is locked')
  sent.push(publish(asking, 'after that', '', queue))
  await Promise.all([givenUp, unanswered])
  await outing.sleep(100)
  outing.equal(order, ['free', 'after it', 'after that'], 'what was published to a queue that is locked, and behind it')
  await outing.protocol.queueDelete(exclusive)
  await Promise.all(sent)
  outing.expect(order.indexOf('1') < order.indexOf('2'), 'a publish overtook the one before it')
  outing.expect(order.indexOf('3') < order.indexOf('4'), 'a publish overtook the one before it')
  outing.expect(order.indexOf('5') < order.indexOf('6'), 'a publish overtook the one before it')
  outing.expect((await last) !== 'notSent', 'a close overtook a publish')
  await outing.until(() => seen.length === 5, 'what was published to a queue that was locked', 5_000)
  outing.equal(ends, 0, 'what could not be made again')
}

/** What is locked is tried on while no channel number is free, and is back when there are both. */
export const lockedWithoutNumbers: Errand = async outing => {
  const { connect } = outing.startBroker(3)
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const { protocol: other } = await connect()
  await protocol.queueDeclare('locked', { exclusive: true })
  await loseDuring(outing, own, () => other.queueDeclare('locked', { exclusive: true }))
  await outing.sleep(1_200)
  const channels = [await protocol.channel(), await protocol.channel(), await protocol.channel()]
  await outing.sleep(2_000)
  await channels[0]?.close()
  await other.queueDelete('locked')
  await outing.sleep(2_000)
  const asked = channels[1]?.queueDeclare('locked', { passive: true, timeout: 5_000 })
  await asked?.catch(error => outing.expect(false, `a queue that was locked while no number was free: ${error}`))
}

/**
 * While another connection has the queue of a consumer for a moment, the consumer waits, and so does what shares its channel:
 * a queue that goes with its consumer is made again as often as it takes.
 */
export const lockedConsumers: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const [locked, passing] = ['locked', 'passing'].map(what => `${outing.name} ${what}`) as [string, string]
  // It is not made again by itself: only its consumers ask for it.
  await protocol.queueDeclare(locked, { exclusive: true, recover: false })
  await protocol.queueDeclare(passing, { autoDelete: true })
  const channel = await protocol.channel()
  let ends = 0
  channel.addCancellationCallback(() => ends++)
  const seen: string[] = []
  const see = (_channel: Channel, body: Buffer): void => void seen.push(body.toString())
  const queues = outing.number % 2 === 0 ? [locked, passing] : [passing, locked]
  for (const queue of queues) await channel.basicConsume(see, queue, { noAck: true })
  // Of two consumers of one queue, the error of a refusal does not say which one it was.
  await channel.basicConsume(see, locked, { noAck: true })
  const intent = await protocol.consumer(locked, message => void seen.push(message.text()))
  own.refuse(true)
  own.cut()
  await outing.sleep(50)
  const waits = outing.meanwhile(protocol.ready({ timeout: 20_000 }))
  await outing.protocol.queueDeclare(locked, { exclusive: true })
  own.refuse(false)
  const lock = [1_500, 4_000, 40_000][outing.number % 3] ?? 0
  // One that is opened while consumers are still waited for.
  await outing.sleep(100)
  const late = await protocol.channel({ signal: outing.signalAfter(60_000) })
  await outing.sleep(lock)
  await outing.protocol.queueDelete(locked)
  outing.keep({ close: () => outing.protocol.queueDelete(locked) })
  await outing.protocol.queueDeclare(locked)
  await waits
  const count = async (queue: string): Promise<number> =>
    (await outing.protocol.queueDeclare(queue, { passive: true })).consumerCount
  // Only the intent level asks for ever.
  const should = lock < 15_000 ? 3 : 1
  for (const end = outing.clock.now() + 15_000; outing.clock.now() < end; await outing.sleep(500))
    if ((await count(locked)) === should) break
  outing.equal(await count(locked), should, 'consumers of a queue that was locked')
  // It went with its consumer each time that the channel was closed.
  for (const end = outing.clock.now() + 5_000; outing.clock.now() < end; await outing.sleep(100))
    if ((await count(passing).catch(() => 0)) === 1) break
  await outing.protocol.publish('passing', '', passing)
  await outing.until(() => seen.includes('passing'), 'a message beside a queue that was locked', 5_000)
  outing.equal(ends, 3 - should, 'consumers that were given up')
  if (outing.number % 2 === 0) {
    await lose(outing, own)
    await outing.sleep(1_000)
    outing.equal(await count(locked), should, 'consumers of a queue that was locked, after the next loss')
  }
  await intent.close()
  // A close waits for the callbacks of every channel.
  let acks = 0
  const slow = async (on: Channel, _body: Buffer, { deliveryTag }: Envelope): Promise<void> => {
    await outing.sleep(200)
    if (await on.basicClientAck(deliveryTag).catch(() => false)) acks++
  }
  const last = await outing.queue()
  for (const each of [channel, late]) await each.basicConsume(slow, last)
  await outing.publish(last, '1', '2')
  await outing.sleep(50)
  await protocol.close()
  outing.equal(acks, 2, 'messages that were acked while their connection was closed')
}

/** While another consumer has a queue for itself, a consumer of it comes later than its channel, and is back soon after that. */
export const lateConsumers: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const [taken, free] = [await outing.queue(), await outing.queue()]
  const channel = await protocol.channel()
  let ends = 0
  channel.addCancellationCallback(() => ends++)
  const seen: string[] = []
  const see = (_channel: Channel, body: Buffer): void => void seen.push(body.toString())
  for (const queue of [taken, free]) await channel.basicConsume(see, queue, { noAck: true })
  const other = await outing.channel()
  const take = () => other.basicConsume(() => {}, taken, { exclusive: true })
  const { consumerTag } = await loseDuring(outing, own, take)
  await outing.sleep(1_500)
  await outing.publish(free, 'beside')
  await outing.until(() => seen.includes('beside'), 'a message beside a consumer that is late', 5_000)
  await other.basicCancel(consumerTag)
  await outing.publish(taken, 'late')
  await outing.until(() => seen.includes('late'), 'a message of a consumer that is late', 5_000)
  outing.equal(ends, 0, 'ends of a consumer that is late')
  // One that is late is looked for twice a second.
  await outing.sleep(1_500)
  outing.equal(own.keeping, 0, 'timers when no consumer is missing')
  await lose(outing, own)
  await outing.publish(taken, 'again')
  await outing.until(() => seen.includes('again'), 'a message of a consumer that was late, after the next loss', 5_000)
}

/** A binding to a queue that was locked is made when the queue is, though its exchange has gone meanwhile. */
export const lateBindings: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const [exchange, locked] = [`${outing.name} exchange`, `${outing.name} locked`]
  await protocol.exchangeDeclare(exchange, 'direct', { autoDelete: true })
  await protocol.queueDeclare(locked, { exclusive: true })
  await protocol.queueBind(locked, exchange, 'key')
  const channel = await protocol.channel()
  let ends = 0
  channel.addCancellationCallback(() => ends++)
  const seen: string[] = []
  await channel.basicConsume((_channel, body) => void seen.push(body.toString()), locked, { noAck: true })
  own.refuse(true)
  own.cut()
  await outing.sleep(50)
  await outing.protocol.queueDeclare(locked, { exclusive: true })
  own.refuse(false)
  const lock = [20_000, 40_000, 300][outing.number % 3] ?? 0
  await outing.sleep(lock)
  await outing.protocol.exchangeDelete(exchange)
  await outing.protocol.queueDelete(locked)
  await protocol.ready({ timeout: 20_000 })
  await outing.sleep(15_000)
  outing.expect(
    await reaches(own, exchange, 'key').catch(() => false),
    'a binding to a queue that was locked is missing',
  )
  await outing.sleep(50)
  // Longer than that no consumer is waited for.
  const isGivenUp = lock > 30_000
  outing.equal([ends, seen.length], isGivenUp ? [1, 0] : [0, 1], 'ends of a consumer of a locked queue, and messages')
}

/** What is there otherwise when the connection comes back is reported once, and left as it is from then on. */
export const otherThings: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const queue = await outing.queue()
  const exchange = await outing.exchange('direct')
  await protocol.queueDeclare(queue)
  await protocol.exchangeDeclare(exchange, 'direct')
  const failures: string[] = []
  protocol.on('recoveryFailed', what => failures.push(what))
  own.refuse(true)
  own.cut()
  await outing.sleep(50)
  await outing.protocol.queueDelete(queue)
  await outing.protocol.exchangeDelete(exchange)
  await outing.protocol.queueDeclare(queue, { arguments: { 'x-max-length': 5 } })
  await outing.protocol.exchangeDeclare(exchange, 'fanout')
  own.refuse(false)
  await protocol.ready({ timeout: 20_000 })
  await outing.sleep(500)
  outing.equal(failures.length, 2, 'what could not be made again')
  await lose(outing, own)
  await outing.sleep(500)
  outing.equal(failures.length, 2, 'what could not be made again, after the next loss')
}
