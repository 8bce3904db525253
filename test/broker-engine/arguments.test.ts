import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import type { ReleaseName } from '../../src/broker/release-name.ts'
import * as methods from '../../src/protocol/methods.ts'
import { decimal, double, type FieldTable, type FieldValue } from '../../src/protocol/values.ts'
import { EngineClient, type Sent, startEngine } from './engine-client.ts'

function open(release: ReleaseName): EngineClient {
  return EngineClient.open(startEngine({ release }).engine)
}

function answerOf(client: EngineClient): Sent | undefined {
  return client.take().at(-1)
}

/** What is said of an argument of a queue, as both releases of RabbitMQ were seen to say it. */
const said: readonly (readonly [FieldTable, string, string])[] = [
  [{ 'x-queue-mode': 'odd' }, '"unsupported queue mode \'odd\'"', ''],
  [{ 'x-queue-mode': 'a"b\n' }, '"unsupported queue mode \'a\\"b\\n\'"', ''],
  [{ 'x-queue-version': 3 }, '"unsupported queue version \'3\'"', '"unsupported queue version \'3\'"'],
  [{ 'x-queue-version': 1 }, '', '"unsupported queue version \'1\'"'],
  [{ 'x-queue-version': 'two' }, '"expected integer, got longstr"', '"expected integer, got longstr"'],
  [{ 'x-queue-type': '' }, '"unsupported queue type \'\'"', ''],
  [{ 'x-queue-leader-locator': 'balanced' }, 'of queue type rabbit_classic_queue', ''],
  [{ 'x-expires': 2n ** 62n }, '{value_too_large,4611686018427387904}', '{value_too_large,4611686018427387904}'],
  [{ 'x-queue-leader-locator': 'odd' }, 'of queue type rabbit_classic_queue', 'invalid_queue_locator_arg'],
]

/** What is said of an argument that differs, by what it was and what it is then, in both releases. */
const different: readonly (readonly [FieldValue | undefined, FieldValue | undefined, string])[] = [
  [1, double(1), "received '1.0' but current is '1'"],
  [undefined, double(1), "received the value '1.0' of type 'double' but current is none"],
  [1, new Date(1000), ''],
  [2, new Date(1000), "received '1' but current is '2'"],
  [undefined, new Date(1000), "received the value '1' of type 'timestamp' but current is none"],
  [1, null, "received none but current is '1'"],
  [1, undefined, "received none but current is the value '1' of type 'signedint'"],
  [1, [1, 'a'], `received '[{signedint,1},{longstr,<<"a">>}]' but current is '1'`],
  [1, { a: 1, b: 'x' }, `received '[{<<"a">>,signedint,1},{<<"b">>,longstr,<<"x">>}]' but current is '1'`],
  [1, {}, "received '[]' but current is '1'"],
  [1, Buffer.from('xy'), "received 'xy' but current is '1'"],
  [undefined, decimal(314, 2), "received the value '{2,314}' of type 'decimal' but current is none"],
  [1, decimal(1, 0), 'INTERNAL_ERROR'],
]

