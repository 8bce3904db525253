import type { AmqpProtocol } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

const SOON = { timeout: 20_000 }

/** The texts of all messages of a queue of an errand's own broker, in order. */
export async function textsOf(protocol: AmqpProtocol, queue: string): Promise<string[]> {
  const channel = await protocol.channel()
  const texts: string[] = []
  for (let got = await channel.basicGet(queue); got !== null; got = await channel.basicGet(queue))
    texts.push(got.body.toString())
  return texts
}

/** What a queue nacks just after a loss is sent again, in the order of the publishes. */
export const nacksAfterLoss: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const queue = 'nacked'
  await protocol.queueDeclare(queue)
  const publisher = await protocol.publisher()
  await publisher.publish('0', queue, {}, SOON)
  const recovered = new Promise<void>(resolve => protocol.once('recovered', () => resolve()))
  own.cut()
  await recovered
  control.withholdConfirms()
  const first = ['1', '2', '3'].map(text => outing.meanwhile(publisher.publish(text, queue, {}, SOON)))
  await outing.sleep(10)
  control.nackNext(2)
  const second = ['4', '5', '6', '7'].map(text => outing.meanwhile(publisher.publish(text, queue, {}, SOON)))
  await outing.sleep(10)
  // Some of what is in flight is nacked, and the rest is lost with its connection.
  own.cut()
  control.releaseConfirms()
  await Promise.all([...first, ...second])
  outing.equal(
    (await textsOf(protocol, queue)).slice(-7),
    ['1', '2', '3', '4', '5', '6', '7'],
    'the order of what was sent again',
  )
}

/** What is lost twice, the second time while a part of it waits for a queue that is locked, keeps its order. */
export const lostTwice: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const [queue, locked] = [await outing.queue(), `${outing.name} locked`]
  await protocol.queueDeclare(locked, { exclusive: true })
  const publisher = await protocol.publisher()
  await publisher.publish('0', queue, {}, SOON)
  own.freeze('toServer')
  const sent = ['1', 'apart', '2'].map(text =>
    outing.meanwhile(publisher.publish(text, text === 'apart' ? locked : queue, {}, SOON)),
  )
  await outing.sleep(5)
  own.refuse(true)
  own.cut()
  await outing.sleep(20)
  await outing.protocol.queueDeclare(locked, { exclusive: true })
  const isSentAgain = new Promise<void>(resolve => publisher.once('resent', () => resolve()))
  own.refuse(false)
  await Promise.race([isSentAgain, outing.sleep(10_000)])
  // What has left now is lost, too.
  own.cut()
  await outing.protocol.queueDelete(locked)
  await Promise.all(sent)
  const texts = await outing.takeAll(queue)
  outing.equal([...new Set(texts)], ['0', '1', '2'], 'the order of what was lost twice')
}

/** What the broker leaves without an answer on one channel is sent again by another, in order and before anything newer. */
export const silentChannel: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect({ onError: () => {} })
  const queue = 'silent'
  await protocol.queueDeclare(queue)
  const publisher = await protocol.publisher()
  await publisher.publish('0', queue, { messageId: '0' }, SOON)
  control.withholdConfirms()
  const sent = ['1', '2', '3'].map(text => outing.meanwhile(publisher.publish(text, queue, { messageId: text })))
  await outing.until(() => control.evidence().arrived.length === 7, 'each message once more', 61_000)
  sent.push(outing.meanwhile(publisher.publish('4', queue, { messageId: '4' })))
  control.releaseConfirms()
  await Promise.all(sent)
  outing.equal(publisher.resent, 3, 'what was sent again')
  outing.equal(await textsOf(protocol, queue), ['0', '1', '2', '3', '1', '2', '3', '4'], 'the order of what came')
}

/** What the program has given up is not sent again. */
export const givenUpPublish: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const queue = await outing.queue()
  const publisher = await protocol.publisher()
  await publisher.publish('1', queue, {}, SOON)
  own.freeze()
  // Several in a row: each is looked for after those before it.
  const late = Array.from({ length: 20 }, () => publisher.publish('late', queue, {}, { timeout: 100 }))
  const kept = outing.meanwhile(publisher.publish('kept', queue, {}, SOON))
  const ends = Promise.all(late.map(each => outing.failure(each, 'TimeoutError', 'a publish')))
  // Given up before they wait to be sent again, or meanwhile.
  if (outing.number % 2 === 0) await ends
  own.refuse(true)
  own.cut()
  for (const { outcome } of await ends) outing.equal(outcome, 'unknown', 'its outcome')
  own.refuse(false)
  await kept
  outing.equal(await outing.takeAll(queue), ['1', 'kept'], 'what was sent again')
}

