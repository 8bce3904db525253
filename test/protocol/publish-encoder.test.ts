import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { EncodeError } from '../../src/errors.ts'
import { FrameParser, type FrameSink } from '../../src/protocol/frame-parser.ts'
import { encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import { type BasicProperties, PERSISTENT } from '../../src/protocol/properties.ts'
import { PublishEncoder, REFERENCE_SIZE } from '../../src/protocol/publish-encoder.ts'
import { Properties } from '../../src/protocol/received-properties.ts'
import { CHUNK_SIZE, Writer } from '../../src/protocol/writer.ts'
import { encode } from '../support/property-lists.ts'

const FRAME_MAX = 4096

interface Publish {
  readonly channel: number
  readonly exchange: string
  readonly routingKey: string
  readonly mandatory: boolean
  readonly properties: BasicProperties | undefined
  readonly payload: Uint8Array | string
}

function byTable<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): Buffer {
  return Writer.encode(writer => encodeMethod(writer, channel, method, args))
}

function frame(type: number, channel: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.alloc(8 + payload.length, 0xce)
  bytes.writeUInt8(type, 0)
  bytes.writeUInt16BE(channel, 1)
  bytes.writeUInt32BE(payload.length, 3)
  bytes.set(payload, 7)
  return bytes
}

/** The property list of a content header, written plainly. */
function propertyList(properties: BasicProperties = {}): Buffer {
  const { contentType, deliveryMode, priority, correlationId, messageId } = properties
  const values: Buffer[] = []
  let flags = 0
  const text = (flag: number, value: string | undefined): void => {
    if (value === undefined) return
    flags |= flag
    values.push(Buffer.from([Buffer.byteLength(value)]), Buffer.from(value))
  }
  text(0x8000, contentType)
  const octet = (flag: number, value: number | undefined): void => {
    if (value === undefined) return
    flags |= flag
    values.push(Buffer.from([value]))
  }
  octet(0x1000, deliveryMode)
  octet(0x0800, priority)
  text(0x0400, correlationId)
  text(0x0080, messageId)
  return Buffer.concat([Buffer.from([flags >> 8, flags & 0xff]), ...values])
}

/** The frames of one message, made by the table of methods and by plain concatenation. */
function expected(
  { channel, exchange, routingKey, mandatory, properties, payload }: Publish,
  frameMax: number,
): Buffer {
  const body = Buffer.from(payload as Uint8Array)
  const head = Buffer.alloc(12)
  head.writeUInt16BE(60, 0)
  head.writeBigUInt64BE(BigInt(body.length), 4)
  const frames = [
    byTable(channel, methods.BasicPublish, { exchangeName: exchange, routingKey, mandatory }),
    frame(2, channel, Buffer.concat([head, propertyList(properties)])),
  ]
  for (let at = 0; at < body.length; at += frameMax - 8)
    frames.push(frame(3, channel, body.subarray(at, at + frameMax - 8)))
  return Buffer.concat(frames)
}

const name = fc.oneof(
  fc.constantFrom('', 'logs', 'orders.created'),
  fc.string({ unit: 'grapheme', maxLength: 20 }),
  fc.constant('k'.repeat(255)),
)
const payload = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc
    .constantFrom(0, 1, 4087, 4088, 4089, REFERENCE_SIZE - 1, REFERENCE_SIZE, 40_000)
    .map(size => Buffer.alloc(size, 0xce)),
  fc.constantFrom(
    '',
    'ü'.repeat(2_044),
    'ü'.repeat(2_045),
    'x'.repeat(5_000),
    '€'.repeat(5_000),
    'x'.repeat(5_001),
    '€'.repeat(9_000),
  ),
)
const properties = fc.oneof(
  fc.constantFrom(undefined, PERSISTENT),
  fc.record(
    {
      contentType: fc.constantFrom('text/plain', ''),
      priority: fc.nat(255),
      correlationId: fc.string({ unit: 'grapheme', maxLength: 20 }),
      messageId: fc.constant('m'.repeat(255)),
    },
    { requiredKeys: [] },
  ),
)
const anyPublish: fc.Arbitrary<Publish> = fc.record({
  channel: fc.constantFrom(1, 2, 0xffff),
  exchange: name,
  routingKey: name,
  mandatory: fc.boolean(),
  properties,
  payload,
})

const PLAIN: Publish = {
  channel: 1,
  exchange: 'e',
  routingKey: 'k',
  mandatory: false,
  properties: undefined,
  payload: 'b',
}

function publish(encoder: PublishEncoder, message: Publish): boolean {
  const { channel, exchange, routingKey, mandatory, properties, payload } = message
  return encoder.publish(channel, exchange, routingKey, mandatory, properties, payload)
}