describe('An argument', () => {
  for (const [first, second, text] of different) {
    it(`that was ${inspect(first)} and is ${inspect(second)} is said to differ as RabbitMQ does`, () => {
      for (const release of ['3.10', '4.3'] as const) {
        const client = open(release)
        const declare = (value: FieldValue | undefined) => {
          const table: FieldTable = value === undefined ? {} : { 'x-max-length': value }
          client.send(1, methods.QueueDeclare, { queueName: 'q', arguments: table })
          return answerOf(client)
        }
        assert.equal(declare(first)?.name, 'queue.declare-ok')
        const answer = declare(second)
        if (text === '') assert.equal(answer?.name, 'queue.declare-ok')
        else assert.ok(answer?.args.replyText.endsWith(text), answer?.args.replyText)
      }
    })
  }

  it('is a text also if it is not UTF-8, and is printed in Latin-1 then', () => {
    const client = open('4.3')
    const declare = (text: string) => {
      const table = { 'x-dead-letter-exchange': text }
      const bytes = EngineClient.encode(1, methods.QueueDeclare, { queueName: 'q', arguments: table })
      client.bytes(bytes.map(octet => (octet === 0x7e ? 0xff : octet)))
      return answerOf(client)
    }
    assert.equal(declare('one~')?.name, 'queue.declare-ok')
    assert.match(declare('two~')?.args.replyText, / received 'twoÿ' but current is 'oneÿ'$/)
  })

  it('of a stream is printed in octets if it is not a text, and with its quotes escaped if it is one, by RabbitMQ 4.3', () => {
    for (const [offset, printed] of [
      [`a'b"c\\`, `<<"a'b\\"c\\\\">>`],
      ['a\nb', '<<"a\\nb">>'],
      ['hß', '<<104,195,159>>'],
    ] as const) {
      const client = open('4.3')
      client.send(1, methods.QueueDeclare, { queueName: 's', durable: true, arguments: { 'x-queue-type': 'stream' } })
      client.send(1, methods.BasicQos, { prefetchCount: 1 })
      client.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-stream-offset': offset } })
      const text = answerOf(client)?.args.replyText
      assert.ok(text.endsWith(`{longstr,${printed}}}`), text)
    }
  })

  it('x-credit of the wrong type breaks a queue, and is nothing to a stream', () => {
    const client = open('3.10')
    client.send(1, methods.QueueDeclare, { queueName: 's', durable: true, arguments: { 'x-queue-type': 'stream' } })
    client.send(1, methods.QueueDeclare, { queueName: 'q' })
    client.send(1, methods.BasicQos, { prefetchCount: 1 })
    client.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-credit': 1 } })
    assert.equal(answerOf(client)?.name, 'basic.consume-ok')
    client.send(1, methods.BasicConsume, { queueName: 'q', arguments: { 'x-credit': 1 } })
    assert.equal(answerOf(client)?.args.replyText, 'INTERNAL_ERROR')
  })

  it('that is the name of a queue is without line ends, also when it is deleted', () => {
    const client = open('4.3')
    client.send(1, methods.QueueDeclare, { queueName: 'a\nb' })
    assert.equal(answerOf(client)?.args.queue, 'ab')
    client.send(1, methods.QueueDelete, { queueName: 'a\r\nb' })
    client.send(1, methods.QueueDeclare, { queueName: 'ab', passive: true })
    assert.match(answerOf(client)?.args.replyText, /^NOT_FOUND - no queue 'ab'/)
  })

  for (const [table, ...texts] of said) {
    it(`of a queue is judged as RabbitMQ 3.10 and 4.3 do: ${inspect(table)}`, () => {
      for (const [at, release] of (['3.10', '4.3'] as const).entries()) {
        const client = open(release)
        client.send(1, methods.QueueDeclare, { queueName: 'q', arguments: table })
        const answer = answerOf(client)
        const wrong = texts[at] ?? ''
        if (wrong === '') assert.equal(answer?.name, 'queue.declare-ok', release)
        else assert.ok(answer?.args.replyText.endsWith(wrong), `${release}: ${answer?.args.replyText}`)
      }
    })
  }

  it('that names the master of a classic queue ends the connection if RabbitMQ breaks on it', () => {
    const table = { 'x-queue-master-locator': 'odd' }
    const old = open('3.10')
    old.send(1, methods.QueueDeclare, { queueName: 'q', arguments: table })
    const broken = { replyCode: 541, replyText: 'INTERNAL_ERROR', classId: 0, methodId: 0 }
    assert.deepEqual({ ...answerOf(old)?.args }, broken)
    const recent = open('4.3')
    recent.send(1, methods.QueueDeclare, { queueName: 'q', arguments: table })
    assert.match(answerOf(recent)?.args.replyText, /^INTERNAL_ERROR - Feature `queue_master_locator` is deprecated\./)
  })

  it('of a consumer is refused by queues of another type, unless the release does not know it at all', () => {
    const table = { 'x-stream-filter': 'one' }
    for (const [release, name] of [
      ['3.10', 'basic.consume-ok'],
      ['4.3', 'channel.close'],
    ] as const) {
      const client = open(release)
      client.send(1, methods.QueueDeclare, { queueName: 'q' })
      client.send(1, methods.BasicConsume, { queueName: 'q', arguments: table })
      assert.equal(answerOf(client)?.name, name)
    }
  })

  it('that is not an offset of a stream is checked before the prefetch, and breaks the channel after it', () => {
    for (const [offset, prefetchCount, replyCode, text] of [
      ['5x', 0, 406, '{invalid_stream_offset_arg,{longstr,<<"5x">>}}'],
      [1.5, 0, 406, "consumer prefetch count is not set for stream queue 's' in vhost '/'"],
      [1.5, 1, 541, 'INTERNAL_ERROR'],
      [true, 1, 541, 'INTERNAL_ERROR'],
    ] as const) {
      const client = open('4.3')
      client.send(1, methods.QueueDeclare, { queueName: 's', durable: true, arguments: { 'x-queue-type': 'stream' } })
      client.send(1, methods.BasicQos, { prefetchCount })
      client.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-stream-offset': offset } })
      const answer = answerOf(client)
      assert.equal(answer?.args.replyCode, replyCode)
      assert.ok(answer?.args.replyText.endsWith(text), answer?.args.replyText)
    }
  })

  it('called delivery mode of a message is 1 or 2 to RabbitMQ 3.10, and anything later', () => {
    const old = open('3.10')
    old.publish(1, '', 'q', 'm', { deliveryMode: 7 })
    assert.equal(answerOf(old)?.args.replyText, 'PRECONDITION_FAILED - invalid message: {delivery_mode_unknown,7}')
    const recent = open('4.3')
    recent.publish(1, '', 'q', 'm', { deliveryMode: 7 })
    assert.deepEqual(recent.take(), [])
  })
})