/** Publishers that look for the message over which the broker closes the connection take turns, and each finds its own. */
export const brokenConnections: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect({ recovery: QUICK })
  const queue = 'broken'
  await protocol.queueDeclare(queue)
  const publishers = [await protocol.publisher(), await protocol.publisher()]
  // Nothing of it is bad, though it is all that is in flight when a connection ends.
  const beside = await protocol.publisher()
  // A second time, since a turn that was not handed on is missed by those who come later.
  for (const round of ['first', 'second']) {
    const bad = ['one', 'two'].map(name => `${round} ${name} bad`)
    for (const messageId of bad) control.breakOver(messageId)
    const sent = publishers.flatMap((publisher, n) =>
      ['good', 'bad', 'last'].map(text => {
        const messageId = `${round} ${['one', 'two'][n]} ${text}`
        return publisher.publish(messageId, queue, { messageId }, { timeout: 60_000 }).then(
          () => '',
          (error: Error) => `${messageId}: ${error.name}`,
        )
      }),
    )
    const single = { messageId: `${round} beside` }
    sent.push(beside.publish('beside', queue, single, { timeout: 60_000 }).then(() => '', String))
    const ended = await Promise.all(sent)
    outing.equal(
      ended.filter(end => end !== ''),
      bad.map(messageId => `${messageId}: ConnectionClosedError`),
      'what the broker closes the connection over',
    )
  }
  for (const publisher of publishers) await publisher.publish('after', queue, {}, SOON)
}

/** A publisher that has the turn to search for a bad message and gives its own up in an outage leaves the turn to the next one. */
export const givenUpTurn: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const queue = 'turns'
  await protocol.queueDeclare(queue)
  const [first, second] = [await protocol.publisher(), await protocol.publisher()]
  for (const publisher of [first, second]) await publisher.publish('0', queue, {}, SOON)
  control.breakOver('bad')
  own.refuse(true)
  const bad = first.publish('bad', queue, { messageId: 'bad' }, { timeout: 300 })
  const good = outing.meanwhile(second.publish('good', queue, {}, SOON))
  await outing.failure(bad, 'TimeoutError', 'a message over which the broker closes the connection')
  own.refuse(false)
  await good
  await first.publish('1', queue, {}, SOON)
}

/** A channel that nacks is left after a second, once: the next one is kept. */
export const nackedOnce: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect()
  const queue = 'nacked'
  await protocol.queueDeclare(queue)
  const publisher = await protocol.publisher()
  const channels: number[] = []
  const look = async (): Promise<void> => {
    await outing.sleep(5)
    channels.push(protocol.stats().openChannels)
    await outing.sleep(1_500)
  }
  for (const text of ['0', '1']) {
    control.nackNext(1)
    await outing.failure(publisher.publish(text, queue, {}, SOON), 'PublishFailedError', 'a message that is nacked')
    await look()
  }
  for (const text of ['2', '3']) {
    await publisher.publish(text, queue, {}, SOON)
    await look()
  }
  outing.equal(channels, [1, 0, 1, 1], 'channels after nacks')
}

