import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { EncodeError, FrameError, ProtocolError } from '../../src/errors.ts'
import type { Field } from '../../src/protocol/fields.ts'
import { frameHeader } from '../../src/protocol/layouts.ts'
import { decodeMethod, encodeMethod } from '../../src/protocol/method-codec.ts'
import {
  type AnyMethod,
  type ArgumentsOf,
  BasicAck,
  BasicConsume,
  BasicDeliver,
  BasicNack,
  BasicPublish,
  BasicQos,
  BasicRecover,
  ChannelOpen,
  ConnectionClose,
  ConnectionStart,
  ConnectionStartOk,
  ConnectionTuneOk,
  ConnectionUpdateSecret,
  ExchangeDeclare,
  ExchangeUnbind,
  methodByKey,
  QueueDeclare,
  type QueueDeclareOk,
  type ReplyOf,
} from '../../src/protocol/methods.ts'
import { Writer } from '../../src/protocol/writer.ts'

function encode<M extends AnyMethod>(channel: number, method: M, args: ArgumentsOf<M>, frameMax?: number): Buffer {
  return Writer.encode(writer => encodeMethod(writer, channel, method, args, frameMax))
}

/** Encode what the types would not let through. */
function encodeAnything(method: AnyMethod, args: unknown): Buffer {
  return encode(1, method, args as ArgumentsOf<AnyMethod>)
}

function decode(frame: Buffer): { readonly name: string; readonly args: Record<string, unknown> } {
  const { method, args } = decodeMethod(frame, 7, frame.length - 1)
  return { name: method.name, args }
}

