import type { Channel, Envelope } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, loseDuring, QUICK } from './recoveries.ts'

/** Consumers that a recovery asks for at once when one was refused. */
const TOGETHER = 20

/** A transaction that a loss breaks is over: nothing of it is there, what waited in it neither, and the next one is whole. */
export const brokenTransactions: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const queue = 'units'
  await protocol.queueDeclare(queue)
  const channel = await protocol.channel()
  const fail = async (promise: Promise<unknown>, what: string) =>
    outing.failure(promise, 'ConnectionLostError', `${what} of a transaction that a loss broke`)
  // What calls it again within a transaction changes nothing.
  await channel.txSelect()
  await channel.basicPublish('1', '', queue)
  await channel.txSelect()
  await lose(outing, own)
  await fail(channel.txCommit(), 'the commit')
  await channel.txRollback()
  // An ack alone is one, too.
  await protocol.queueDeclare('acked')
  await protocol.publish('', '', 'acked')
  const got = await channel.basicGet('acked')
  await channel.basicClientAck(got?.envelope.deliveryTag ?? 0)
  await lose(outing, own)
  await fail(channel.txCommit(), 'the commit of an ack')
  await channel.txRollback()
  outing.equal(control.evidence().queued.get('acked')?.length, 1, 'messages whose ack was not committed')
  // By one call for all of it: the next one begins by itself.
  const broken = channel.transaction(async inside => {
    await inside.publish('2', '', queue)
    await lose(outing, own)
    await inside.publish('3', '', queue)
  })
  await fail(broken, 'the work')
  await channel.transaction(inside => inside.publish('4', '', queue))
  // What waits for a broker that blocks is a part of its transaction.
  await channel.publish('5', '', queue)
  control.block('low on memory')
  await channel.publish('6', '', queue)
  await outing.until(() => protocol.blocked !== undefined, 'the block', 2_000)
  const waits = outing.meanwhile(channel.publish('7', '', queue))
  await outing.sleep(5)
  control.unblock()
  own.cut()
  const { outcome = '' } = await fail(waits, 'a publish')
  outing.expect(
    ['notSent', 'unknown'].includes(outcome),
    `a publish of a broken transaction has the outcome ${outcome}`,
  )
  await channel.txRollback()
  await protocol.ready({ timeout: 20_000 })
  await channel.publish('8', '', queue)
  await channel.txCommit()
  outing.equal(control.evidence().queued.get(queue)?.length, 2, 'messages of transactions that were committed')
  const texts: (string | undefined)[] = []
  for (let n = 0; n < 3; n++) texts.push((await channel.basicGet(queue, { noAck: true }))?.body.toString())
  outing.equal(texts, ['4', '8', undefined], 'what was committed')
}

/** A commit takes all that was published before it, though it still waits; and a transaction that fails leaves nothing. */
export const wholeTransactions: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const queue = 'wholes'
  await protocol.queueDeclare(queue)
  const { openChannels } = protocol.stats()
  for (let n = 0; n < 3; n++)
    await outing.failure(
      protocol.transaction(async inside => {
        await inside.publish('no', '', queue)
        throw new RangeError('the work failed')
      }),
      'RangeError',
      'a transaction whose work fails',
    )
  await outing.sleep(20)
  outing.equal(protocol.stats().openChannels, openChannels, 'channels after transactions that failed')
  const count = (): number => control.evidence().queued.get(queue)?.length ?? 0
  const channel = await protocol.channel()
  await channel.txSelect()
  for (const isLost of [false, true]) {
    const before = count()
    control.block('low on memory')
    // The broker says so when something is published.
    await protocol.publish('x', '', queue, {}, { timeout: 1 }).catch(() => {})
    await outing.until(() => protocol.blocked !== undefined, 'the block', 2_000)
    if (isLost) own.cut()
    const sent = ['1', '2', '3'].map(text => outing.meanwhile(channel.publish(text, '', queue)))
    const committed = outing.meanwhile(channel.txCommit().then(() => 'committed'))
    await outing.sleep(200)
    const isCommitted = (await Promise.race([committed, outing.sleep(1)])) === 'committed'
    outing.expect(!isCommitted || count() >= before + 3, 'a commit overtook publishes that wait')
    control.unblock()
    await Promise.all(sent)
    await committed
    outing.expect(count() >= before + 3, `a commit left ${before + 3 - count()} publishes out`)
  }
  // What it publishes to is there again, and the broker blocks by then.
  const other = await connect()
  await protocol.queueDeclare('locked', { exclusive: true })
  own.refuse(true)
  own.cut()
  await outing.sleep(20)
  await other.protocol.queueDeclare('locked', { exclusive: true })
  control.block('low on memory')
  const first = outing.meanwhile(protocol.publish('x', '', queue, {}, { timeout: 30_000 }))
  const sent = ['1', '2', '3'].map(text => outing.meanwhile(channel.publish(text, '', 'locked')))
  const committed = outing.meanwhile(channel.txCommit().then(() => 'committed'))
  own.refuse(false)
  await outing.sleep(200)
  await other.protocol.queueDelete('locked')
  await outing.sleep(3_000)
  const early = await Promise.race([committed, outing.sleep(1)])
  outing.equal(early, undefined, 'a commit while the broker blocks what it is for')
  control.unblock()
  await Promise.all([first, ...sent, committed])
  const arrived = control.evidence().queued.get('locked')?.length
  outing.equal(arrived, 3, 'messages of a commit that waited for its queue')
}

