import type { Errand } from './errand.ts'

/** A logger has a line of each thing that happens to one of two connections, with its level and name; figures are those of both. */
export const logs: Errand = async outing => {
  const { control, connect, release } = outing.startBroker()
  const lines: string[] = []
  // The words are for people: what counts here is how many lines there are, of what level and connection.
  const write = (level: string) => (text: string) => void lines.push(`${level} ${text.slice(0, text.indexOf(']') + 1)}`)
  const logger = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') }
  const connectionName = 'app'
  const own = await connect({
    logger,
    connectionName,
    connections: 'separate',
    recovery: { initialDelay: 100, jitter: 0 },
  })
  const { protocol } = own
  await protocol.queueDeclare('queue')
  const expect = (what: string, ...should: readonly string[]): void =>
    outing.equal(lines.splice(0).sort(), should, `lines of ${what}`)
  await protocol.publish('x', '', 'queue')
  expect('a connection', 'info [asyncamqp app.publisher]', 'info [asyncamqp app]')
  await protocol.consumer(
    'queue',
    () => {
      throw new RangeError('no use for it')
    },
    { onFailure: 'drop' },
  )
  await outing.sleep(100)
  expect('a handler that fails')
  control.cancelConsumers('queue')
  await outing.sleep(2_000)
  expect('a consumer that the broker cancels', 'info [asyncamqp app]', 'warn [asyncamqp app]')
  own.cut()
  await protocol.ready({ timeout: 20_000 })
  await outing.sleep(1_000)
  expect(
    'a loss',
    'info [asyncamqp app.publisher]',
    'info [asyncamqp app]',
    'warn [asyncamqp app.publisher]',
    'warn [asyncamqp app]',
  )
  const channel = await protocol.channel()
  for (let n = 0; n < 2; n++) await channel.basicQos({ prefetchCount: 5, connectionGlobal: true })
  // It is warned of once, if the broker takes that for the limit of each consumer.
  expect('a limit of a channel', ...(release === '3.10' ? [] : ['warn [asyncamqp app]']))
  const { publishers, consumers, published, delivered, reconnects, publisherConnection } = protocol.stats()
  const all = [publishers.length, consumers.length, published, delivered, reconnects, publisherConnection?.published]
  outing.equal(all, [1, 1, 1, 1, 2, 1], 'figures of two connections')
  await protocol.close()
  expect('a close', 'info [asyncamqp app.publisher]', 'info [asyncamqp app]')
}