describe('PublishEncoder', () => {
  it('writes basic.publish, content header and body (§4.2.6)', () => {
    const bytes = Writer.encode(writer => {
      new PublishEncoder(writer, FRAME_MAX).publish(1, 'ex', 'key', true, { deliveryMode: 2 }, 'hi')
    })
    assert.equal(
      bytes.toString('hex'),
      [
        '01 0001 0000000e 003c 0028 0000 02 6578 03 6b6579 01 ce',
        '02 0001 0000000f 003c 0000 0000000000000002 1000 02 ce',
        '03 0001 00000002 6869 ce',
      ]
        .join('')
        .replaceAll(' ', ''),
    )
  })

  it('writes runs of any messages as the table of methods does, with chunks taken and reused in between', () => {
    const step = fc.tuple(anyPublish, fc.nat(3), fc.constantFrom('go on', 'go on', 'take', 'take and reuse', 'method'))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), fc.constantFrom(FRAME_MAX, 131_072), (steps, frameMax) => {
        const writer = new Writer()
        const encoder = new PublishEncoder(writer, frameMax)
        const out: Uint8Array[] = []
        const wanted: Buffer[] = []
        for (const [message, repeats, then] of steps) {
          for (let i = 0; i <= repeats; i++) {
            publish(encoder, message)
            wanted.push(expected(message, frameMax))
          }
          if (then === 'method') {
            encodeMethod(writer, 7, methods.ChannelOpen, {})
            wanted.push(byTable(7, methods.ChannelOpen, {}))
          } else if (then !== 'go on') {
            out.push(Buffer.concat(writer.take()))
            if (then === 'take and reuse') writer.reuse()
          }
        }
        assert.ok(Buffer.concat([...out, ...writer.take()]).equals(Buffer.concat(wanted)))
      }),
      { numRuns: 300 },
    )
  })

  it('writes runs that differ in one thing only as the table of methods does', () => {
    const changes: Partial<Publish>[] = [
      {},
      { channel: 2 },
      { exchange: 'f' },
      { routingKey: 'kk' },
      { mandatory: true },
      { properties: {} },
      { properties: PERSISTENT },
      { properties: { priority: 1 } },
      { payload: 'body' },
      { payload: '' },
      { payload: Buffer.alloc(300) },
      { payload: Buffer.alloc(20_000) },
    ]
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...changes), { maxLength: 30 }), run => {
        const writer = new Writer()
        const encoder = new PublishEncoder(writer, FRAME_MAX)
        const messages = run.map(change => ({ ...PLAIN, ...change }))
        for (const message of messages) publish(encoder, message)
        const wanted = Buffer.concat(messages.map(message => expected(message, FRAME_MAX)))
        assert.ok(Buffer.concat(writer.take()).equals(wanted))
      }),
      { numRuns: 300 },
    )
  })

  it('writes messages that end anywhere near the end of a chunk as it writes them elsewhere', () => {
    const small = Object.fromEntries(Array.from({ length: 24 }, (_, i) => [`header-${i}`, 'x'.repeat(20)]))
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`header-${i}`, 'x'.repeat(64)]))
    const list = encode({ headers: many, messageId: 'm' })
    const all: (BasicProperties | undefined)[] = [
      undefined,
      PERSISTENT,
      { messageId: 'm' },
      { headers: small, appId: 'a'.repeat(50), messageId: 'm' },
      { headers: many, messageId: 'm' },
      Properties.read(list, 0, list.length),
    ]
    const send = (properties: BasicProperties | undefined, used: number, count = 3): Buffer => {
      const writer = new Writer()
      const encoder = new PublishEncoder(writer, 131_072)
      writer.begin()
      writer.reserve(1)
      writer.position = used
      for (let i = 0; i < count; i++) encoder.publish(1, 'e', 'k', false, properties, Buffer.from('body'))
      return Buffer.concat(writer.take()).subarray(used)
    }
    for (const properties of all) {
      const expected = send(properties, 0)
      const most = Math.min(CHUNK_SIZE, expected.length + 4_000)
      for (let room = 0; room < most; room += room < 1_200 ? 1 : 13) {
        assert.ok(send(properties, CHUNK_SIZE - room).equals(expected), `${room} bytes before the end`)
      }
    }
    // The same again and again, until the chunk is full.
    const expected = send(undefined, 0, 100)
    for (let room = 3_400; room < 3_500; room++) {
      assert.ok(send(undefined, CHUNK_SIZE - room, 100).equals(expected), `${room} bytes before the end`)
    }
  })

  it('sends properties that fill a frame, and refuses one byte more', () => {
    const encoder = new PublishEncoder(new Writer(), FRAME_MAX)
    const publishWith = (size: number) =>
      encoder.publish(1, '', 'k', false, { headers: { a: 'x'.repeat(size) } }, Buffer.from('b'))
    // Frame, class, weight, body size, flags, length of the table, name, type and length of the text.
    const rest = 8 + 12 + 2 + 4 + 2 + 1 + 4
    publishWith(FRAME_MAX - rest)
    assert.throws(() => publishWith(FRAME_MAX - rest + 1), /do not fit in one frame of 4096/)
  })

  it('never makes a frame above the size agreed, for bodies of any size (§4.2.3)', () => {
    const sizes = [0, 1, 4087, 4088, 4089, 8175, 8176, 8177, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000]
    for (const frameMax of [FRAME_MAX, 8192, 131_072]) {
      for (const size of sizes) {
        const writer = new Writer()
        const encoder = new PublishEncoder(writer, frameMax)
        for (const body of [Buffer.alloc(size, 1), 'y'.repeat(size)]) {
          encoder.publish(1, '', 'k', false, undefined, body)
          const frames = frameSizes(Buffer.concat(writer.take()), frameMax)
          const bodies = frames.slice(2)
          assert.equal(bodies.length, Math.ceil(size / (frameMax - 8)), `${size} bytes in frames of ${frameMax}`)
          assert.equal(
            bodies.reduce((sum, each) => sum + each - 8, 0),
            size,
          )
          assert.ok(bodies.slice(0, -1).every(each => each === frameMax))
        }
      }
    }
  })

  it('copies small bodies, and sends those from 16 KiB on by reference', () => {
    for (const [size, referenced] of [
      [REFERENCE_SIZE - 1, false],
      [REFERENCE_SIZE, true],
      [300_000, true],
    ] as const) {
      const writer = new Writer()
      const body = Buffer.alloc(size, 1)
      assert.equal(new PublishEncoder(writer, 131_072).publish(1, '', 'k', false, undefined, body), referenced)
      const segments = writer.take()
      assert.equal(
        segments.some(segment => segment.buffer === body.buffer),
        referenced,
      )
      const before = Buffer.concat(segments)
      body.fill(2)
      assert.equal(Buffer.concat(segments).equals(before), !referenced)
    }
  })

  it('runs no code of a payload while a message is half written', () => {
    for (const size of [3, 40, 300, 20_000]) {
      for (const properties of [undefined, { contentType: 'x' }]) {
        const writer = new Writer()
        const encoder = new PublishEncoder(writer, FRAME_MAX)
        const nested = (): void => void encoder.publish(1, '', 'nested', false, undefined, 'secret')
        class Sized extends Uint8Array {
          override get length(): number {
            nested()
            return 1
          }
          override get byteOffset(): number {
            nested()
            return 0
          }
          override get buffer(): ArrayBuffer {
            nested()
            return super.buffer as ArrayBuffer
          }
          static get [Symbol.species](): Uint8ArrayConstructor {
            nested()
            return Uint8Array
          }
        }
        const message = { ...PLAIN, properties, payload: new Sized(size) }
        publish(encoder, message)
        const written = Buffer.concat(writer.take())
        assert.deepEqual(written, expected({ ...message, payload: Buffer.alloc(size) }, FRAME_MAX))
      }
    }
  })

  it('refuses what only looks like a Uint8Array, asks it nothing, and writes the next message as ever', () => {
    const trap = (): never => assert.fail('it was asked')
    const proxy = new Proxy(new Uint8Array(3), { get: trap, has: trap, getOwnPropertyDescriptor: trap })
    const fake = Object.create(Uint8Array.prototype, { length: { value: 3 }, 0: { value: 65 } })
    for (const payload of [proxy, fake, new Int16Array(3), new Uint8ClampedArray(3)] as Uint8Array[]) {
      for (const properties of [undefined, { contentType: 'x' }]) {
        const writer = new Writer()
        const encoder = new PublishEncoder(writer, FRAME_MAX)
        assert.throws(() => publish(encoder, { ...PLAIN, properties, payload }), EncodeError)
        publish(encoder, PLAIN)
        assert.deepEqual(Buffer.concat(writer.take()), expected(PLAIN, FRAME_MAX))
      }
    }
  })

  it('owns the bytes of a string, however long', () => {
    const writer = new Writer()
    assert.equal(new PublishEncoder(writer, 131_072).publish(1, '', 'k', false, undefined, 'x'.repeat(100_000)), false)
  })

  const bad: readonly (readonly [string, Partial<Record<keyof Publish, unknown>>, RegExp])[] = [
    ['a payload that is a number', { payload: 5 }, /basic\.publish: payload must be a Uint8Array or a string, not 5/],
    ['a payload that is an object', { payload: { a: 1 } }, /payload must be a Uint8Array or a string, not/],
    ['an exchange that is no string', { exchange: null }, /exchangeName must be a string, not null/],
    ['a routing key of 256 bytes', { routingKey: 'ü'.repeat(128) }, /routingKey takes 256 bytes, more than the 255/],
    ['a mandatory that is no boolean', { mandatory: 1 }, /mandatory must be a boolean, not 1/],
    ['properties that are no object', { properties: 'x' }, /properties must be an object, not "x"/],
    [
      'a lone surrogate in an exchange',
      { exchange: '\udc00' },
      /exchangeName has a lone surrogate, which has no UTF-8/,
    ],
    ['a lone surrogate in a routing key', { routingKey: 'k\ud800' }, /routingKey has a lone surrogate/],
    ['a lone surrogate in a property', { properties: { messageId: '\ud800k' } }, /properties\.messageId has a lone/],
    ['a lone surrogate in a payload', { payload: 'a\ud800b' }, /payload has a lone surrogate/],
    ['a lone surrogate in a long payload', { payload: `${'x'.repeat(20_000)}\ud800` }, /payload has a lone surrogate/],
    ['a symbol as a routing key', { routingKey: Symbol('k') }, /routingKey must be a string, not Symbol\(k\)/],
    [
      'a payload as a routing key',
      { routingKey: Buffer.from('x') },
      /routingKey must be a string, not an object \(Buffer\); the payload is the first argument$/,
    ],
    ['properties that are null', { properties: null }, /properties must be an object, not null/],
    ['a property of the wrong type', { properties: { contentType: 5 } }, /properties\.contentType must be a string/],
    ['a header that is a function', { properties: { headers: { f: () => 1 } } }, /properties\.headers/],
    [
      'properties above the size of a frame',
      { properties: { headers: { a: 'x'.repeat(5000) } } },
      /do not fit in one frame of 4096/,
    ],
  ]
  for (const [what, change, message] of bad) {
    it(`refuses ${what}, writes nothing of it, and goes on`, () => {
      const writer = new Writer()
      const encoder = new PublishEncoder(writer, FRAME_MAX)
      const wrong = { ...PLAIN, ...change } as Publish
      const matches = (error: unknown): boolean => error instanceof EncodeError && message.test(error.message)
      publish(encoder, PLAIN)
      assert.throws(() => publish(encoder, wrong), matches)
      publish(encoder, PLAIN)
      assert.throws(
        () => encoder.check(wrong.exchange, wrong.routingKey, wrong.mandatory, wrong.properties, wrong.payload),
        matches,
      )
      publish(encoder, PLAIN)
      const one = expected(PLAIN, FRAME_MAX)
      assert.ok(Buffer.concat(writer.take()).equals(Buffer.concat([one, one, one])))
    })
  }

  it('checks a message without writing anything', () => {
    const writer = new Writer()
    const encoder = new PublishEncoder(writer, FRAME_MAX)
    encoder.check('e', 'k', true, { headers: { a: 1 } }, Buffer.alloc(100_000))
    assert.equal(writer.waiting, 0)
  })
})

/** The sizes of the frames in `bytes`, each sound. */
function frameSizes(bytes: Buffer, frameMax: number): number[] {
  const sizes: number[] = []
  let body = 0
  const sink: FrameSink = {
    methodFrame: (_channel, _buffer, start, end) => {
      sizes.push(end - start + 8)
      return end + 1
    },
    headerFrame: (_channel, _buffer, start, end) => sizes.push(end - start + 8),
    bodyFrame: (_channel, _buffer, start, end, ended) => {
      body += end - start
      if (ended) {
        sizes.push(body + 8)
        body = 0
      }
    },
    heartbeatFrame: () => assert.fail('a heartbeat'),
  }
  new FrameParser(sink, frameMax).push(bytes, bytes.length)
  return sizes
}

describe('a republished message', () => {
  it('keeps the bytes of its properties', () => {
    const list = propertyList({ contentType: 'text/plain', correlationId: 'c', messageId: 'm' })
    const received = Properties.read(list, 0, list.length)
    const bytes = Writer.encode(writer =>
      new PublishEncoder(writer, FRAME_MAX).publish(1, '', 'k', false, received, 'x'),
    )
    assert.ok(bytes.includes(list))
  })
})
