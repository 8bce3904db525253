import type { Channel, Message } from '../../../src/index.ts'
import type { Errand, Outing, OwnConnection } from './errand.ts'

export const QUICK = { initialDelay: 1, jitter: 0 } as const

/** Lose the connection, and wait until it is there again. */
export async function lose(outing: Outing, { protocol, cut }: OwnConnection): Promise<void> {
  const recovered = new Promise<void>(resolve => protocol.once('recovered', () => resolve()))
  cut()
  await Promise.race([recovered, outing.sleep(20_000)])
}

/** Lose the connection, do `work` while it cannot come back, and wait until it is there again. */
export async function loseDuring<T>(
  outing: Outing,
  { protocol, cut, refuse }: OwnConnection,
  work: () => Promise<T>,
): Promise<T> {
  refuse(true)
  cut()
  await outing.sleep(50)
  const result = await work()
  refuse(false)
  await protocol.ready({ timeout: 20_000 })
  return result
}

/** Whether a message by that key reaches a queue. */
export async function reaches(
  { protocol }: OwnConnection,
  exchange: string,
  key: string,
  headers = {},
): Promise<boolean> {
  const sent = protocol.publish('x', exchange, key, { headers }, { mandatory: true, timeout: 10_000 })
  return sent.then(
    () => true,
    (error: Error) => {
      if (error.name !== 'MessageReturnedError') throw error
      return false
    },
  )
}

/** What was made and not undone is there again after a loss, and nothing else: what was undone stays so. */
export const topology: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const [first, second] = [`${outing.name} first`, `${outing.name} second`]
  const exclusive = { exclusive: true, arguments: { 'x-max-length': 100 } }
  const back = await outing.exchange('direct')
  const front = await outing.exchange('direct')
  await protocol.queueDeclare(first, exclusive)
  await protocol.queueDeclare(second, exclusive)
  for (const key of ['a', 'b', 'c']) await protocol.queueBind(first, back, key)
  await protocol.queueBind(second, back, 'd')
  await protocol.exchangeBind(back, front, 'e')
  await protocol.queueBind(first, back, 'e')
  await protocol.queueUnbind(first, back, 'b')
  const { queue: named } = await protocol.queueDeclare()
  // Of two, one is undone: the other one stays known.
  for (const key of ['m', 'n']) await protocol.queueBind(named, back, key)
  await protocol.queueUnbind(named, back, 'm')
  const gone = `${outing.name} gone`
  await protocol.queueDeclare(gone, exclusive)
  for (const key of ['f', 'g']) await protocol.queueBind(gone, back, key)
  await protocol.queueUnbind(gone, back, 'f')
  await protocol.queueDelete(gone)
  await protocol.queueDeclare(gone, exclusive)
  // Both were deleted, and declared again: nothing is bound to them.
  const again = `${outing.name} again`
  await outing.protocol.exchangeDeclare(again, 'direct')
  outing.keep({ close: () => outing.protocol.exchangeDelete(again) })
  await protocol.exchangeDeclare(again, 'direct')
  for (const key of ['j', 'k']) await protocol.queueBind(first, again, key)
  await protocol.queueUnbind(first, again, 'j')
  await protocol.exchangeDelete(again)
  await protocol.exchangeDeclare(again, 'direct')
  let renamed = named
  protocol.on('queueRenamed', (oldName, newName) => {
    if (oldName === renamed) renamed = newName
  })
  for (let round = 1; round <= 2; round++) {
    await lose(outing, own)
    if (round === 2) await protocol.exchangeUnbind(back, front, 'e')
    const routes: [exchange: string, key: string, is: boolean][] = [
      [back, 'a', true],
      [back, 'b', false],
      [back, 'c', true],
      [back, 'd', true],
      [back, 'm', false],
      [back, 'n', true],
      [back, 'g', false],
      [front, 'e', round === 1],
      [again, 'k', false],
    ]
    for (const [exchange, key, is] of routes)
      outing.equal(await reaches(own, exchange, key), is, `whether ${key} reaches a queue after loss ${round}`)
    const there = await protocol.queueDeclare(first, { passive: true })
    outing.equal(there.messageCount, round === 1 ? 3 : 2, `messages of the queue after loss ${round}`)
    outing.expect(renamed !== named, 'the queue that the broker named has its old name')
    await protocol.queueDeclare(renamed, { passive: true })
    // Declared as it was: other arguments would be refused.
    await protocol.queueDeclare(first, exclusive)
  }
  await protocol.queueDelete(second)
  await lose(outing, own)
  outing.expect(!(await reaches(own, back, 'd')), 'a queue that was deleted is there again')
  outing.expect(!(await reaches(own, front, 'e')), 'a binding between exchanges that was undone is there again')
}

