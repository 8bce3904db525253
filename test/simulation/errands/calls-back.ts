import type { Errand } from './errand.ts'

/**
 * A getter of a message calls the client while that is written. What would have to be written in the middle of it is refused, the rest
 * waits, and neither disturbs the other.
 */
export const callsBack: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect()
  for (const queue of ['outer', 'inner', 'work']) await protocol.queueDeclare(queue)
  const held = (queue: string): number => control.evidence().queued.get(queue)?.length ?? 0
  const channel = await protocol.channel({ publisherConfirms: true })
  for (const text of ['1', '2', '3', '4']) await protocol.publish(text, '', 'work', { messageId: text })
  const consumer = await protocol.consumer('work', { prefetchCount: 3 })
  const { value: first } = await consumer.next()
  const { value: second } = await consumer.next()
  const handling = await protocol.consumer('inner', () => {})
  const client = await protocol.rpcClient({ timeout: 5_000 })
  const publisher = await protocol.publisher()
  const own = await protocol.channel({ publisherConfirms: true })
  const inner: (readonly [what: string, call: () => unknown, should: unknown])[] = [
    ['a publish', () => protocol.publish('x', '', 'inner', { messageId: 'a' }), 'EncodeError'],
    ['a publish of a channel', () => channel.publish('x', '', 'inner', { messageId: 'b' }), 'EncodeError'],
    ['a declare', () => protocol.queueDeclare('made').then(({ queue }) => queue), 'made'],
    ['a declare of a channel', () => channel.queueDeclare('made'), 'EncodeError'],
    ['an ack', () => first?.ack(), false],
    ['a requeue', () => second?.nack({ requeue: false }), false],
    ['the close of a consumer', () => handling.close(), undefined],
    ['the close of a client', () => client.close(), undefined],
    ['the close of a publisher', () => publisher.close(), undefined],
    ['another consumer', () => protocol.consumer('made').then(made => made.close()), undefined],
    ['the close of a channel', () => own.close(), 'EncodeError'],
  ]
  for (const [what, call, should] of inner) {
    for (const way of ['protocol', 'channel'] as const) {
      let ended: Promise<unknown> | undefined
      const headers = {
        get read(): string {
          ended ??= (async () => call())().catch((error: Error) => error.name)
          return 'is read'
        },
      }
      if (way === 'protocol') await protocol.publish('x', '', 'outer', { headers, messageId: 'outer' })
      else await channel.publish('x', '', 'outer', { headers, messageId: 'outer' })
      const came = await Promise.race([ended, outing.sleep(3_000).then(() => 'nothing')])
      outing.equal(came, should, `what comes of ${what} while a message of a ${way} is written`)
      const got = await channel.basicGet('outer', { noAck: true })
      outing.equal(got?.properties.headers?.['read'], 'is read', `the message of a ${way} around ${what}`)
    }
  }
  const failing = {
    get read(): string {
      throw new RangeError('of a getter')
    },
  }
  for (const publish of [protocol, channel].map(by => by.publish('x', '', 'outer', { headers: failing })))
    await outing.failure(publish, 'EncodeError', 'a publish whose getter throws')
  await outing.sleep(50)
  outing.equal([held('outer'), held('work')], [0, 4], 'messages that wait')
  outing.equal(control.evidence().consumers.get('inner')?.length ?? 0, 0, 'consumers that are left')
  await consumer.close()
}
