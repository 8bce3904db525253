import type { Errand } from './errand.ts'
import { lose } from './recoveries.ts'

/** The methods of a channel, one after the other. */
export const channelMethods: Errand = async outing => {
  const queue = await outing.queue()
  const channel = outing.keep(await outing.protocol.channel())
  await channel.confirmSelect()
  for (const text of ['1', '2', '3', '4', '5', '6']) await channel.basicPublish(text, '', queue)
  await channel.waitForConfirms()
  const tags: number[] = []
  for (let n = 0; n < 4; n++) {
    const got = await channel.basicGet(queue)
    tags.push(got?.envelope.deliveryTag ?? 0)
    outing.equal(got?.body.toString(), `${n + 1}`, 'a message that was asked for')
  }
  const [one = 0, two = 0, three = 0, four = 0] = tags
  await channel.basicClientNack(two, { requeue: false })
  await channel.basicReject(one)
  await channel.basicClientNack(four, { multiple: true, requeue: true })
  outing.expect(three < four, `tag ${three} came before ${four}`)
  await outing.holds(queue, 4, 'messages that went back')
  for (let n = 0; n < 2; n++) await channel.basicGet(queue)
  await channel.basicRecover({ requeue: true })
  await outing.holds(queue, 4, 'messages after a recover')
  const purged = await channel.queuePurge(queue)
  outing.equal(purged.messageCount, 4, 'messages that were purged')
  outing.equal(await channel.basicGet(queue), null, 'an empty queue')
  const { active } = await channel.flow(true)
  outing.expect(active, 'the flow of a channel')
}

/** A transaction of a channel is all or nothing. */
export const channelTransaction: Errand = async outing => {
  const queue = await outing.queue()
  const channel = outing.keep(await outing.protocol.channel())
  const result = await channel.transaction(async inside => {
    await inside.basicPublish('1', '', queue)
    await inside.basicPublish('2', '', queue)
    return 'done'
  })
  outing.equal(result, 'done', 'the result of a transaction')
  await outing.failure(
    channel.transaction(async inside => {
      await inside.basicPublish('3', '', queue)
      throw new RangeError('the work failed')
    }),
    'RangeError',
    'a transaction whose work fails',
  )
  const got = await channel.basicGet(queue)
  await channel.basicClientAck(got?.envelope.deliveryTag ?? 0)
  await channel.txRollback()
  await channel.close()
  await outing.holds(queue, 2, 'messages after a rollback')
  outing.equal(await outing.takeAll(queue), ['1', '2'], 'what was committed')
}

/** A consumer has as many messages as its limit says, and an ack of many makes room for more. */
export const channelLimit: Errand = async outing => {
  const queue = await outing.queue()
  const channel = outing.keep(await outing.protocol.channel())
  // The broker takes the one for the other.
  await channel.basicQos({ prefetchCount: 3, connectionGlobal: outing.number % 2 === 0 })
  const tags: number[] = []
  const { consumerTag } = await channel.basicConsume(
    (_channel, _body, { deliveryTag }) => void tags.push(deliveryTag),
    queue,
  )
  await outing.publish(queue, '1', '2', '3', '4', '5', '6', '7')
  await outing.until(() => tags.length >= 3, 'three messages')
  await outing.sleep(50)
  outing.equal(tags.length, 3, 'messages within the limit of a channel')
  await channel.basicClientAck(tags[1] ?? 0, { multiple: true })
  await outing.until(() => tags.length >= 5, 'two more')
  await outing.sleep(50)
  outing.equal(tags.length, 5, 'messages after an ack of two')
  await channel.basicCancel(consumerTag)
  await channel.close()
  await outing.holds(queue, 5, 'messages that go back when a channel is closed')
}

