import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Channel } from '../../../src/index.ts'
import {
  BasicConsume,
  BasicQos,
  ChannelOpen,
  ExchangeDeclare,
  QueueBind,
  QueueDeclare,
} from '../../../src/protocol/methods.ts'
import type { Errand, Outing, OwnConnection } from './errand.ts'
import { lose, loseDuring, QUICK } from './recoveries.ts'

/** What a recovery says that it has brought back, in this order. */
const COUNTS = ['attempts', 'channels', 'exchanges', 'queues', 'bindings', 'consumers', 'stillMissing'] as const

/** What a connection reports of its recoveries. */
interface Reports {
  /** Of each recovery, the counts. */
  readonly recovered: number[][]
  /** What could not be made again, and whether that is tried on. */
  readonly failures: string[]
}

function watch(outing: Outing, { protocol }: OwnConnection, connectionName: string): Reports {
  const reports: Reports = { recovered: [], failures: [] }
  const listen = (name: string, see: (message: Record<string, unknown>) => void): void => {
    const own = (message: unknown): void => {
      const event = message as Record<string, unknown>
      if (event['connectionName'] === connectionName) see(event)
    }
    subscribe(name, own)
    outing.keep({ close: async () => unsubscribe(name, own) })
  }
  listen('asyncamqp:connection.recovered', event => reports.recovered.push(COUNTS.map(count => Number(event[count]))))
  listen('asyncamqp:entity.recovery_failed', ({ entity, willRetry }) =>
    reports.failures.push(`${entity}${willRetry === true ? ', tried on' : ''}`),
  )
  const heard: string[] = []
  protocol.on('recoveryFailed', what => {
    heard.push(what)
    outing.equal(reports.failures[heard.length - 1]?.startsWith(what), true, `whether ${what} is reported`)
  })
  return reports
}

/** Counts of what is not zero. */
const counted = (event: readonly number[] | undefined): string =>
  COUNTS.flatMap((name, n) => ((event?.[n] ?? 0) === 0 ? [] : `${name} ${event?.[n]}`)).join(', ')

/**
 * The broker closes the connection over a queue, and over a consumer: both are left out from then on, each is reported once, and
 * the rest comes back, with what it was.
 */
export const brokenThings: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK, connectionName: outing.name })
  const { protocol } = own
  const other = await (await connect()).protocol.channel()
  const { recovered, failures } = watch(outing, own, outing.name)
  const channel = await protocol.channel()
  const aside = await protocol.channel()
  await channel.exchangeDeclare('front', 'direct')
  for (const queue of ['first', 'bad', 'last']) {
    await channel.queueDeclare(queue)
    await channel.queueBind(queue, 'front', queue)
  }
  const ends: string[] = []
  for (const each of [channel, aside]) each.addCancellationCallback((_, tag) => void ends.push(tag))
  const seen: string[] = []
  const see = (_channel: Channel, body: Buffer): void => void seen.push(body.toString())
  const isAside = outing.number % 2 === 0
  for (const queue of ['first', 'bad', 'last'])
    await (queue === 'last' && isAside ? aside : channel).basicConsume(see, queue, {
      noAck: true,
      consumerTag: `tag ${queue}`,
    })
  control.breakOverQueue('bad')
  for (let loss = 1; loss <= 2; loss++) {
    own.cut()
    await outing.until(() => recovered.length === loss, `the end of recovery ${loss}`, 60_000)
    await outing.sleep(3_000)
    for (const queue of ['first', 'last']) await other.basicPublish(`${queue} ${loss}`, '', queue)
    await outing.until(() => seen.length === 2 * loss, `messages after loss ${loss}`, 5_000)
  }
  outing.equal(failures, ['queue "bad"', 'consumer "tag bad" of queue "bad"'], 'what could not be made again')
  outing.equal(ends, ['tag bad'], 'consumers that ended')
  const back = 'channels 2, exchanges 1, queues 2, bindings 2, consumers 2'
  outing.equal(recovered.map(counted), [`attempts 4, ${back}`, `attempts 1, ${back}`], 'what came back')
  outing.equal(seen.sort(), ['first 1', 'first 2', 'last 1', 'last 2'], 'messages of the other consumers')
}