/**
 * The broker drops a transaction with its channel, also during a recovery, over another consumer of the channel: it is over
 * then, as one that was lost with the connection, and no commit takes the rest for the whole.
 */
export const droppedTransactions: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const other = await (await connect()).protocol.channel()
  for (const queue of ['first', 'input', 'others', 'last', 'output']) await other.queueDeclare(queue)
  const channel = await protocol.channel()
  await channel.txSelect()
  const units: string[] = []
  const work = async (on: Channel, body: Buffer, { deliveryTag }: Envelope): Promise<void> => {
    await on.basicClientAck(deliveryTag)
    await on.publish(body, '', 'output')
    await on.txCommit()
  }
  // As many go together after a refusal; the next one is asked for when these are there.
  const queues = ['first', 'input', ...Array.from({ length: TOGETHER - 1 }, () => 'others'), 'last']
  for (const queue of queues)
    await channel.basicConsume(async (on, body, envelope) => {
      const done = work(on, body, envelope)
      units.push(await done.then(() => 'committed').catch((error: Error) => error.name))
      if (units.at(-1) !== 'committed') await on.txRollback()
    }, queue)
  await loseDuring(outing, own, async () => {
    for (const queue of ['first', 'last']) await other.basicConsume(() => {}, queue, { exclusive: true })
    await other.basicPublish('x', '', 'input')
  })
  await outing.until(() => units.includes('committed'), 'a unit of work that is committed')
  const committed = units.filter(unit => unit === 'committed').length
  outing.equal(control.evidence().queued.get('output')?.length, committed, 'what units of work published')
  outing.equal(control.evidence().queued.get('input')?.length, 0, 'messages whose unit of work was committed')
  outing.equal(units, ['ConnectionLostError', 'committed'], 'units of work')
}

/** Callbacks that run at the same time commit on one channel: each commit waits for the answer to the one before, and so does all else. */
export const commitsTogether: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect({ recovery: false })
  for (const queue of ['input', 'output']) await protocol.queueDeclare(queue)
  const channel = await protocol.channel()
  await channel.txSelect()
  await channel.basicQos({ prefetchCount: 5 })
  let committed = 0
  await channel.basicConsume(async (on, body, { deliveryTag }) => {
    await on.basicPublish(body, '', 'output', { deliveryMode: 2 })
    await on.basicClientAck(deliveryTag)
    await on.txCommit()
    committed++
  }, 'input')
  for (let n = 1; n <= 20; n++) await protocol.publish(`${n}`, '', 'input')
  await outing.until(() => committed === 20, 'the commits', 20_000)
  outing.equal(control.evidence().queued.get('output')?.length, 20, 'messages that were committed')
  // An ack, and what is published, with the next commit of another.
  await protocol.publish('a', '', 'output')
  const got = await channel.basicGet('output')
  const settled = [channel.basicPublish('b', '', 'output'), channel.txCommit()]
  settled.push(channel.basicClientAck(got?.envelope.deliveryTag ?? 0).then(() => {}))
  settled.push(channel.basicPublish('c', '', 'output'), channel.txCommit())
  await Promise.all(settled)
  outing.equal(control.evidence().queued.get('output')?.length, 22, 'messages after both commits')
}