describe('a method frame', () => {
  const vectors: readonly (readonly [string, Buffer, string])[] = [
    [
      'queue.declare',
      encode(1, QueueDeclare, {
        queueName: 'orders',
        durable: true,
        autoDelete: true,
        arguments: { 'x-max-length': 100_000 },
      }),
      '01 0001 00000024 0032 000a 0000 06 6f7264657273 0a 00000012 0c 782d6d61782d6c656e677468 49 000186a0 ce',
    ],
    [
      'exchange.declare, with five bits in an octet',
      encode(2, ExchangeDeclare, { exchangeName: 'logs', typeName: 'topic', internal: true, noWait: true }),
      '01 0002 00000016 0028 000a 0000 04 6c6f6773 05 746f706963 1a 00000000 ce',
    ],
    [
      'exchange.unbind',
      encode(1, ExchangeUnbind, { exchangeDestination: 'd', exchangeSource: 's', routingKey: 'k' }),
      '01 0001 00000011 0028 0028 0000 01 64 01 73 01 6b 00 00000000 ce',
    ],
    [
      'basic.consume',
      encode(3, BasicConsume, { queueName: 'q', consumerTag: 't', noLocal: true, exclusive: true }),
      '01 0003 0000000f 003c 0014 0000 01 71 01 74 05 00000000 ce',
    ],
    [
      'basic.qos',
      encode(1, BasicQos, { prefetchCount: 100, connectionGlobal: true }),
      '01 0001 0000000b 003c 000a 00000000 0064 01 ce',
    ],
    [
      'basic.deliver, with a tag past 32 bits',
      encode(1, BasicDeliver, {
        consumerTag: 'amq.ctag',
        deliveryTag: 4_294_967_297,
        redelivered: true,
        exchangeName: 'e',
        routingKey: 'k',
      }),
      '01 0001 0000001a 003c 003c 08 616d712e63746167 0000000100000001 01 01 65 01 6b ce',
    ],
    [
      'basic.nack, which requeues unless told otherwise',
      encode(1, BasicNack, { deliveryTag: 5, multiple: true }),
      '01 0001 0000000d 003c 0078 0000000000000005 03 ce',
    ],
    [
      'connection.start-ok',
      encode(0, ConnectionStartOk, {
        clientProperties: { product: 'p' },
        mechanism: 'PLAIN',
        response: '\0guest\0guest',
      }),
      '01 0000 00000032 000a 000b 0000000e 07 70726f64756374 53 00000001 70 05 504c41494e 0000000c 00 6775657374 00 6775657374 05 656e5f5553 ce',
    ],
    [
      'connection.tune-ok',
      encode(0, ConnectionTuneOk, { channelMax: 2047, frameMax: 131_072, heartbeat: 60 }),
      '01 0000 0000000c 000a 001f 07ff 00020000 003c ce',
    ],
    [
      'connection.close',
      encode(0, ConnectionClose, { replyCode: 200, replyText: 'bye', classId: 0, methodId: 0 }),
      '01 0000 0000000e 000a 0032 00c8 03 627965 0000 0000 ce',
    ],
    ['channel.open', encode(65_535, ChannelOpen, {}), '01 ffff 00000005 0014 000a 00 ce'],
  ]
  for (const [what, bytes, hex] of vectors) {
    it(`of ${what} has the bytes of the specification (§4.2.4)`, () => {
      assert.equal(bytes.toString('hex'), hex.replaceAll(' ', ''))
    })
  }

  it('has the frame header of the layouts', () => {
    const frame = encode(0, ConnectionTuneOk, { channelMax: 2047, frameMax: 131_072, heartbeat: 60 })
    assert.deepStrictEqual(frameHeader.decode(frame), { type: 1, channel: 0, size: frame.length - 8 })
  })

  it('comes back with the arguments it was given, for every method', () => {
    for (const method of methodByKey.values()) {
      fc.assert(
        fc.property(argumentsOf(method), fc.nat(65_535), (args, channel) => {
          const frame = encode(channel, method, args as ArgumentsOf<AnyMethod>)
          assert.deepStrictEqual(frameHeader.decode(frame), { type: 1, channel, size: frame.length - 8 })
          assert.equal(frame.at(-1), 0xce)
          assert.deepStrictEqual(decode(frame), { name: method.name, args: decoded(method, args) })
        }),
        { numRuns: 30 },
      )
    }
  })

  it('has the defaults of the table if arguments are left out or undefined', () => {
    assert.deepStrictEqual(decode(encode(1, QueueDeclare, { queueName: undefined, passive: undefined })).args, {
      queueName: '',
      passive: false,
      durable: false,
      exclusive: false,
      autoDelete: false,
      noWait: false,
      arguments: {},
    })
    const { args } = decode(encode(1, ExchangeDeclare, { exchangeName: 'e', typeName: 'fanout' }))
    assert.equal(args['durable'], true)
    assert.deepStrictEqual(decode(encode(1, BasicRecover, {})).args, { requeue: true })
  })

  it('keeps reserved fields to itself', () => {
    const frame = encode(1, BasicPublish, { exchangeName: 'e', routingKey: 'k', mandatory: true })
    assert.deepStrictEqual(decode(frame).args, { exchangeName: 'e', routingKey: 'k', mandatory: true })
    assert.deepStrictEqual(
      encodeAnything(BasicPublish, { immediate: true, ticket: 7 }),
      encodeAnything(BasicPublish, {}),
    )
  })

  it('gives the texts of connection.start as strings and other long strings as octets', () => {
    const start = decode(encode(0, ConnectionStart, { mechanisms: 'PLAIN EXTERNAL' })).args
    assert.equal(start['mechanisms'], 'PLAIN EXTERNAL')
    const secret = decode(encode(0, ConnectionUpdateSecret, { newSecret: 'token', reason: '' })).args
    assert.deepStrictEqual(secret['newSecret'], Buffer.from('token'))
  })

  it('has a reply whose type says its fields', () => {
    const reply: ReplyOf<typeof QueueDeclare> = { queue: 'q', messageCount: 1, consumerCount: 2 }
    const frame = encode(1, QueueDeclare.reply satisfies typeof QueueDeclareOk, reply)
    assert.deepStrictEqual(decode(frame).args, reply)
  })
})