/** While another connection has a queue, a recovery goes on without it, says what is missing, and its consumers start when it is free. */
export const lateQueue: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK, connectionName: outing.name })
  const { protocol } = own
  const other = await (await connect()).protocol.channel()
  const { recovered, failures } = watch(outing, own, outing.name)
  const [channel, aside] = [await protocol.channel(), await protocol.channel()]
  await protocol.exchangeDeclare('front', 'direct')
  await protocol.exchangeDeclare('back', 'direct')
  await protocol.exchangeBind('back', 'front', 'key')
  for (const queue of ['free', 'locked']) await protocol.queueDeclare(queue, { exclusive: true })
  for (const key of ['key', 'other']) await protocol.queueBind('locked', 'back', key)
  await protocol.queueBind('free', 'back', 'key')
  const ends: string[] = []
  const seen: string[] = []
  for (const each of [channel, aside]) each.addCancellationCallback((_, tag) => void ends.push(tag))
  const consume = (on: Channel, tag: string, queue: string): Promise<unknown> =>
    on.basicConsume((_channel, body) => void seen.push(`${tag} ${body}`), queue, { noAck: true, consumerTag: tag })
  await consume(channel, 'one', 'locked')
  await consume(channel, 'two', 'free')
  await consume(aside, 'three', 'locked')
  const intent = await protocol.consumer('locked', message => void seen.push(`four ${message.text()}`))
  await lose(outing, own)
  await loseDuring(outing, own, () => other.queueDeclare('locked', { exclusive: true }))
  await outing.sleep(5_000)
  await other.basicPublish('beside', 'front', 'key')
  await outing.sleep(50)
  outing.equal(seen.splice(0), ['two beside'], 'messages beside a queue that is locked')
  // Longer than that no consumer of a channel waits.
  const isGivenUp = outing.number % 3 === 2
  await outing.sleep(isGivenUp ? 60_000 : 12_000)
  outing.equal(control.evidence().consumers.get('free')?.length, 1, 'consumers of the queue that is free')
  await other.queueDelete('locked')
  await outing.sleep(isGivenUp ? 61_000 : 3_000)
  const should = isGivenUp ? ['four'] : ['one', 'three', 'four']
  outing.equal(
    control.evidence().consumers.get('locked')?.length,
    should.length,
    'consumers of a queue that was locked',
  )
  for (let n = 0; n < 6; n++) await other.basicPublish('x', 'back', 'other')
  await outing.sleep(100)
  outing.equal([...new Set(seen)].sort(), should.map(tag => `${tag} x`).sort(), 'which consumers have messages')
  outing.equal(ends.sort(), isGivenUp ? ['one', 'three'] : [], 'consumers that ended')
  const notMade = [
    ...['key', 'other'].map(key => `binding of queue "locked" to exchange "back" with routing key "${key}", tried on`),
    'consumer "four" of queue "locked", tried on',
    ...['one', 'three'].map(tag => `consumer "${tag}" of queue "locked"`),
    'queue "locked", tried on',
  ]
  const reported = failures.map(what => what.replace(/ctag-\d+/, 'four'))
  outing.equal(reported.sort(), isGivenUp ? notMade : [], 'what could not be made again')
  const all = 'attempts 1, channels 3, exchanges 2, queues 2, bindings 4, consumers 4'
  const some = 'attempts 2, channels 3, exchanges 2, queues 1, bindings 2, consumers 1, stillMissing 6'
  outing.equal(recovered.slice(0, 2).map(counted), [all, some], 'what came back')
  await intent.close()
}

