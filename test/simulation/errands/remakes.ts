import { QueueDeclare } from '../../../src/codec/index.ts'
import type { Channel, Envelope } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, loseDuring, QUICK, reaches } from './recoveries.ts'

/** A close waits for callbacks after a recovery, too, also if their channel was opened while a consumer was waited for. */
export const lateChannels: Errand = async outing => {
  const { connect } = outing.startBroker()
  const other = await (await connect()).protocol.channel()
  for (const busy of ['first', 'second']) {
    const own = await connect({ recovery: QUICK })
    const { protocol } = own
    for (const queue of ['gone', 'first', 'second']) await other.queueDeclare(queue)
    let acks = 0
    const work = async (on: Channel, _body: Buffer, { deliveryTag }: Envelope): Promise<void> => {
      await outing.sleep(200)
      if (await on.basicClientAck(deliveryTag).catch(() => false)) acks++
    }
    await (await protocol.channel()).basicConsume(work, 'first')
    await (await protocol.channel()).basicConsume(() => {}, 'gone')
    own.refuse(true)
    own.cut()
    await outing.sleep(50)
    await other.queueDelete('gone')
    own.refuse(false)
    // Its queue is asked for again, for two seconds.
    await outing.sleep(300)
    outing.equal(protocol.state, 'recovering', 'the state while a consumer is waited for')
    await (await protocol.channel()).basicConsume(work, 'second')
    await outing.sleep(3_000)
    await other.basicPublish('x', '', busy)
    await outing.sleep(50)
    await protocol.close()
    outing.equal(acks, 1, 'messages that were acked while their connection was closed')
  }
}

/** What another connection takes while consumers are waited for is made again when it is free, though no consumer asks for it any more. */
export const lateRemakes: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const other = await (await connect()).protocol.channel()
  await protocol.queueDeclare('locked', { exclusive: true, recover: false })
  await protocol.queueDeclare('passing', { autoDelete: true })
  await protocol.exchangeDeclare('front', 'fanout')
  await protocol.queueBind('passing', 'front')
  const channel = await protocol.channel()
  for (const queue of ['passing', 'locked']) await channel.basicConsume(() => {}, queue, { noAck: true })
  await loseDuring(outing, own, () => other.queueDeclare('locked', { exclusive: true }))
  await outing.sleep(4_000)
  // It goes with its consumer, and comes back, each time that its channel is closed over the other one.
  for (let isTaken = false; !isTaken; ) {
    await other.queueDelete('passing')
    isTaken = await other.queueDeclare('passing', { exclusive: true, timeout: 100 }).then(
      () => true,
      () => false,
    )
  }
  await outing.sleep(30_000)
  for (const queue of ['locked', 'passing']) await other.queueDelete(queue)
  const isThere = (): boolean => control.evidence().entities.has('queue passing')
  await outing.until(isThere, 'a queue that was taken while consumers were waited for', 60_000)
  await outing.sleep(1_000)
  outing.expect(await reaches(own, 'front', '').catch(() => false), 'its binding is missing')
}

/**
 * The broker closes channels over consumers that it refuses for a while, and deletes what ends with their other consumers: queues,
 * and exchanges with their last bindings. All of it is made again, once, and as it was.
 */
