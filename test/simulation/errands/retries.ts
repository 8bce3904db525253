import type { Errand } from './errand.ts'

/** How long a message may wait more the first time, as the documents say, and what the network takes. */
const LATE = 3_500

/** A message is handled as often as the consumer says, with its pauses, and then it is where the consumer says. */
export const retries: Errand = async outing => {
  const { protocol, clock } = outing
  const queue = await outing.queue()
  const parked = await outing.queue()
  const exchange = await outing.exchange('direct')
  await protocol.queueBind(queue, exchange, 'key')
  const attempts: number[] = []
  const times: number[] = []
  const delays = [500, 6_000]
  let deleted = 0
  outing.keep(
    await protocol.consumer(
      queue,
      async message => {
        attempts.push(message.attempt)
        const { exchangeName, routingKey } = message.envelope
        outing.equal([exchangeName, routingKey], [exchange, 'key'], `where attempt ${message.attempt} came from`)
        times.push(clock.now())
        // It is made again when it is needed.
        if (attempts.length === 3) {
          await outing.protocol.queueDelete(`${queue}.retry.${delays[1]}`)
          deleted++
        }
        throw new RangeError('no use for it')
      },
      { onFailure: { retries: 3, delays, otherwise: { exchangeName: '', routingKey: parked } } },
    ),
  )
  await protocol.publish('work', exchange, 'key', {
    messageId: 'retried',
    headers: { kept: 7 },
    contentType: 'text/plain',
  })
  const copy = await outing.take(parked, 60_000)
  outing.equal(attempts, [1, 2, 3, 4], 'the attempts')
  outing.equal(deleted, 1, 'times that a queue of messages that wait was deleted')
  for (const [n, delay] of [...delays, delays[1] ?? 0].entries()) {
    const pause = (times[n + 1] ?? 0) - (times[n] ?? 0)
    outing.expect(pause >= delay && pause <= delay + LATE, `retry ${n + 1} came after ${pause} ms, and not ${delay}`)
  }
  const { body, properties } = copy ?? {}
  const { headers = {} } = properties ?? {}
  outing.equal(body?.toString(), 'work', 'the body of the copy')
  outing.equal(
    [properties?.messageId, properties?.contentType, headers['kept']],
    ['retried', 'text/plain', 7],
    'the copy',
  )
  outing.equal(
    [headers['x-exception-message'], headers['x-original-exchange'], headers['x-original-routingKey']],
    ['no use for it', exchange, 'key'],
    'the headers of the copy',
  )
  await outing.holds(queue, 0, 'messages that are left')
}
