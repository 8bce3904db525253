import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Acker } from '../../../src/channel/consume/acker.ts'
import { asFirstPublished } from '../../../src/patterns/consume/first-published.ts'
import { Message, StreamMessage } from '../../../src/patterns/consume/message.ts'
import type { BasicProperties } from '../../../src/protocol/properties.ts'
import { encode, read } from '../../support/property-lists.ts'

const ORIGIN = { 'x-original-exchange': 'orders', 'x-original-routingKey': 'paid' }
const acker = {} as Acker

function came(headers: BasicProperties['headers'], exchangeName = '') {
  const envelope = { consumerTag: 'c', deliveryTag: 1, exchangeName, routingKey: 'q', isRedeliver: false }
  return [Buffer.from('body'), envelope, read(encode({ headers })), acker] as const
}

describe('The exchange and routing key of a message', () => {
  it('are those of its first publish after a wait for a retry', () => {
    const message = asFirstPublished(new Message(...came({ 'x-retries': 1, ...ORIGIN })))
    assert.equal(message.envelope.exchangeName, 'orders')
    assert.equal(message.envelope.routingKey, 'paid')
    assert.equal(message.acker, acker)
  })

  it('stay as they are if it was not retried, came by an exchange, or does not say whence it came', () => {
    const messages = [
      came(ORIGIN),
      came({ 'x-retries': 1, ...ORIGIN }, 'orders'),
      came({ 'x-retries': 1, 'x-original-exchange': 'orders' }),
      came({ 'x-retries': 1, 'x-original-exchange': 1, 'x-original-routingKey': 2 }),
    ].map(args => new Message(...args))
    for (const message of messages) assert.equal(asFirstPublished(message), message)
  })

  it('stay as they are in a stream, whose messages have to remain messages of a stream', () => {
    const message = new StreamMessage(...came({ 'x-retries': 1, ...ORIGIN }), () => true, 1)
    assert.equal(asFirstPublished(message), message)
  })
})
