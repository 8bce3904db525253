import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Channel } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK, reaches } from './recoveries.ts'

/** What is published and asked while all is made again waits for what it needs, in its order, and nothing comes back. */
export const duringRecovery: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const queue = await outing.queue()
  const [exclusive, exchange, behind] = ['queue', 'exchange', 'behind'].map(what => `${outing.name} ${what}`) as [
    string,
    string,
    string,
  ]
  await protocol.queueDeclare(exclusive, { exclusive: true })
  for (const name of [exchange, behind]) {
    outing.keep({ close: () => outing.protocol.exchangeDelete(name) })
    await protocol.exchangeDeclare(name, 'fanout')
  }
  await protocol.queueBind(exclusive, exchange)
  await protocol.exchangeBind(exchange, behind)
  const failures: string[] = []
  protocol.on('recoveryFailed', what => failures.push(`${what}`))
  const channel = await protocol.channel({ publisherConfirms: true })
  const seen: string[] = []
  const consuming = await protocol.channel()
  let ends = 0
  consuming.addCancellationCallback(() => ends++)
  await consuming.basicConsume((_channel, body) => void seen.push(body.toString()), exclusive, { noAck: true })
  const sent: Promise<unknown>[] = []
  const texts: string[] = []
  const recovered = lose(outing, own)
  let isBack = false
  void recovered.then(() => {
    isBack = true
  })
  // It learns of the loss a moment later: what it publishes before that may be lost with it.
  await outing.sleep(1)
  for (let n = 0; !isBack && n < 200; n++) {
    // One after the other, on one channel: each needs more, or less, than the one before.
    const ways = [
      ['', exclusive],
      [exchange, ''],
      [behind, ''],
    ] as const
    for (const [name, key] of ways) {
      const text = `${n} ${name === '' ? 'default' : name === exchange ? 'exchange' : 'behind'}`
      texts.push(text)
      sent.push(channel.publish(text, name, key, {}, { mandatory: true, timeout: 20_000 }))
    }
    const other = outing.meanwhile(channel.publish(`${n}`, '', queue, {}, { mandatory: true, timeout: 20_000 }))
    sent.push(other, outing.meanwhile(channel.queueDeclare(exclusive, { passive: true, timeout: 20_000 })))
    for (const each of sent) each.catch(() => {})
    await outing.sleep(1)
  }
  await recovered
  await Promise.all(sent)
  await outing.until(() => seen.length >= texts.length, 'what was published during a recovery')
  outing.equal([...new Set(seen)], texts, 'the order of what was published during a recovery')
  outing.equal(seen.length, texts.length, 'messages, each once')
  outing.equal(ends, 0, 'ends of a consumer')
  outing.equal(failures, [], 'what could not be made again')
}

/** A connection that is lost again while all is made again: consumers, publishes and calls go on with the next one. */
export const lostAgain: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const queue = await outing.queue()
  const exclusive = `${outing.name} exclusive`
  await protocol.queueDeclare(exclusive, { exclusive: true })
  const seen: string[] = []
  const channel = await protocol.channel()
  await channel.basicConsume((_channel, body) => void seen.push(body.toString()), queue, { noAck: true })
  await channel.basicConsume((_channel, body) => void seen.push(body.toString()), exclusive, { noAck: true })
  const intent = await protocol.consumer(queue, message => void seen.push(message.text()))
  const passing = `${outing.name} passing`
  await protocol.queueDeclare(passing, { autoDelete: true })
  const see = (_channel: Channel, body: Buffer): void => void seen.push(body.toString())
  const { consumerTag: first } = await channel.basicConsume(see, passing, { noAck: true })
  await channel.basicConsume(see, passing, { noAck: true })
  for (let pause = 1; pause <= 10; pause++) {
    const recovered = new Promise<void>(resolve => protocol.once('recovered', () => resolve()))
    own.cut()
    await outing.sleep(pause)
    own.cut()
    await Promise.race([recovered, outing.sleep(20_000)])
    await protocol.ready({ timeout: 20_000 })
    await protocol.publish(`${pause}`, '', queue, {}, { timeout: 20_000 })
    await protocol.publish(`${pause} exclusive`, '', exclusive, {}, { timeout: 20_000 })
    const both = () => seen.includes(`${pause}`) && seen.includes(`${pause} exclusive`)
    await outing.until(both, `a message after two losses, ${pause} ms apart`, 5_000)
  }
  await outing.holds(queue, 0, 'messages that are left')
  const { consumerCount } = await protocol.queueDeclare(queue, { passive: true })
  outing.equal(consumerCount, 2, 'consumers of a queue')
  // It goes with the last of its consumers, and not before.
  await channel.basicCancel(first)
  await lose(outing, own)
  await protocol.publish('passing', '', passing, {}, { timeout: 20_000 })
  await outing.until(() => seen.includes('passing'), 'a message of a queue that has one of two consumers left', 5_000)
  await intent.close()
}