/** What waits for a callback when its consumer is cancelled, or its channel closed, goes back, and so does what comes after that. */
export const cancelled: Errand = async outing => {
  const queue = await outing.queue()
  const own = await outing.connect()
  const channel = await own.protocol.channel()
  const isClosed = outing.number % 2 === 0
  await channel.basicQos({ prefetchCount: 4 })
  const seen: string[] = []
  const { consumerTag } = await channel.basicConsume(
    async (on, body, { deliveryTag }) => {
      seen.push(body.toString())
      await outing.sleep(200)
      const isAcked = await on.basicClientAck(deliveryTag).catch(() => false)
      outing.equal(isAcked, !isClosed, 'whether a message in hand can be acked after the end of its consumer')
    },
    queue,
    { concurrency: 1 },
  )
  await outing.publish(queue, '1', '2', '3', '4', '5')
  const late = await outing.queue()
  await channel.basicConsume((_channel, body) => void seen.push(body.toString()), late)
  await outing.until(() => seen.length === 1, 'a message')
  await outing.sleep(20)
  own.freeze()
  if (isClosed) await outing.publish(late, 'late')
  const ended = outing.meanwhile<unknown>(isClosed ? channel.close() : channel.basicCancel(consumerTag))
  // The callback that runs ends before the broker agrees.
  await outing.sleep(isClosed ? 300 : 5)
  own.thaw()
  await ended
  await outing.sleep(300)
  outing.equal(seen, ['1'], 'callbacks of a consumer that has ended')
  await outing.holds(queue, isClosed ? 5 : 4, 'messages that go back')
  outing.equal(channel.isOpen, !isClosed, 'whether the channel is open')
  await outing.holds(late, isClosed ? 1 : 0, 'messages that came after the end')
}

/** A tag may be taken again at once: what ends the consumer before leaves the next one alone. */
export const tagAgain: Errand = async outing => {
  const [first, second] = [await outing.queue(), await outing.queue()]
  const channel = outing.keep(await outing.protocol.channel())
  const seen: string[] = []
  const see = (name: string) => (_channel: unknown, body: Buffer) => void seen.push(`${name} ${body.toString()}`)
  const options = { consumerTag: 'tag', noAck: true }
  await channel.basicConsume(see('first'), first, options)
  await outing.publish(first, '1')
  await outing.until(() => seen.length === 1, 'a message')
  const cancelled = channel.basicCancel('tag')
  const consumed = channel.basicConsume(see('second'), second, options)
  await Promise.all([cancelled, consumed])
  await outing.publish(second, '2')
  await outing.publish(first, '3')
  await outing.until(() => seen.length === 2, 'a message of the second')
  await outing.sleep(20)
  outing.equal(seen, ['first 1', 'second 2'], 'the messages')
  outing.equal(await outing.takeAll(first), ['3'], 'what no consumer takes')
  await outing.failure(channel.basicConsume(see('third'), first, options), 'DuplicateConsumerTagError', 'a tag in use')
}

/** The broker ends a consumer while the program does: the next consumer of that tag is left alone. */
export const endedTwice: Errand = async outing => {
  const [first, second] = [await outing.queue(), await outing.queue()]
  const own = await outing.connect()
  const channel = await own.protocol.channel()
  const options = { consumerTag: 'tag', noAck: true }
  await channel.basicConsume(() => outing.expect(false, 'a message of a queue that is empty'), first, options)
  const seen: string[] = []
  let consumed: Promise<unknown> | undefined
  channel.addCancellationCallback(() => {
    const again = channel.basicConsume((_channel, body) => void seen.push(body.toString()), second, options)
    consumed ??= outing.meanwhile(again)
  })
  const told: string[] = []
  channel.addCancellationCallback((_channel, tag) => void told.push(tag))
  own.freeze()
  const cancelled = channel.basicCancel('tag')
  const ended = outing.meanwhile(cancelled)
  await outing.sleep(5)
  await outing.protocol.queueDelete(first)
  await outing.sleep(5)
  own.thaw()
  await ended
  await outing.until(() => consumed !== undefined, 'the event of a consumer that the broker ended', 1_000)
  outing.equal(told, ['tag'], 'what the second callback learns of it')
  await consumed
  await outing.publish(second, '1')
  await outing.until(() => seen.length === 1, 'a message of the next consumer', 1_000)
  await lose(outing, own)
  await outing.publish(second, '2')
  await outing.until(() => seen.length === 2, 'a message of the next consumer after a loss', 1_000)
}