/** A queue of another program that is gone when the connection comes back: its consumers wait for a while, and their channel with them. */
export const lateOfOthers: Errand = async outing => {
  const { connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK, connectionName: outing.name })
  const { protocol } = own
  const other = await (await connect()).protocol.channel()
  const { failures } = watch(outing, own, outing.name)
  for (const queue of ['theirs', 'kept']) await other.queueDeclare(queue)
  const channel = await protocol.channel()
  const ends: string[] = []
  channel.addCancellationCallback((_, tag) => void ends.push(tag))
  const seen: string[] = []
  const see = (_channel: Channel, body: Buffer): void => void seen.push(body.toString())
  for (const queue of ['theirs', 'kept'])
    await channel.basicConsume(see, queue, { noAck: true, consumerTag: `tag ${queue}` })
  const intent = await protocol.consumer('theirs', message => void seen.push(`intent ${message.text()}`))
  const isGivenUp = outing.number % 2 === 0
  own.refuse(true)
  own.cut()
  await outing.sleep(50)
  await other.queueDelete('theirs')
  own.refuse(false)
  const before = own.wrote(BasicConsume)
  await outing.sleep(isGivenUp ? 4_000 : 1_000)
  // The pauses between two get longer.
  const asked = own.wrote(BasicConsume) - before
  outing.expect(asked <= (isGivenUp ? 40 : 25), `consumers of a queue that is missing were asked for ${asked} times`)
  await other.queueDeclare('theirs')
  await outing.sleep(15_000)
  await other.basicPublish('kept', '', 'kept')
  for (let n = 0; n < 4; n++) await other.basicPublish('theirs', '', 'theirs')
  await outing.sleep(100)
  const should = [...(isGivenUp ? [] : ['theirs']), 'kept', 'intent theirs']
  outing.equal([...new Set(seen)].sort(), should.sort(), 'messages after a loss')
  outing.equal(ends, isGivenUp ? ['tag theirs'] : [], 'consumers that ended')
  const ofChannel = failures.filter(what => what === 'consumer "tag theirs" of queue "theirs"')
  outing.equal(ofChannel.length, ends.length, `consumers that could not start: ${failures}`)
  await intent.close()
}

/** A recovery asks for each thing once: what it has, it does not ask for again. */
export const askedOnce: Errand = async outing => {
  const { connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const channels = [await protocol.channel(), await protocol.channel()]
  await protocol.exchangeDeclare('front', 'direct')
  const queues = ['first', 'second', 'third']
  for (const queue of queues) {
    await protocol.queueDeclare(queue, { autoDelete: queue === 'first', exclusive: queue === 'second' })
    await protocol.queueBind(queue, 'front', queue)
  }
  let count = 0
  for (const [n, queue] of queues.entries()) {
    const channel = channels[n % 2]
    await channel?.basicQos({ prefetchCount: 10 })
    await channel?.basicConsume(() => void count++, queue)
    // A queue that goes with its connection or its consumer is not a stream, though its messages came through one.
    await protocol.publish('x', '', queue, queue === 'third' ? {} : { headers: { 'x-stream-offset': 5 } })
  }
  await outing.until(() => count === 3, 'three messages', 2_000)
  const methods = { ChannelOpen, ExchangeDeclare, QueueDeclare, QueueBind, BasicQos, BasicConsume }
  const wrote = (): [string, number][] => Object.entries(methods).map(([name, method]) => [name, own.wrote(method)])
  const before = new Map(wrote())
  await lose(outing, own)
  await outing.until(() => count === 4, 'a message that came again', 2_000)
  const asked = Object.fromEntries(wrote().map(([name, times]) => [name, times - (before.get(name) ?? 0)]))
  const should = { ChannelOpen: 3, ExchangeDeclare: 1, QueueDeclare: 3, QueueBind: 3, BasicQos: 2, BasicConsume: 3 }
  outing.equal(asked, should, 'what a recovery asks for')
}

/** A queue that expires comes back if the broker has it when the connection is lost: each use of it puts that off. */
export const expiries: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const channel = await protocol.channel()
  const options = { exclusive: true, arguments: { 'x-expires': 1_000 } }
  const { consumerTag } = await channel.basicConsume(() => {}, (await channel.queueDeclare('consumed', options)).queue)
  const uses: Readonly<Record<string, () => Promise<unknown>>> = {
    'declared again': () => channel.queueDeclare('declared again', options),
    'asked about': () => channel.queueDeclare('asked about', { passive: true }),
    'asked for a message': () => channel.basicGet('asked for a message', { noAck: true }),
    'bound to': () => channel.queueBind('bound to', 'amq.fanout'),
    purged: () => channel.queuePurge('purged'),
    consumed: () => channel.basicCancel(consumerTag),
    'not used': async () => {},
  }
  for (const queue of Object.keys(uses)) if (queue !== 'consumed') await channel.queueDeclare(queue, options)
  const there = (): string[] => Object.keys(uses).filter(queue => control.evidence().entities.has(`queue ${queue}`))
  const loseAfter = async (pause: number, when: string): Promise<void> => {
    await outing.sleep(pause)
    const before = there()
    await lose(outing, own)
    outing.equal(there(), before, `queues that expire, ${when}`)
  }
  await loseAfter(700, 'after a loss')
  await loseAfter(700, 'of which a recovery has made all since')
  await outing.sleep(600)
  for (const use of Object.values(uses)) await use()
  await loseAfter(600, 'some of which were used')
}
