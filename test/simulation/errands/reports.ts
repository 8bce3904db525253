import { ignore } from '../../../src/lib/ignore.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

/** What waitForConfirms says: each failure once, to the first that waits for it, also if its connection is gone. */
export const failedConfirms: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const queue = 'confirmed'
  await protocol.queueDeclare(queue)
  const channel = await protocol.channel({ publisherConfirms: true })
  control.nackNext(1)
  await channel.basicPublish('1', '', queue)
  await outing.failure(channel.waitForConfirms({ timeout: 5_000 }), 'PublishFailedError', 'a wait for what is nacked')
  await channel.basicPublish('2', '', queue)
  await channel.waitForConfirms({ timeout: 5_000 })
  // A wait reports what was published before it; what is nacked after that is for the next one.
  control.withholdConfirms()
  await channel.basicPublish('taken', '', queue)
  await outing.sleep(5)
  control.nackNext(2)
  await channel.basicPublish('first', '', queue)
  const waits = outing.failure(channel.waitForConfirms({ timeout: 5_000 }), 'PublishFailedError', 'the first wait')
  await channel.basicPublish('second', '', queue)
  await outing.sleep(20)
  control.releaseConfirms()
  await waits
  await outing.failure(channel.waitForConfirms({ timeout: 5_000 }), 'PublishFailedError', 'the second wait')
  control.withholdConfirms()
  await channel.basicPublish('3', '', queue)
  await outing.sleep(5)
  await lose(outing, own)
  control.releaseConfirms()
  await outing.failure(channel.waitForConfirms({ timeout: 5_000 }), 'ConnectionLostError', 'a wait for what is lost')
  await channel.basicPublish('4', '', queue)
  await channel.waitForConfirms({ timeout: 5_000 })
  // A wait that ends with a loss has reported it.
  control.withholdConfirms()
  await channel.basicPublish('5', '', queue)
  const waiting = outing.failure(channel.waitForConfirms({ timeout: 5_000 }), 'ConnectionLostError', 'a wait at a loss')
  await outing.sleep(5)
  await lose(outing, own)
  control.releaseConfirms()
  await waiting
  await channel.basicPublish('6', '', queue)
  await channel.waitForConfirms({ timeout: 5_000 })
}

/** Messages that are alike come back one by one, and each caller learns of its own. */
export const alikeReturns: Errand = async outing => {
  const channel = outing.keep(await outing.protocol.channel({ publisherConfirms: true }))
  const queue = await outing.queue()
  const nowhere = `${queue} none`
  // The broker puts an address of the channel in the place of the second one.
  const replyTo = [undefined, 'amq.rabbitmq.reply-to', 'to nobody'][outing.number % 3]
  const publish = (key: string): Promise<unknown> => channel.publish('alike', '', key, { replyTo }, { mandatory: true })
  if (replyTo?.startsWith('amq.') === true) await channel.basicConsume(() => {}, replyTo, { noAck: true })
  await publish(queue)
  // One that is not mandatory goes nowhere, too, and does not come back.
  const lost = (): Promise<unknown> => channel.publish('alike', '', nowhere, { replyTo })
  const ends = await Promise.allSettled([lost(), ...[nowhere, queue, nowhere, nowhere, queue].map(publish), lost()])
  outing.equal(
    ends.map(({ status }) => status === 'fulfilled'),
    [true, false, true, false, false, true, true],
    'which of some messages that are alike arrived',
  )
  // One whose caller waits for nothing comes back while another waits, which has a queue by then.
  const returns: string[] = []
  channel.returnCallback = (_channel, _body, { routingKey }) => void returns.push(routingKey)
  const asking = await outing.channel()
  const sent = channel.basicPublish('alike', '', nowhere, { replyTo }, { mandatory: true })
  const declared = asking.queueDeclare(nowhere)
  outing.keep({ close: () => outing.protocol.queueDelete(nowhere) })
  const taken = publish(nowhere).then(
    () => 'taken',
    (error: unknown) => `${error}`,
  )
  await Promise.all([sent, declared])
  outing.equal(await taken, 'taken', 'a message whose likeness came back')
  outing.equal(returns, [nowhere], 'what came back of messages that are alike')
}