export const remakes: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const other = await (await connect()).protocol.channel()
  const [front, passing, taken] = ['front', 'passing', 'taken']
  await protocol.exchangeDeclare(front, 'topic')
  await protocol.exchangeDeclare(passing, 'topic', { autoDelete: true })
  await protocol.exchangeBind(passing, front, '#')
  await protocol.queueDeclare(taken)
  const channels = [await protocol.channel(), await protocol.channel()]
  const named = outing.number % 2 === 0 ? '' : 'named'
  const { queue } = await protocol.queueDeclare(named, { autoDelete: true })
  await protocol.queueBind(queue, passing, 'key')
  const before = control.evidence().entities.size
  const seen: string[] = []
  const failures: string[] = []
  protocol.on('recoveryFailed', (what, error) => failures.push(`${what}: ${error.message}`))
  const see = (_channel: Channel, body: Buffer): void => void seen.push(body.toString())
  for (const channel of channels) {
    await channel.basicConsume(see, queue, { noAck: true })
    await channel.basicConsume(see, taken, { noAck: true })
  }
  for (let round = 1; round <= 2; round++) {
    const take = () => other.basicConsume(() => {}, taken, { exclusive: true })
    const { consumerTag } = await loseDuring(outing, own, take)
    await outing.sleep(1_500)
    outing.equal(control.evidence().entities.size, before, `queues, exchanges and bindings after loss ${round}`)
    const isBack = await reaches(own, front, 'key').catch(() => false)
    outing.expect(isBack, `a queue that went with its consumers is not reached after loss ${round}`)
    await outing.until(
      () => seen.length === 1,
      `a message of a queue that went with its consumers, loss ${round}`,
      5_000,
    )
    seen.length = 0
    await other.basicCancel(consumerTag)
    await outing.sleep(1_500)
    outing.equal(control.evidence().consumers.get(taken)?.length, 2, `consumers that were refused, loss ${round}`)
  }
  outing.equal(failures, [], 'what could not be made again')
  await lose(outing, own)
  outing.equal(control.evidence().entities.size, before, 'queues, exchanges and bindings after the last loss')
}

/** Queues that a recovery makes again: more than it makes at a time and while a publish waits for its confirm. */
const MANY = 900

/** What a publish waits for is made before all else, by whatever way it gets there. */
export const wantedFirst: Errand = async outing => {
  const { connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const channel = await protocol.channel({ publisherConfirms: true })
  const names = Array.from({ length: MANY }, (_, n) => `queue ${n}`)
  await Promise.all(names.map(name => channel.queueDeclare(name, { exclusive: true })))
  const last = names.at(-1) ?? ''
  for (const exchange of ['front', 'back']) await channel.exchangeDeclare(exchange, 'fanout', { autoDelete: true })
  await channel.exchangeBind('back', 'front')
  await channel.queueBind(last, 'back')
  const [exchange, key] =
    [
      ['', last],
      ['back', ''],
      ['front', ''],
    ][outing.number % 3] ?? []
  own.refuse(true)
  own.cut()
  await outing.sleep(50)
  const before = own.wrote(QueueDeclare)
  const published = channel.publish('x', exchange ?? '', key ?? '', {}, { mandatory: true })
  own.refuse(false)
  await published
  const made = own.wrote(QueueDeclare) - before
  outing.expect(made < MANY, `${made} queues are made before one that a publish waits for`)
  await protocol.ready({ timeout: 20_000 })
}

/** A queue that ends in a recovery, since its consumer's channel is closed over another one, is there again with its bindings. */
export const remadeForConsumer: Errand = async outing => {
  const { connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const other = await (await connect()).protocol.channel()
  await other.queueDeclare('gone')
  const { protocol } = own
  const channel = await protocol.channel()
  await channel.queueDeclare('queue', { autoDelete: true })
  for (const key of ['a', 'b']) await channel.queueBind('queue', 'amq.direct', key)
  const seen: string[] = []
  for (const queue of ['queue', 'gone'])
    await channel.basicConsume((_channel, body) => void seen.push(`${body}`), queue, { noAck: true })
  own.refuse(true)
  own.cut()
  await outing.sleep(50)
  await other.queueDelete('gone')
  own.refuse(false)
  await outing.sleep(10_000)
  const expect = (error: unknown): void => outing.expect(false, `a publish after the recovery: ${error}`)
  for (const key of ['a', 'b'])
    await protocol.publish(key, 'amq.direct', key, {}, { mandatory: true, timeout: 5_000 }).catch(expect)
  await outing.sleep(50)
  outing.equal(seen, ['a', 'b'], 'what reaches the consumer of a queue that ended in a recovery')
}
