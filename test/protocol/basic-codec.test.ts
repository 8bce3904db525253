import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  BASIC_ACK,
  BASIC_NACK,
  BASIC_REJECT,
  readDeliver,
  readTag,
  writeSettlement,
} from '../../src/protocol/basic-codec.ts'
import { viewOf } from '../../src/protocol/bytes.ts'
import { PROTOCOL_HEADER } from '../../src/protocol/constants.ts'
import { decodeMethod, encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Writer } from '../../src/protocol/writer.ts'

function byTable<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): Buffer {
  return Writer.encode(writer => encodeMethod(writer, channel, method, args))
}

describe('writeSettlement', () => {
  const tag = fc.oneof(fc.nat(1000), fc.maxSafeNat())

  it('writes basic.ack, basic.nack and basic.reject as the table of methods does', () => {
    fc.assert(
      fc.property(fc.nat(0xffff), tag, fc.boolean(), fc.boolean(), (channel, deliveryTag, multiple, requeue) => {
        const bits = (multiple ? 1 : 0) | (requeue ? 2 : 0)
        const hot = (method: number, octet: number): Buffer =>
          Writer.encode(writer => writeSettlement(writer, channel, method, deliveryTag, octet))
        assert.deepEqual(
          hot(BASIC_ACK, multiple ? 1 : 0),
          byTable(channel, methods.BasicAck, { deliveryTag, multiple }),
        )
        assert.deepEqual(hot(BASIC_NACK, bits), byTable(channel, methods.BasicNack, { deliveryTag, multiple, requeue }))
        assert.deepEqual(
          hot(BASIC_REJECT, requeue ? 1 : 0),
          byTable(channel, methods.BasicReject, { deliveryTag, requeue }),
        )
      }),
    )
  })

  it('writes tags whose halves are both used, which readTag reads back', () => {
    fc.assert(
      fc.property(tag, deliveryTag => {
        const bytes = Writer.encode(writer => writeSettlement(writer, 1, BASIC_ACK, deliveryTag, 0))
        assert.equal(readTag(viewOf(bytes), 11), deliveryTag)
        assert.equal(bytes.readBigUInt64BE(11), BigInt(deliveryTag))
      }),
    )
  })
})

describe('readDeliver', () => {
  const args = fc.record({
    consumerTag: fc.string({ unit: 'grapheme', maxLength: 40 }),
    deliveryTag: fc.maxSafeNat(),
    redelivered: fc.boolean(),
    exchangeName: fc.string({ unit: 'grapheme', maxLength: 40 }),
    routingKey: fc.string({ unit: 'grapheme', maxLength: 100 }).filter(text => Buffer.byteLength(text) < 256),
  })

  it('reads what the table of methods writes, with the tag raised by the offset', () => {
    fc.assert(
      fc.property(args, fc.nat(1000), (deliver, offset) => {
        fc.pre(deliver.deliveryTag + offset <= Number.MAX_SAFE_INTEGER)
        const bytes = byTable(1, methods.BasicDeliver, deliver)
        assert.deepEqual(readDeliver(bytes, 11, bytes.length - 1, offset), {
          consumerTag: deliver.consumerTag,
          deliveryTag: deliver.deliveryTag + offset,
          exchangeName: deliver.exchangeName,
          routingKey: deliver.routingKey,
          isRedeliver: deliver.redelivered,
        })
      }),
    )
  })

  it('looks at no bit but the first, as the table of methods does', () => {
    const bytes = byTable(1, methods.BasicDeliver, {
      consumerTag: 'c',
      deliveryTag: 1,
      redelivered: false,
      exchangeName: '',
      routingKey: '',
    })
    const bits = bytes.length - 4
    for (const [octet, isRedeliver] of [
      [0xfe, false],
      [0xff, true],
    ] as const) {
      bytes[bits] = octet
      assert.equal(readDeliver(bytes, 11, bytes.length - 1, 0)?.isRedeliver, isRedeliver)
      assert.equal(decodeMethod(bytes, 7, bytes.length - 1).args['redelivered'], isRedeliver)
    }
  })

  it('takes arguments that are cut short or too long for none', () => {
    fc.assert(
      fc.property(args, deliver => {
        const bytes = Buffer.concat([byTable(1, methods.BasicDeliver, deliver), Buffer.alloc(300)])
        const end = byTable(1, methods.BasicDeliver, deliver).length - 1
        for (let wrong = 24; wrong < end; wrong++) assert.equal(readDeliver(bytes, 11, wrong, 0), undefined)
        assert.equal(readDeliver(bytes, 11, end + 1, 0), undefined)
      }),
      { numRuns: 20 },
    )
  })
})

describe('the protocol header', () => {
  it('is AMQP 0-9-1 (§4.2.2)', () => assert.equal(Buffer.from(PROTOCOL_HEADER).toString('hex'), '414d515000000901'))
})