describe('an argument that cannot be sent', () => {
  const cases: readonly (readonly [string, AnyMethod, unknown, RegExp])[] = [
    [
      'a negative prefetch',
      BasicQos,
      { prefetchCount: -1 },
      /^basic\.qos: prefetchCount must be an integer from 0 to 65535, not -1$/,
    ],
    ['a fraction', BasicQos, { prefetchCount: 1.5 }, /^basic\.qos: prefetchCount must be an integer/],
    [
      'NaN',
      BasicQos,
      { prefetchSize: Number.NaN },
      /^basic\.qos: prefetchSize must be an integer from 0 to 4294967295, not NaN$/,
    ],
    [
      'digits in a string',
      BasicQos,
      { prefetchCount: '5' },
      /^basic\.qos: prefetchCount must be an integer from 0 to 65535, not "5"$/,
    ],
    [
      'null',
      BasicQos,
      { prefetchCount: null },
      /^basic\.qos: prefetchCount must be an integer from 0 to 65535, not null$/,
    ],
    [
      'a tag past 2^53 - 1',
      BasicAck,
      { deliveryTag: 2 ** 53 },
      /^basic\.ack: deliveryTag must be an integer from 0 to 9007199254740991/,
    ],
    ['a bigint tag', BasicAck, { deliveryTag: 1n }, /^basic\.ack: deliveryTag must be an integer .*, not 1n$/],
    ['a missing tag', BasicAck, {}, /^basic\.ack: deliveryTag is missing$/],
    [
      'a word for a boolean',
      QueueDeclare,
      { durable: 'yes' },
      /^queue\.declare: durable must be true or false, not "yes"$/,
    ],
    ['a number for a boolean', QueueDeclare, { durable: 1 }, /^queue\.declare: durable must be true or false, not 1$/],
    ['a number for a name', QueueDeclare, { queueName: 5 }, /^queue\.declare: queueName must be a string, not 5$/],
    [
      'a long name',
      QueueDeclare,
      { queueName: 'q'.repeat(256) },
      /^queue\.declare: queueName takes 256 bytes, more than the 255 of a short string$/,
    ],
    [
      'a name that is long in bytes',
      QueueDeclare,
      { queueName: '€'.repeat(86) },
      /^queue\.declare: queueName takes 258 bytes/,
    ],
    ['a missing name', ExchangeDeclare, { typeName: 'topic' }, /^exchange\.declare: exchangeName is missing$/],
    [
      'a list for a table',
      QueueDeclare,
      { arguments: [] },
      /^queue\.declare: arguments must be a plain object or a Map, not an array$/,
    ],
    [
      'null for a table',
      QueueDeclare,
      { arguments: null },
      /^queue\.declare: arguments must be a plain object or a Map, not null$/,
    ],
    [
      'a bad value in a table',
      QueueDeclare,
      { arguments: { 'x-max-length': Number.NaN } },
      /^queue\.declare: arguments\["x-max-length"\] is NaN/,
    ],
    [
      'a secret of another type',
      ConnectionUpdateSecret,
      { newSecret: 12_345, reason: '' },
      /newSecret must be a string or a Uint8Array, not number$/,
    ],
  ]
  for (const [what, method, args, message] of cases) {
    it(`is named: ${what}`, () => {
      assert.throws(
        () => encodeAnything(method, args),
        error => error instanceof EncodeError && message.test(error.message),
      )
    })
  }

  it('takes 255 bytes of name, and not one more', () => {
    const longest = `${'€'.repeat(84)}abc`
    assert.deepStrictEqual(decode(encode(1, QueueDeclare, { queueName: longest })).args['queueName'], longest)
    assert.throws(() => encode(1, QueueDeclare, { queueName: `${longest}d` }), EncodeError)
  })

  it('leaves nothing behind, and nothing before it is harmed', () => {
    const writer = new Writer()
    const first = encode(1, ChannelOpen, {})
    encodeMethod(writer, 1, ChannelOpen, {})
    const list = ['x'.repeat(100_000), Symbol('no')] as unknown as string[]
    assert.throws(() => encodeMethod(writer, 1, QueueDeclare, { arguments: { list } }), EncodeError)
    encodeMethod(writer, 1, ChannelOpen, {})
    assert.deepStrictEqual(Buffer.concat(writer.take()), Buffer.concat([first, first]))
  })

  it('may be a getter that throws: its error is the cause', () => {
    const cause = new TypeError('no')
    const args = {
      get queueName(): string {
        throw cause
      },
    }
    assert.throws(
      () => encode(1, QueueDeclare, args),
      error => error instanceof EncodeError && error.cause === cause,
    )
  })
})

describe('a frame larger than agreed', () => {
  it('is refused, with both sizes, and one byte less is not', () => {
    const args = { arguments: { text: 'x'.repeat(10_000) } }
    const { length } = encode(1, QueueDeclare, args)
    assert.equal(encode(1, QueueDeclare, args, length).length, length)
    assert.equal(encode(1, QueueDeclare, args, 0).length, length)
    const writer = new Writer()
    assert.throws(
      () => encodeMethod(writer, 1, QueueDeclare, args, length - 1),
      error =>
        error instanceof EncodeError &&
        error.message ===
          `queue.declare takes a frame of ${length} bytes, more than the ${length - 1} agreed with the server`,
    )
    assert.equal(writer.waiting, 0)
  })
})

