import type { AmqpProtocol, Consumer, Publisher, RpcClient } from '../../../src/index.ts'
import type { Errand } from './errand.ts'

/** One byte more than a short string has. */
const LONG = 'x'.repeat(256)

/** What a program has made and goes on to use. */
interface Things {
  readonly protocol: AmqpProtocol
  readonly consumer: Consumer
  readonly publisher: Publisher
  readonly client: RpcClient
}

/** What these take options for. */
const CALLS: readonly ((things: Things, options: never) => unknown)[] = [
  ({ consumer }, options) => consumer.next(options),
  ({ consumer }, options) => consumer.close(options),
  ({ consumer }, options) => consumer.batches(options),
  ({ publisher }, options) => publisher.publish('x', 'queue', {}, options),
  ({ publisher }, options) => publisher.close(options),
  ({ client }, options) => client.call('prices', 'x', options),
]

const onFailure =
  (action: unknown) =>
  ({ protocol }: Things) =>
    protocol.consumer('queue', () => {}, { onFailure: action as never })

const BAD: readonly ((things: Things) => unknown)[] = [
  ({ consumer }) => consumer.next({ timeout: -1 }),
  ({ consumer }) => consumer.next({ signal: {} as never }),
  ({ consumer }) => consumer.close({ timeout: -1 }),
  ({ consumer }) => consumer.batches({ size: 0 }),
  ({ consumer }) => consumer.batches({ size: 1.5 }),
  ({ consumer }) => consumer.batches({ size: 2, wait: -1 }),
  ({ consumer }) => consumer.batches({ size: 6 }),
  ({ publisher }) => publisher.publish(5 as never, 'queue'),
  ({ publisher }) => publisher.publish('x', LONG),
  ({ publisher }) => publisher.publish('x', 'queue', { priority: 256 }),
  ({ publisher }) => publisher.publish('x', 'queue', {}, { timeout: -1 }),
  ({ publisher }) => publisher.publish('x', 'queue', {}, { signal: 5 as never }),
  ({ publisher }) => publisher.publish('x', 'queue', {}, { mandatory: 1 as never }),
  ({ publisher }) => publisher.close({ timeout: -1 }),
  ({ client }) => client.call('prices', 5 as never),
  ({ client }) => client.call(LONG, 'x'),
  ({ client }) => client.call('prices', 'x', { timeout: -1 }),
  ({ client }) => client.call('prices', 'x', { signal: {} as never }),
  ({ protocol }) => protocol.rpcServer('prices', 'x' as never),
  ({ protocol }) => protocol.rpcServer('prices', () => '', { concurrency: 0 }),
  ({ protocol }) => protocol.publisher({ exchangeName: 5 as never }),
  ({ protocol }) => protocol.publisher({ maxInFlight: 1.5 }),
  ({ protocol }) => protocol.publisher({ mandatory: 'no' as never }),
  ({ protocol }) => protocol.consumer('queue', () => {}, { prefetchCount: -1 }),
  ({ protocol }) => protocol.consumer('queue', () => {}, { noAck: 1 as never }),
  ({ protocol }) => protocol.consumer('queue', () => {}, { slowHandlerThreshold: 0 }),
  ({ protocol }) => protocol.consumer('queue', () => {}, { signal: 5 as never }),
  ({ protocol }) => protocol.consumer('queue', () => {}, { schema: 5 as never }),
  ({ protocol }) => protocol.consumer('queue', { batch: { size: 2 } } as never),
  onFailure({ retries: -1 }),
  onFailure({ retries: 1.5 }),
  onFailure({ retries: 1, delays: [] }),
  onFailure({ retries: 1, delays: [-1] }),
  onFailure({ retries: 1, delay: 5 }),
  onFailure({ retries: 1, otherwise: 'away' }),
  onFailure({ exchangeName: 5, routingKey: 'queue' }),
  onFailure({ exchangeName: '', routingKey: LONG }),
  onFailure({ exchangeName: '', routingKey: 'queue', mandatory: true }),
  onFailure(5),
]

/** A call that cannot be meant is refused, and what it was made on works as before. */
export const misused: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const reported: unknown[] = []
  const { protocol } = await connect({ onError: error => void reported.push(`${error}`) })
  await protocol.queueDeclare('queue')
  await protocol.queueDeclare('prices')
  await protocol.rpcServer('prices', () => 'dear')
  const consumer = await protocol.consumer('queue', { prefetchCount: 5 })
  const publisher = await protocol.publisher({ mandatory: true })
  const client = await protocol.rpcClient({ timeout: 5_000 })
  const things = { protocol, consumer, publisher, client }
  await client.call('prices', 'first')
  const look = (): string => {
    const { arrived, entities, consumers } = control.evidence()
    return JSON.stringify([arrived.length, [...entities], [...consumers], protocol.stats().openChannels])
  }
  const before = look()
  const refused = async (call: () => unknown, what: string): Promise<void> => {
    let ended = 'success'
    try {
      await Promise.race([call(), outing.sleep(100)])
    } catch (error) {
      ended = (error as Error).name
    }
    outing.equal(ended, 'EncodeError', `how ${what} ended`)
  }
  const options = [{ nonsense: true }, [], 5][outing.number % 3]
  for (const call of CALLS)
    await refused(() => call(things, options as never), `${call} with ${JSON.stringify(options)}`)
  for (const call of BAD) await refused(() => call(things), `${call}`)
  await outing.sleep(50)
  outing.equal(look(), before, 'what the broker has after calls that were refused')
  outing.equal(reported, [], 'what was reported though a promise had rejected with it')
  const next = consumer.next({ timeout: 5_000 })
  await publisher.publish('x', 'queue', {}, { timeout: 5_000, mandatory: false })
  const { value } = await next
  outing.equal(value?.text(), 'x', 'a message after calls that were refused')
  outing.equal(
    (await client.call('prices', 'x', { timeout: 5_000 })).text(),
    'dear',
    'an answer after calls that were refused',
  )
}
