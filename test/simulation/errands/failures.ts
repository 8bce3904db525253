import type { Errand } from './errand.ts'

/** Milliseconds by which anything may come late. */
const LATE = 300

/** What goes back is held back, longer each time, and keeps no other message away; a close does not wait for that. */
export const heldBack: Errand = async outing => {
  const { protocol, clock } = outing
  const queue = await outing.queue()
  const tries: number[] = []
  let worse = 0
  const good: string[] = []
  const consumer = outing.keep(
    await protocol.consumer(
      queue,
      message => {
        if (message.text() === 'bad') {
          tries.push(clock.now())
          throw new Error('not yet')
        }
        if (message.text() === 'worse') {
          worse++
          throw new Error('not yet, too')
        }
        good.push(message.text())
      },
      // Both places are taken by messages that fail. One place alone would keep all others away.
      { prefetchCount: 2 },
    ),
  )
  // Two windows of them.
  await outing.publish(queue, 'bad', 'worse', 'worse', 'worse', 'good 1', 'good 2')
  await outing.until(() => good.length === 2, 'a message that is held back keeps others away', 900)
  await outing.until(() => tries.length === 3, 'what is held back comes again')
  for (const [n, pause] of [1_000, 2_000].entries()) {
    const took = (tries[n + 1] ?? 0) - (tries[n] ?? 0)
    outing.expect(took >= pause && took <= pause + LATE, `pause ${n + 1} took ${took} ms, and not ${pause}`)
  }
  outing.expect(worse >= 4, 'other messages that are held back do not come again')
  const began = clock.now()
  await consumer.close()
  outing.took(began, 0, LATE, 'the close of a consumer that holds a message back')
  await outing.holds(queue, 4, 'messages that go back')
  // One alone leaves room enough, and a close waits for no pause.
  const other = await outing.queue()
  let begun = 0
  let closing = 0
  const single = outing.keep(
    await protocol.consumer(
      other,
      async () => {
        if (++begun === 3) closing = clock.now()
        if (begun === 3) void single.close()
        await outing.sleep(50)
        throw new Error('not yet')
      },
      { prefetchCount: 4 },
    ),
  )
  const { consumerTag } = single.stats()
  const closed = new Promise<void>(resolve => single.once('closed', () => resolve()))
  await outing.publish(other, '1')
  await outing.until(() => begun === 2, 'a message that failed once', 2_000)
  await outing.sleep(1_000)
  outing.equal(single.stats().consumerTag, consumerTag, 'the consumer of which one place is taken')
  await closed
  outing.took(closing, 50, 50 + LATE, 'the close of a consumer whose handler fails')
}

/** A message is not acked before a queue has its copy. */
export const copyToNowhere: Errand = async outing => {
  const queue = await outing.queue()
  let failed = 0
  const consumer = outing.keep(
    await outing.protocol.consumer(
      queue,
      () => {
        failed++
        throw new Error('no use for it')
      },
      { onFailure: { exchangeName: '', routingKey: `${queue} none` } },
    ),
  )
  await outing.publish(queue, '1')
  await outing.until(() => failed > 1, 'the second attempt')
  await consumer.close()
  await outing.holds(queue, 1, 'messages without a copy')
}

/** A close waits for the copies that are on their way, and no longer. */
export const copyAtClose: Errand = async outing => {
  const { clock } = outing
  const queue = await outing.queue()
  const parked = await outing.queue()
  let begun = 0
  const consumer = outing.keep(
    await outing.protocol.consumer(
      queue,
      async () => {
        begun++
        await outing.sleep(50)
        throw new Error('no use for it')
      },
      { onFailure: { exchangeName: '', routingKey: parked } },
    ),
  )
  await outing.publish(queue, '1', '2', '3')
  await outing.until(() => begun === 3, 'three handlers')
  const began = clock.now()
  await consumer.close()
  outing.took(began, 20, 1_000, 'the close of a consumer with copies on their way')
  await outing.holds(parked, 3, 'copies')
  await outing.holds(queue, 0, 'messages with a copy')
}

/** Each of the other ends of a message that fails. */
export const failures: Errand = async outing => {
  const { protocol } = outing
  const dead = await outing.queue()
  const parked = await outing.queue()
  const queue = await outing.queue({ arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead } })
  const copy = { exchangeName: '', routingKey: parked }
  const seen: string[] = []
  outing.keep(
    await protocol.consumer(
      queue,
      message => {
        seen.push(message.text())
        throw new Error(`no ${message.text()}`)
      },
      {
        concurrency: 1,
        onFailure: (message, error) => {
          outing.expect((error as Error).message === `no ${message.text()}`, 'another error was given to onFailure')
          switch (message.text()) {
            case 'reject':
              return 'reject'
            case 'drop':
              return 'drop'
            case 'copy':
              return copy
            case 'back':
              return message.envelope.isRedeliver ? copy : 'requeue'
            default:
              outing.expect(message.ack(), 'a message cannot be acked in onFailure')
              return 'reject'
          }
        },
      },
    ),
  )
  await outing.publish(queue, 'reject', 'own', 'drop', 'back')
  const properties = { expiration: '60000', headers: { kept: [1, 'two'], 'x-retries': 7 } }
  await protocol.publish('copy', '', queue, properties)
  const reject = await outing.take(dead)
  outing.equal(reject?.body.toString(), 'reject', 'the dead letter')
  await outing.until(() => seen.length >= 6, 'all are handled')
  outing.equal(seen, ['reject', 'own', 'drop', 'back', 'copy', 'back'], 'the messages')
  await outing.holds(parked, 2, 'parked')
  const first = await outing.take(parked)
  outing.equal(first?.body.toString(), 'copy', 'the first parked message')
  outing.equal(
    [first?.properties.expiration ?? 'none', first?.properties.headers?.['kept']],
    ['none', [1, 'two']],
    'it',
  )
  outing.equal(await outing.takeAll(parked), ['back'], 'the other parked messages')
  await outing.holds(queue, 0, 'messages that are left')
  outing.equal(await outing.ready(dead), 0, 'dead letters that are left')
}