/** A consumer goes on after a loss, with its limit, its tag and its place; what it had in hand comes again, and says so. */
export const consumers: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const queue = await outing.queue()
  const channel = await protocol.channel()
  await channel.basicQos({ prefetchCount: 2 })
  const seen: { text: string; tag: number; on: Channel; again: boolean }[] = []
  const { consumerTag } = await channel.basicConsume(
    (on, body, { deliveryTag, consumerTag: tag, isRedeliver }) => {
      outing.equal(tag, consumerTag, 'the tag of a consumer')
      seen.push({ text: body.toString(), tag: deliveryTag, on, again: isRedeliver })
    },
    queue,
    { consumerTag: 'mine' },
  )
  const intent = await protocol.consumer(await outing.queue(), { prefetchCount: 1 })
  let isEnded = false
  intent.once('closed', () => {
    isEnded = true
  })
  await outing.publish(queue, '1', '2', '3', '4')
  await outing.until(() => seen.length === 2, 'two messages')
  const [one, two] = seen
  outing.equal(await one?.on.basicClientAck(one.tag), true, 'an ack before the loss')
  await outing.until(() => seen.length === 3, 'three messages')
  await lose(outing, own)
  await outing.until(() => seen.length === 5, 'two messages after the loss')
  await outing.sleep(20)
  outing.equal(
    seen.map(({ text, again }) => `${text}${again ? ' again' : ''}`),
    ['1', '2', '3', '2 again', '3 again'],
    'the messages',
  )
  outing.equal(await two?.on.basicClientAck(two.tag, { multiple: true }), false, 'an ack of before the loss')
  own.refuse(true)
  own.cut()
  await outing.sleep(5)
  const ack = two?.on.basicClientAck(two.tag).catch((error: Error) => error.message)
  outing.equal(await ack, false, 'an ack while there is no connection')
  own.refuse(false)
  await protocol.ready({ timeout: 20_000 })
  await outing.until(() => seen.length === 7, 'two messages after another loss')
  const tags = seen.map(({ tag }) => tag)
  outing.expect(
    tags.every((tag, n) => tag > (tags[n - 1] ?? 0)),
    `the tags ${tags} do not rise`,
  )
  const last = seen.at(-1)
  outing.equal(await last?.on.basicClientAck(last.tag, { multiple: true }), true, 'an ack of many after the loss')
  await outing.until(() => seen.length === 8, 'the last message')
  await channel.basicCancel(consumerTag)
  await lose(outing, own)
  await outing.publish(queue, '5')
  await outing.sleep(100)
  outing.equal(seen.length, 8, 'messages of a consumer that was cancelled')
  await outing.holds(queue, 2, 'messages that wait')
  outing.expect(!isEnded, 'a consumer was closed by a loss')
}

/** What is in hand when the connection is lost learns of it, and is not settled any more. */
export const inHand: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const queue = await outing.queue()
  const consumer = await own.protocol.consumer(queue, { prefetchCount: 2 })
  await outing.publish(queue, '1', '2', '3')
  const taken: Message[] = []
  for (let n = 0; n < 2; n++) {
    const { value } = await consumer.next({ timeout: 5_000 })
    if (value !== undefined) taken.push(value)
  }
  const [one, two] = taken
  outing.expect(one?.ack() === true, 'a message cannot be acked')
  const { signal } = two ?? {}
  await outing.sleep(20)
  await lose(outing, own)
  outing.expect(signal?.aborted === true, 'a message of a lost connection does not learn of it')
  outing.expect(two?.ack() === false, 'a message of a lost connection can be acked')
  const after: string[] = []
  for (let n = 0; n < 2; n++) {
    const { value } = await consumer.next({ timeout: 5_000 })
    after.push(`${value?.text()} ${value?.envelope.isRedeliver}`)
    value?.ack()
  }
  outing.equal(after[0], '2 true', 'what comes again')
  outing.expect(after[1]?.startsWith('3 ') === true, `after it comes ${after[1]}`)
  await consumer.close()
  await outing.holds(queue, 0, 'messages that are left')
}

/** What was published and not confirmed when the connection was lost is sent again, before anything newer. */
export const resent: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const queue = await outing.queue()
  const publisher = await protocol.publisher({ maxInFlight: 3 })
  const channel = await protocol.channel({ publisherConfirms: true })
  const sent = ['1', '2', '3', '4', '5'].map(text => outing.meanwhile(publisher.publish(text, queue)))
  const single = outing.meanwhile(channel.publish('c1', '', queue))
  await outing.sleep(0)
  const recovered = lose(outing, own)
  sent.push(outing.meanwhile(publisher.publish('6', queue)))
  await single.catch(() => {})
  await Promise.all(sent)
  await recovered
  await channel.publish('c2', '', queue)
  const texts = await outing.takeAll(queue)
  const firsts = [...new Set(texts)].filter(text => !text.startsWith('c'))
  outing.equal(firsts, ['1', '2', '3', '4', '5', '6'], 'the order of what was sent again')
  outing.expect(texts.includes('c2'), 'a channel with confirms does not go on')
  outing.equal(publisher.stats().unconfirmed, 0, 'messages in flight')
  // One whose memory was transferred away cannot be sent again, and may have arrived.
  const body = Buffer.from(new ArrayBuffer(20_000))
  own.freeze('toClient')
  const gone = outing.failure(publisher.publish(body, queue), 'EncodeError', 'a message whose memory is gone')
  await outing.sleep(20)
  structuredClone(body.buffer, { transfer: [body.buffer] })
  own.cut()
  outing.equal((await gone).outcome, 'unknown', 'the outcome of a message whose memory is gone')
}

/** A transaction that a loss has broken must be rolled back before the next one. */
export const brokenTransaction: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const queue = await outing.queue()
  const channel = await own.protocol.channel()
  await channel.txSelect()
  await channel.basicPublish('1', '', queue)
  await outing.sleep(5)
  await lose(outing, own)
  const commit = await channel.txCommit().then(
    () => undefined,
    (error: unknown) => error as Error,
  )
  outing.expect(commit !== undefined, 'a transaction that was broken is committed')
  await channel.txRollback()
  await channel.basicPublish('2', '', queue)
  await channel.txCommit()
  outing.equal(await outing.takeAll(queue), ['2'], 'what was committed')
}