/** Calls of one kind at the same time have each its own answer, and a call after one that was answered its own time. */
export const manyCalls: Errand = async outing => {
  const own = await outing.connect({ rpcTimeout: 1_000, heartbeat: 0 })
  const channel = await own.protocol.channel()
  const queues = [await outing.queue(), await outing.queue(), await outing.queue(), await outing.queue()]
  const names = await Promise.all(
    queues.map(queue => channel.queueDeclare(queue, { passive: true }).then(({ queue: name }) => name)),
  )
  outing.equal(names, queues, 'the answers of calls at the same time')
  for (let n = 0; n < 20; n++) {
    const ask = async (queue = ''): Promise<string> =>
      (await channel.queueDeclare(queue, { passive: true, timeout: 5_000 })).queue
    const first = ask(queues[0])
    // It may reject before anything waits for it.
    first.catch(ignore)
    await outing.sleep(0)
    const all = [first, ask(queues[1]), ask(queues[2]), first.then(() => ask(queues[3]))]
    outing.equal(await Promise.all(all), queues, 'the answers of calls, some of which follow others')
  }
  await channel.queueDeclare(queues[0] ?? '', { passive: true })
  own.freeze()
  const began = outing.clock.now()
  const asked = channel.queueDeclare(queues[1] ?? '', { passive: true })
  const ended = outing.failure(asked, 'TimeoutError', 'a call without an answer')
  await Promise.race([ended, outing.sleep(5_000)])
  outing.took(began, 1_000, 1_100, 'a call without an answer')
  own.thaw()
}

/** A message that was asked for is over with its connection, as one that was delivered is. */
export const oldGets: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const queue = await outing.queue()
  await outing.publish(queue, '1', '2')
  const channel = await own.protocol.channel()
  const old = [await channel.basicGet(queue), await channel.basicGet(queue)]
  await lose(outing, own)
  const got = [await channel.basicGet(queue), await channel.basicGet(queue)]
  for (const each of old)
    outing.equal(await channel.basicClientAck(each?.envelope.deliveryTag ?? 1), false, 'an ack of before the loss')
  await channel.close()
  await outing.holds(queue, 2, 'messages that no ack was for')
  outing.equal(got.map(each => each?.body.toString()).sort(), ['1', '2'], 'the messages after the loss')
}

/** A message that is too large goes where the queue's dead letters go, and those after it come. */
export const tooLarge: Errand = async outing => {
  const dead = await outing.queue()
  const queue = await outing.queue({ arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead } })
  const { protocol } = await outing.connect({ maxMessageSize: 20_000 })
  for (const text of ['before', 'x'.repeat(20_001), 'after', 'y'.repeat(20_000), 'last'])
    await outing.protocol.publish(text, '', queue)
  const consumer = await protocol.consumer(queue)
  const sizes: unknown[] = []
  for (let n = 0; n < 4; n++) {
    const { value } = await consumer.next({ timeout: 5_000 })
    sizes.push(value?.body.length)
    value?.ack()
  }
  outing.equal(sizes, [6, 5, 20_000, 4], 'the sizes of messages beside one that is too large')
  await outing.holds(dead, 1, 'messages that were too large')
  await consumer.close()
  // One that is asked for, too, and the next call has its own answer.
  const channel = await protocol.channel()
  for (const text of ['z'.repeat(20_001), 'next']) await outing.protocol.publish(text, '', queue)
  await outing.failure(channel.basicGet(queue), 'ProtocolError', 'a message that is too large')
  // If the errand is disturbed, one of those before may have come again.
  const next = await channel.basicGet(queue).catch(() => null)
  outing.equal(next?.body.toString(), 'next', 'the message after it')
  await channel.basicClientAck(next?.envelope.deliveryTag ?? 0)
  await outing.holds(dead, 2, 'messages that were too large')
}

/** A password function that fails: the token that is still good serves for the next login. */
export const failedToken: Errand = async outing => {
  let asked = 0
  const password = () => {
    if (++asked > 1) throw new Error('no token today')
    return { password: outing.password, expiresAt: outing.clock.wallTime() + 20_000 }
  }
  const own = await outing.connect({ password, recovery: { ...QUICK, maxAttempts: 1 } })
  await outing.sleep(17_000)
  outing.expect(asked > 1, 'no token is asked for before the last one expires')
  await lose(outing, own)
  outing.equal(own.protocol.state, 'open', 'the state after a loss')
}
