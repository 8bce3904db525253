import { type AmqpProtocol, type Channel, decimal, int8 } from '../../../src/index.ts'
import { PROPERTIES } from '../content.ts'
import type { Errand } from './errand.ts'

/** One byte more than a short string has. */
const LONG = 'x'.repeat(256)

type Call = (channel: Channel, protocol: AmqpProtocol, options: never) => unknown

/** What a program can call with options. */
const CALLS: readonly Call[] = [
  (channel, _, options) => channel.queueDeclare('queue', options),
  (channel, _, options) => channel.queueDelete('queue', options),
  (channel, _, options) => channel.queueBind('queue', 'amq.fanout', '', options),
  (channel, _, options) => channel.queueUnbind('queue', 'amq.fanout', '', options),
  (channel, _, options) => channel.queuePurge('queue', options),
  (channel, _, options) => channel.exchangeDeclare('exchange', 'fanout', options),
  (channel, _, options) => channel.exchangeDelete('exchange', options),
  (channel, _, options) => channel.exchangeBind('amq.fanout', 'amq.topic', '', options),
  (channel, _, options) => channel.exchangeUnbind('amq.fanout', 'amq.topic', '', options),
  (channel, _, options) => channel.basicQos(options),
  (channel, _, options) => channel.basicGet('queue', options),
  (channel, _, options) => channel.basicConsume(() => {}, 'queue', options),
  (channel, _, options) => channel.basicCancel('tag', options),
  (channel, _, options) => channel.basicClientAck(1, options),
  (channel, _, options) => channel.basicClientNack(1, options),
  (channel, _, options) => channel.basicReject(1, options),
  (channel, _, options) => channel.basicRecover(options),
  (channel, _, options) => channel.basicPublish('x', '', 'queue', {}, options),
  (channel, _, options) => channel.publish('x', '', 'queue', {}, options),
  (channel, _, options) => channel.confirmSelect(options),
  (channel, _, options) => channel.waitForConfirms(options),
  (channel, _, options) => channel.txSelect(options),
  (channel, _, options) => channel.flow(true, options),
  (channel, _, options) => channel.close(options),
  (_, protocol, options) => protocol.ready(options),
  (_, protocol, options) => protocol.channel(options),
  (_, protocol, options) => protocol.publish('x', '', 'queue', {}, options),
  (_, protocol, options) => protocol.publisher(options),
  (_, protocol, options) => protocol.consumer('queue', options),
  (_, protocol, options) => protocol.consumer('queue', () => {}, options),
  (_, protocol, options) => protocol.rpcClient(options),
  (_, protocol, options) => protocol.rpcServer('queue', () => '', options),
  (_, protocol, options) => protocol.close(options),
]

/** Calls that each have one argument that cannot be. */
const BAD: readonly ((channel: Channel, protocol: AmqpProtocol) => unknown)[] = [
  channel => channel.queueDeclare(LONG),
  channel => channel.queueDeclare('queue', { durable: 1 as never }),
  channel => channel.queueDeclare('queue', { recover: 1 as never }),
  channel => channel.queueDeclare('', { noWait: true }),
  channel => channel.queueDeclare('queue', { arguments: { call: (() => {}) as never } }),
  channel => channel.queueDeclare('queue', { timeout: -1 }),
  channel => channel.queueDeclare('queue', { timeout: '5' as never }),
  channel => channel.queueDeclare('queue', { signal: {} as never }),
  channel => channel.queueBind('queue', 'amq.fanout', LONG),
  channel => channel.exchangeDeclare('exchange', 5 as never),
  channel => channel.exchangeDeclare('exchange', 'fanout', { recover: 'no' as never }),
  channel => channel.basicQos({ prefetchCount: -1 }),
  channel => channel.basicQos({ prefetchCount: 65_536 }),
  channel => channel.basicQos({ prefetchCount: 1.5 }),
  channel => channel.basicConsume('callback' as never, 'queue'),
  channel => channel.basicConsume(() => {}, 'queue', { concurrency: 0 }),
  channel => channel.basicConsume(() => {}, 'queue', { concurrency: 1.5 }),
  channel => channel.basicConsume(() => {}, 'queue', { noAck: 'yes' as never }),
  channel => channel.basicConsume(() => {}, 'queue', { consumerTag: LONG }),
  channel => channel.basicConsume(() => {}, 5 as never),
  channel => channel.basicCancel(5 as never),
  channel => channel.basicGet('queue', { noAck: 1 as never }),
  channel => channel.basicClientAck(-1),
  channel => channel.basicClientAck(1.5),
  channel => channel.basicClientAck('1' as never),
  channel => channel.basicClientNack(1, { requeue: 1 as never }),
  channel => channel.confirmSelect({ noWait: 1 as never }),
  channel => channel.transaction('work' as never),
  channel => channel.publish(5 as never, '', 'queue'),
  channel => channel.publish('x', LONG, 'queue'),
  channel => channel.publish('x', '', LONG),
  channel => channel.publish('x', '', 'queue', { priority: 256 }),
  channel => channel.publish('x', '', 'queue', { priority: -1 }),
  channel => channel.publish('x', '', 'queue', { messageId: LONG }),
  channel => channel.publish('x', '', 'queue', { headers: { call: () => {} } as never }),
  ...Object.entries({ ...PROPERTIES, headers: {}, deliveryMode: 2, messageId: 'm' }).flatMap(([name, value]) => [
    (channel: Channel) => channel.publish('x', '', 'queue', { [name]: value, unknown: 1 } as never),
    (channel: Channel) => channel.publish('x', '', 'queue', { [name]: true } as never),
  ]),
  channel => channel.publish('x', '', 'queue', {}, { mandatory: 1 as never }),
  channel => channel.publish('x', '', 'queue', {}, { timeout: -1 }),
  channel => channel.basicPublish('x', '', 'queue', { headers: { [LONG]: 1 } }),
  (_, protocol) => protocol.publish('x', '', 'queue', {}, { timeout: Number.NaN }),
  (_, protocol) => protocol.publish('x', '', 'queue', {}, { signal: 5 as never }),
  ...[
    new Map(),
    new Set(),
    new WeakMap(),
    new WeakSet(),
    Promise.resolve(),
    /x/,
    new Error('x'),
    Symbol('x'),
    () => {},
  ].map(payload => (_channel: Channel, protocol: AmqpProtocol) => protocol.publish(payload as never, '', 'queue')),
  (_, protocol) => protocol.publisher({ maxInFlight: 0 }),
  (_, protocol) => protocol.consumer(''),
  (_, protocol) => protocol.consumer('queue', { prefetchCount: 65_536 }),
  (_, protocol) => protocol.consumer('queue', () => {}, { concurrency: 0 }),
  (_, protocol) => protocol.consumer('queue', () => {}, { onFailure: 'away' as never }),
  (_, protocol) => protocol.consumer('queue', () => {}, { batch: { size: 0 } }),
  (_, protocol) => protocol.consumer('queue', () => {}, { batch: { size: 5, wait: -1 } }),
  (_, protocol) => protocol.consumer('queue', () => {}, { batch: { size: 5 }, prefetchCount: 4 }),
  (_, protocol) => protocol.consumer('queue', { onCancel: 'close' as never }),
  (_, protocol) => protocol.rpcClient({ timeout: -1 }),
  (_, protocol) => protocol.rpcServer('', () => ''),
  (_, protocol) => Reflect.apply(protocol.on, protocol, ['recoverd', () => {}]),
  channel => channel.queueUnbind('queue', 'amq.fanout', '', { arguments: { text: 'x'.repeat(16_384) } }),
  () => int8(128),
  () => decimal(1, -1),
  () => decimal(1, 1.5),
  () => decimal(1, 256),
]