/** A broker that falls silent while all is made again: what has no answer in time is made again once more. */
export const lostInSilence: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK, rpcTimeout: 1_000, heartbeat: 0 })
  const { protocol } = own
  const queue = await outing.queue()
  const seen: string[] = []
  const channel = await protocol.channel()
  await channel.basicConsume(async (on, body, { deliveryTag }) => {
    seen.push(body.toString())
    await on.basicClientAck(deliveryTag)
  }, queue)
  for (let pause = 1; pause <= 8; pause++) {
    own.cut()
    await outing.sleep(pause)
    own.freeze()
    await outing.sleep(1_500)
    const asked = outing.meanwhile(channel.queueDeclare(queue, { passive: true, timeout: 20_000 }))
    own.thaw()
    await asked
    await protocol.ready({ timeout: 20_000 })
    await outing.publish(queue, `${pause}`)
    await outing.until(() => seen.includes(`${pause}`), `a message after a silence of the broker`, 5_000)
  }
  outing.expect(channel.isOpen, 'a channel ends with a silence of the broker')
}

/** Each consumer of a channel comes back with the limit that it had. */
export const consumerLimits: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const channel = await own.protocol.channel()
  const limits = [2, 4, 0, 1]
  const queues: string[] = []
  const seen = limits.map(() => 0)
  for (const [n, prefetchCount] of limits.entries()) {
    const queue = await outing.queue()
    queues.push(queue)
    await channel.basicQos({ prefetchCount })
    const see = (): void => {
      seen[n] = (seen[n] ?? 0) + 1
    }
    await channel.basicConsume(see, queue)
  }
  // Of those that begin from now on, also after the loss.
  await channel.basicQos({ prefetchCount: 3 })
  await lose(outing, own)
  const late = await outing.queue()
  queues.push(late)
  seen.push(0)
  await channel.basicConsume(() => {
    seen[4] = (seen[4] ?? 0) + 1
  }, late)
  for (const queue of queues) await outing.publish(queue, '1', '2', '3', '4', '5', '6')
  await outing.sleep(100)
  outing.equal(seen, [2, 4, 6, 1, 3], 'messages within the limits of consumers after a loss')
}

/** What the broker refused is not made again, and what was closed is not opened again. */
export const refusedThings: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK, connectionName: outing.name })
  const { protocol } = own
  const queue = await outing.queue()
  const exchange = await outing.exchange('direct')
  const failures: string[] = []
  // What was written before it is done.
  const made: string[] = []
  protocol.on('recoveryFailed', what => failures.push(`${what}`))
  const refused = async (make: (channel: Channel) => Promise<unknown>): Promise<void> => {
    const channel = await protocol.channel()
    const closed = channel.waitClosed().catch(() => {})
    const name = `${outing.name} made ${made.length}`
    made.push(name)
    await channel.queueDeclare(name, { exclusive: true, noWait: true })
    // Of two declares of queues without a reply, the refused one is not known.
    await channel.queueDeclare(name, { exclusive: true })
    await channel.queueBind(name, exchange, name, { noWait: true })
    // It is answered when what is refused has been written already.
    const isBehind = made.length % 2 === 1
    const before = isBehind ? outing.meanwhile(channel.queueDeclare(queue, { passive: true })) : undefined
    await make(channel).catch(() => {})
    await before?.catch(() => {})
    await channel.queueDeclare(queue, { passive: true }).catch(() => {})
    await Promise.race([closed, outing.sleep(1_000)])
  }
  for (const noWait of [true, false]) {
    await refused(channel => channel.exchangeDeclare(exchange, 'fanout', { noWait }))
    await refused(channel => channel.queueDeclare(queue, { exclusive: true, noWait }))
    await refused(channel => channel.queueBind(queue, `${exchange} none`, 'key', { noWait }))
  }
  const { openChannels: before } = protocol.stats()
  const channels: Channel[] = []
  for (let n = 0; n < 3; n++) channels.push(await protocol.channel())
  for (const channel of channels) await channel.close()
  outing.equal(protocol.stats().openChannels, before, 'channels that are open')
  const recovered: unknown[] = []
  const see = (message: unknown): void => {
    const { connectionName, channels } = message as { connectionName: string; channels: number }
    if (connectionName === outing.name) recovered.push(channels)
  }
  subscribe('asyncamqp:connection.recovered', see)
  outing.keep({ close: async () => unsubscribe('asyncamqp:connection.recovered', see) })
  await lose(outing, own)
  await outing.sleep(100)
  outing.equal(failures, [], 'what could not be made again')
  outing.equal(recovered, [before], 'channels that were made again')
  outing.equal(protocol.stats().openChannels, before, 'channels that are open after a loss')
  // A binding that was written before a refused one may be the one that was refused.
  for (const name of made.filter((_, n) => n % 3 !== 2))
    outing.expect(await reaches(own, exchange, name), 'a binding that was made before something was refused is missing')
}