/** A consumer that the program has cancelled, without waiting for it, is not reported if the broker ends it, too, and what comes then goes back. */
export const endedByBoth: Errand = async outing => {
  const [first, second] = [await outing.queue(), await outing.queue()]
  const own = await outing.connect()
  const channel = await own.protocol.channel()
  const ends: string[] = []
  channel.addCancellationCallback((_channel, tag) => void ends.push(tag))
  const { consumerTag } = await channel.basicConsume(() => {}, first)
  const third = await outing.queue()
  const late = await channel.basicConsume(() => outing.expect(false, 'a message after the cancel'), third)
  own.freeze()
  await outing.publish(third, '1', '2')
  await channel.basicCancel(consumerTag, { noWait: true })
  await channel.basicCancel(late.consumerTag, { noWait: true })
  await outing.sleep(5)
  await outing.protocol.queueDelete(first)
  await outing.sleep(5)
  own.thaw()
  await channel.queueDeclare(second, { passive: true })
  await outing.sleep(50)
  outing.equal(ends, [], 'ends of a consumer that the program had cancelled')
  await outing.holds(third, 2, 'messages that came after a cancel')
}

/** The broker ends a consumer whose start the program has given up. */
export const endedUnborn: Errand = async outing => {
  const [first, second] = [await outing.queue(), await outing.queue()]
  const own = await outing.connect()
  const channel = await own.protocol.channel()
  let losses = 0
  own.protocol.on('disconnected', () => losses++)
  const signal = outing.signalAfter(20)
  const consumed = channel.basicConsume(() => {}, first, { signal }).catch(() => {})
  await outing.sleep(1)
  own.freeze()
  await consumed
  await outing.protocol.queueDelete(first)
  await outing.sleep(5)
  own.thaw()
  // If the broker learned of it only now, there is no such queue, and the channel is over.
  await channel.queueDeclare(second, { passive: true }).catch(() => {})
  outing.equal(losses, 0, 'losses')
}

/** Many messages are in flight at the same time, and each has its own confirm. */
export const manyInFlight: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect()
  const queue = 'many'
  await protocol.queueDeclare(queue)
  const channel = await protocol.channel({ publisherConfirms: true })
  const all = Array.from({ length: 400 }, (_, n) => `${n}`)
  let confirmed = 0
  // The oldest of them is confirmed last.
  control.leaveUnconfirmed('first')
  let isFirst = false
  const first = channel.publish('first', '', queue, { messageId: 'first' }).then(() => {
    isFirst = true
  })
  // What was confirmed leaves a gap before the next ones.
  for (let wave = 0; wave < 3; wave++)
    await Promise.all(Array.from({ length: 100 }, () => channel.publish('', '', queue)))
  const sent = all.map(text => channel.publish(text, '', queue).then(() => confirmed++))
  await Promise.race([Promise.all(sent), outing.sleep(20_000)])
  outing.equal(confirmed, all.length, 'confirms')
  let isWaiting = true
  const waited = channel.waitForConfirms({ timeout: 5_000 }).then(() => {
    isWaiting = false
  })
  await outing.sleep(100)
  outing.equal(
    [isFirst, isWaiting],
    [false, true],
    'whether the oldest is confirmed, and whether a wait for it goes on',
  )
  control.releaseConfirms()
  await Promise.all([first, waited])
  outing.equal((await protocol.queueDeclare(queue, { passive: true })).messageCount, all.length + 301, 'messages')
}

/** What comes back goes to the callback of its channel. */
export const returns: Errand = async outing => {
  const queue = await outing.queue()
  const back: string[] = []
  const channel = outing.keep(
    await outing.protocol.channel({
      publisherConfirms: true,
      returnCallback: (_channel, body, { replyCode, routingKey }) =>
        void back.push(`${replyCode} ${routingKey} ${body.toString()}`),
    }),
  )
  await channel.basicPublish('1', '', `${queue} none`, {}, { mandatory: true })
  await channel.basicPublish('2', '', queue, {}, { mandatory: true })
  await channel.waitForConfirms().catch(() => {})
  await outing.until(() => back.length > 0, 'a return', 2_000)
  outing.equal(back, [`312 ${queue} none 1`], 'what comes back')
  const failed = channel.publish('3', '', `${queue} none`, {}, { mandatory: true })
  await outing.failure(failed, 'MessageReturnedError', 'a publish that comes back')
  outing.equal(await outing.takeAll(queue), ['2'], 'what arrives')
}
