import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Message } from '../../../src/patterns/consume/message.ts'
import { RepeatedFailures } from '../../../src/patterns/consume/repeated-failures.ts'
import { writeProperties } from '../../../src/protocol/properties.ts'
import { Properties } from '../../../src/protocol/received-properties.ts'
import { Writer } from '../../../src/protocol/writer.ts'

function message(body: string, options: { redelivered?: boolean; messageId?: string; count?: number } = {}): Message {
  const { redelivered = false, messageId, count } = options
  const bytes = Writer.encode(writer => {
    writer.reserve(1_000)
    writeProperties(writer, { messageId, headers: count === undefined ? undefined : { 'x-delivery-count': count } })
  })
  const envelope = { consumerTag: 'c', deliveryTag: 1, exchangeName: '', routingKey: 'q', isRedeliver: redelivered }
  return new Message(Buffer.from(body), envelope, Properties.read(bytes, 0, bytes.length), undefined)
}

describe('RepeatedFailures', () => {
  it('counts the failures of one message', () => {
    const failures = new RepeatedFailures()
    assert.equal(failures.count(message('a')), 0)
    assert.equal(failures.count(message('a', { redelivered: true })), 1)
    assert.equal(failures.count(message('a', { redelivered: true })), 2)
    failures.forget(message('a', { redelivered: true }))
    assert.equal(failures.count(message('a', { redelivered: true })), 0)
  })

  it('knows a message by its messageId, or by its body', () => {
    const failures = new RepeatedFailures()
    failures.count(message('a', { messageId: '1' }))
    failures.count(message('b'))
    assert.equal(failures.count(message('x', { messageId: '1', redelivered: true })), 1)
    assert.equal(failures.count(message('a', { redelivered: true })), 0)
    assert.equal(failures.count(message('b', { redelivered: true })), 1)
  })

  it('takes of several that are alike the one that failed least: those that never came again lengthen nothing', () => {
    const failures = new RepeatedFailures()
    for (let i = 0; i < 6; i++) {
      assert.equal(failures.count(message('tick')), 0)
      assert.equal(failures.count(message('tick', { redelivered: true })), 1, `message ${i}`)
    }
  })

  it('takes the count of a queue that counts, and remembers nothing of it', () => {
    const failures = new RepeatedFailures()
    assert.equal(failures.count(message('a', { count: 3, redelivered: true })), 3)
    failures.forget(message('a', { count: 4, redelivered: true }))
    assert.equal(failures.any, false)
  })

  it('counts itself what a publisher counted below 0', () => {
    const failures = new RepeatedFailures()
    assert.equal(failures.count(message('a', { count: -1_000 })), 0)
    assert.equal(failures.count(message('a', { count: -1_000, redelivered: true })), 1)
  })

  it('counts a message whose body was transferred away', () => {
    const failures = new RepeatedFailures()
    const failed = (redelivered: boolean): Message => {
      const one = message('', { redelivered })
      const body = Buffer.from(new ArrayBuffer(8))
      structuredClone(body.buffer, { transfer: [body.buffer as ArrayBuffer] })
      return new Message(body, one.envelope, one.properties, undefined)
    }
    assert.equal(failures.count(failed(false)), 0)
    assert.equal(failures.count(failed(true)), 1)
    assert.equal(failures.count(failed(true)), 2)
  })

  it('is bounded by its memory of messages that are alike, too', () => {
    const failures = new RepeatedFailures()
    for (let i = 0; i < 10_000; i++) failures.count(message('tick'))
    assert.equal(failures.count(message('tick', { redelivered: true })), 1)
  })
})