/** A broker that blocks answers later: nothing that waits for it times out meanwhile. */
export const blocked: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ rpcTimeout: 2_000, heartbeat: 0 })
  const { protocol } = own
  const queue = 'blocked'
  await protocol.queueDeclare(queue)
  const channel = await protocol.channel()
  control.block('low on memory')
  await channel.basicPublish('1', '', queue)
  await outing.until(() => protocol.blocked !== undefined, 'the block', 2_000)
  const asked = outing.meanwhile(channel.queueDeclare(queue, { passive: true }))
  const sent = outing.meanwhile(protocol.publish('2', '', queue, {}, SOON))
  await outing.sleep(7_000)
  control.unblock()
  await asked
  await sent
  outing.equal(protocol.blocked, undefined, 'the block after its end')
  // A call of a broker that falls silent just then: its time begins again when the block has ended.
  const other = await protocol.channel()
  own.freeze('toClient')
  control.block('low on memory')
  await channel.basicPublish('3', '', queue)
  await outing.sleep(20)
  own.freeze('toServer')
  const unanswered = outing.failure(
    other.queueDeclare(queue, { passive: true }),
    'TimeoutError',
    'a call without an answer',
  )
  await outing.sleep(1)
  own.thaw('toClient')
  await outing.until(() => protocol.blocked !== undefined, 'the second block', 2_000)
  await outing.sleep(3_000)
  control.unblock()
  await outing.until(() => protocol.blocked === undefined, 'the end of the second block', 1_000)
  const began = outing.clock.now()
  const ended = await Promise.race([unanswered, outing.sleep(5_000)])
  outing.expect(ended !== undefined, 'a call without an answer ends after a block')
  outing.took(began, 1_800, 2_100, 'a call without an answer after a block')
  own.thaw()
}

/** A channel's timeout for publishes is that of each, also of those that the program need not await: they are given up, and said so. */
export const limitedPublishes: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const errors: unknown[] = []
  const { protocol } = await connect({ onError: error => errors.push(error) })
  const queue = 'limited'
  await protocol.queueDeclare(queue)
  const channel = await protocol.channel({ publishTimeout: 300 })
  const confirming = await protocol.channel({ publishTimeout: 300, publisherConfirms: true })
  control.block('low on memory')
  await (await protocol.channel()).basicPublish('0', '', queue)
  await outing.until(() => protocol.blocked !== undefined, 'the block', 2_000)
  const began = outing.clock.now()
  const sent = [
    channel.basicPublish('1', '', queue),
    confirming.basicPublish('2', '', queue),
    outing.meanwhile(confirming.publish('3', '', queue)),
    outing.meanwhile(channel.publish('4', '', queue)),
    outing.meanwhile(confirming.publish('5', '', queue, {}, { timeout: 200 })),
  ]
  // Its own time comes before that of the channel.
  const longer = outing.meanwhile(channel.publish('6', '', queue, {}, { timeout: 20_000 }))
  for (const each of sent) {
    const end = Promise.race([each, outing.sleep(5_000)])
    const { outcome } = await outing.failure(end, 'TimeoutError', 'a publish while the broker blocks')
    outing.equal(outcome, 'notSent', 'the outcome of a publish while the broker blocks')
  }
  outing.took(began, 300, 320, 'publishes while the broker blocks')
  outing.expect(errors.length > 0, 'no error is reported of what need not be awaited')
  control.unblock()
  await longer
  await outing.sleep(50)
  outing.equal(await textsOf(protocol, queue), ['0', '6'], 'what is published when the broker blocks no longer')
}

/** A recovery to a server with fewer channels closes those that are too many, and what waits on them says that it was not sent. */
export const fewerChannels: Errand = async outing => {
  const { control, connect } = outing.startBroker(6)
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  await protocol.queueDeclare('few')
  const channels = [
    await protocol.channel(),
    await protocol.channel(),
    await protocol.channel({ publisherConfirms: true }),
  ]
  own.refuse(true)
  own.cut()
  control.grantChannels(2)
  await outing.sleep(20)
  const ends = channels.map(channel => channel.waitClosed().catch(() => {}))
  const asked = channels.map(channel =>
    outing.meanwhile(channel.queueDeclare('few', { passive: true, timeout: 20_000 })),
  )
  const sent = channels.map(channel => outing.meanwhile(channel.publish('x', '', 'few', {}, { timeout: 20_000 })))
  own.refuse(false)
  await protocol.ready({ timeout: 20_000 })
  for (const promises of [asked, sent]) {
    const [one, two, last] = promises
    await Promise.all([one, two]).catch((error: unknown) => outing.expect(false, `a channel that stays: ${error}`))
    const { outcome } = await outing.failure(last ?? outing.sleep(0), 'NoChannelAvailableError', 'a channel too many')
    if (promises === sent) outing.equal(outcome, 'notSent', 'the outcome of a publish on a channel too many')
  }
  await ends[2]
  outing.equal(
    channels.map(({ isOpen }) => isOpen),
    [true, true, false],
    'channels on a server with fewer',
  )
}