/** What can be is not refused, to the last byte. */
const GOOD: readonly ((channel: Channel, protocol: AmqpProtocol) => Promise<unknown>)[] = [
  channel => channel.queueUnbind('queue', 'amq.fanout', LONG.slice(1), { timeout: Number.POSITIVE_INFINITY }),
  channel => channel.queueUnbind('queue', 'amq.fanout', '', { arguments: { text: 'x'.repeat(16_000) } }),
  channel => channel.basicQos({ prefetchCount: 65_535, prefetchSize: 0 }),
  channel => channel.basicQos({ prefetchCount: 0 }),
  channel => channel.basicConsume(() => {}, 'queue', { concurrency: 1, consumerTag: LONG.slice(1) }),
  channel => channel.basicConsume(() => {}, 'queue', { concurrency: Number.POSITIVE_INFINITY }),
  channel =>
    channel.publish('', '', 'none', { priority: 255, deliveryMode: 1, messageId: LONG.slice(1) }, { timeout: 1e9 }),
  channel => channel.basicPublish('', '', LONG.slice(1), { headers: { [LONG.slice(1)]: 1 } }),
  (_, protocol) => protocol.publish('', '', 'none', { priority: 0 }, { mandatory: false }),
]

/** What a program cannot mean is refused before anything is written, and changes nothing. */
export const mistakes: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const reported: unknown[] = []
  const { protocol } = await connect({ onError: error => void reported.push(`${error}`) })
  const channel = await protocol.channel()
  await protocol.queueDeclare('queue')
  await protocol.publish('kept', '', 'queue')
  const look = (): string => {
    const { arrived, entities, consumers } = control.evidence()
    return JSON.stringify([arrived, [...entities], [...consumers], protocol.stats().openChannels])
  }
  const before = look()
  const end = async (call: () => unknown): Promise<unknown> => {
    try {
      await call()
      return undefined
    } catch (error) {
      return error
    }
  }
  const refused = async (
    what: string,
    calls: readonly ((on: Channel, by: AmqpProtocol) => unknown)[],
  ): Promise<void> => {
    for (const [n, call] of calls.entries()) {
      const error = await end(() => call(channel, protocol))
      const { name = 'success' } = (error ?? {}) as Error
      outing.expect(name === 'EncodeError', `${what} ${n}, ${calls[n]}, ended with ${error ?? 'success'}`)
    }
  }
  const options = [{ nonsense: true }, [], 5][outing.number % 3]
  await refused(
    `a call with ${JSON.stringify(options)}`,
    CALLS.map(call => (on, by) => call(on, by, options as never)),
  )
  await refused('a call with a bad argument', BAD)
  await outing.sleep(50)
  outing.equal(look(), before, 'what the broker has after calls that were refused')
  outing.equal(reported, [], 'what was reported though a promise had rejected with it')
  outing.expect(channel.isOpen && protocol.state === 'open', 'a channel is closed over a call that was refused')
  for (const call of GOOD) outing.equal(await end(() => call(channel, protocol)), undefined, `how ${call} ended`)
  outing.equal(
    (await channel.basicGet('queue').catch(() => null))?.body.length ?? 0,
    0,
    'a message, all of which a consumer has',
  )
}