describe('a method that came', () => {
  const samples = [...methodByKey.values()].flatMap(method =>
    fc
      .sample(argumentsOf(method), { numRuns: 2, seed: 1 })
      .map(args => encode(1, method, args as ArgumentsOf<AnyMethod>)),
  )

  it('is refused where it is cut short, at any byte', () => {
    for (const frame of samples) {
      for (let end = 7; end < frame.length - 1; end++) {
        assert.throws(
          () => decodeMethod(frame, 7, end),
          error => error instanceof FrameError && error.replyCode === 502,
          `${frame.toString('hex')} until ${end}`,
        )
      }
    }
  })

  it('is refused with bytes too many', () => {
    for (const frame of samples) {
      assert.throws(
        () => decodeMethod(frame, 7, frame.length),
        error => error instanceof FrameError && error.replyCode === 502 && /has 1 bytes too many$/.test(error.message),
      )
    }
  })

  it('is named where it is refused', () => {
    const frame = encode(1, QueueDeclare, { queueName: 'orders' })
    assert.throws(
      () => decodeMethod(frame, 7, 16),
      /^FrameError: queue\.declare: a short string of 6 octets is cut short/,
    )
  })

  it('is refused with 540 if it does not exist', () => {
    for (const hex of ['00000000', '003c03e7', 'ffffffff', '00280029']) {
      assert.throws(
        () => decodeMethod(Buffer.from(hex, 'hex'), 0, 4),
        error => error instanceof ProtocolError && error.replyCode === 540,
      )
    }
  })

  it('decodes or is refused, whatever its bytes', () => {
    const keys = [...methodByKey.keys()]
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.uint8Array({ maxLength: 80 }), (key, octets) => {
        const payload = Buffer.concat([Buffer.alloc(4), octets])
        payload.writeUInt32BE(key)
        decodesOrIsRefused(payload)
      }),
      { numRuns: 3_000 },
    )
    fc.assert(
      fc.property(fc.constantFrom(...samples), fc.nat(), fc.nat(255), (frame, at, octet) => {
        const payload = Buffer.from(frame.subarray(7, -1))
        payload[at % payload.length] = octet
        decodesOrIsRefused(payload)
      }),
      { numRuns: 3_000 },
    )
  })
})

function decodesOrIsRefused(payload: Buffer): void {
  try {
    assert.ok(methodByKey.has(decodeMethod(payload, 0, payload.length).method.key))
  } catch (error) {
    if (!(error instanceof FrameError) && !(error instanceof ProtocolError)) throw error
  }
}

function valueFor(field: Field): fc.Arbitrary<unknown> {
  switch (field.kind) {
    case 'bit':
      return fc.boolean()
    case 'octet':
      return fc.nat(0xff)
    case 'short':
      return fc.nat(0xffff)
    case 'long':
      return fc.nat(0xffff_ffff)
    case 'longlong':
      return fc.maxSafeNat()
    case 'shortstr':
      return fc.string({ unit: 'grapheme', maxLength: 20 })
    case 'longstr':
    case 'longtext':
      return fc.oneof(
        fc.string({ maxLength: 300 }),
        fc.string({ maxLength: 50 }).map(text => Buffer.from(text)),
      )
    case 'table':
      return fc.dictionary(
        fc.string({ maxLength: 10 }),
        fc.oneof(fc.boolean(), fc.integer(), fc.string(), fc.array(fc.integer()), fc.constant(null)),
        { noNullPrototype: true, maxKeys: 4 },
      )
  }
}

/** Every argument of a method, the optional ones too. */
function argumentsOf(method: AnyMethod): fc.Arbitrary<Record<string, unknown>> {
  const given = method.order.filter(({ field }) => field.presence !== 'reserved')
  return fc.record(Object.fromEntries(given.map(({ name, field }) => [name, valueFor(field)])), {
    noNullPrototype: true,
  })
}

/** What decoding makes of arguments: long strings become octets, but for the texts of connection.start. */
function decoded(method: AnyMethod, args: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    method.order
      .filter(({ field }) => field.presence !== 'reserved')
      .map(({ name, field }) => {
        const value = args[name]
        if (field.kind === 'longtext') return [name, String(value)]
        return [name, field.kind === 'longstr' && typeof value === 'string' ? Buffer.from(value) : value]
      }),
  )
}
