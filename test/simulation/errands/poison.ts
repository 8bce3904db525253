import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** A message over which the broker closes the channel is refused alone: those beside it get through, in order. */
export const poison: Errand = async outing => {
  const queue = await outing.queue()
  const publisher = outing.keep(await outing.protocol.publisher({ maxInFlight: outing.number % 2 === 0 ? 100 : 2 }))
  const count = 6
  // The user is not who has logged in: 406.
  const bad = outing.number % count
  const sent = Array.from({ length: count }, (_, n) =>
    publisher.publish(`${n}`, queue, n === bad ? { userId: 'somebody else' } : {}, { timeout: 50_000 }),
  )
  const ended = await Promise.allSettled(sent)
  for (const [n, { status }] of ended.entries())
    outing.equal(status, n === bad ? 'rejected' : 'fulfilled', `message ${n} beside ${bad}, which is refused`)
  const refused = ended[bad]
  const { name, outcome, replyCode } = refused?.status === 'rejected' ? (refused.reason as Partial<RefusedError>) : {}
  outing.equal([name, replyCode], ['ChannelClosedError', 406], 'the error of what is refused')
  // It may have been sent again, to find out which of several it was.
  outing.expect(outcome === 'refused' || outcome === 'unknown', `the outcome of what is refused is ${outcome}`)
  const good = Array.from({ length: count }, (_, n) => `${n}`).filter(text => text !== `${bad}`)
  const texts = await outing.takeAll(queue)
  outing.equal([...new Set(texts)], good, 'what got through')
  await publisher.publish('after', queue, {}, { timeout: 20_000 })
  outing.equal(await outing.takeAll(queue), ['after'], 'what is published after it')
}

interface RefusedError extends Error {
  readonly outcome: string
  readonly replyCode: number
}

/** What is published to an exchange that is gone is refused, and the publisher goes on when it is there again. */
export const goneExchange: Errand = async outing => {
  const queue = await outing.queue()
  const exchange = await outing.exchange('fanout')
  await outing.protocol.queueBind(queue, exchange)
  const publisher = outing.keep(await outing.protocol.publisher({ exchangeName: exchange }))
  await publisher.publish('1', '')
  await outing.protocol.exchangeDelete(exchange)
  const bounds = { timeout: 20_000 }
  const refused = [2, 3].map(n => outing.meanwhile(publisher.publish(`${n}`, '', {}, bounds)))
  for (const sent of refused) await outing.failure(sent, 'ChannelClosedError', 'a publish to an exchange that is gone')
  await outing.protocol.exchangeDeclare(exchange, 'fanout')
  await outing.protocol.queueBind(queue, exchange)
  await publisher.publish('4', '', {}, bounds)
  outing.equal(await outing.takeAll(queue), ['1', '4'], 'what got through')
}

/** What was taken once, and is refused when it is sent again after a loss, is not reported as refused. */
export const takenAndRefused: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const other = await connect()
  await other.protocol.queueDeclare('taken')
  for (const exchange of ['gone', 'there']) {
    await other.protocol.exchangeDeclare(exchange, 'fanout')
    await other.protocol.queueBind('taken', exchange)
  }
  control.withholdConfirms()
  const bounds = { timeout: 20_000 }
  const refused = outing.meanwhile(own.protocol.publish('1', 'gone', '', { messageId: '1' }, bounds))
  const kept = outing.meanwhile(own.protocol.publish('2', 'there', '', { messageId: '2' }, bounds))
  await outing.until(() => control.evidence().arrived.length === 2, 'two messages', 1_000)
  await other.protocol.exchangeDelete('gone')
  own.cut()
  const { outcome } = await outing.failure(refused, 'ChannelClosedError', 'a message that was taken and then refused')
  outing.equal(outcome, 'unknown', 'its outcome')
  control.releaseConfirms()
  await kept
  outing.equal((control.evidence().queued.get('taken') ?? []).includes('1'), true, 'it is there')
}

/** A message that comes back when it is sent again may have been taken the first time. */
export const takenAndReturned: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const other = await connect()
  await other.protocol.queueDeclare('queue')
  control.withholdConfirms()
  const sent = outing.meanwhile(own.protocol.publish('1', '', 'queue', { messageId: '1' }, { timeout: 20_000 }))
  await outing.until(() => control.evidence().arrived.length === 1, 'a message', 1_000)
  own.refuse(true)
  own.cut()
  control.releaseConfirms()
  await other.protocol.queueDelete('queue')
  own.refuse(false)
  const { outcome } = await outing.failure(sent, 'MessageReturnedError', 'a message that was taken')
  outing.equal(outcome, 'unknown', 'its outcome')
}
