import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import zlib, { brotliCompressSync, constants, deflateSync, gunzipSync, gzipSync, type ZlibOptions } from 'node:zlib'
import fc from 'fast-check'
import { type BasicProperties, type Codec, DecodeError, EncodeError, type Message } from '../../../src/index.ts'
import { Codecs } from '../../../src/patterns/typed/codecs.ts'
import { Decoder } from '../../../src/patterns/typed/decoder.ts'
import { Encoder } from '../../../src/patterns/typed/encoder.ts'
import type { StandardSchema } from '../../../src/patterns/typed/standard-schema.ts'
import { createMessage } from '../../../src/testing/index.ts'
import { HOSTILE_VALUES } from '../../support/hostile-values.ts'
import { rejection } from '../../support/rejection.ts'
import { schema } from './scene.ts'

const MAX = 1_000_000
const ANYTHING = schema<unknown>(value => ({ value }))

interface Given {
  readonly codecs?: readonly Codec[]
  readonly schema?: StandardSchema
  readonly max?: number
}

async function decoded(body: string | Uint8Array, properties: BasicProperties, given: Given = {}): Promise<Message> {
  const message = createMessage(body, { properties })
  await new Decoder(given.schema, new Codecs('test', given.codecs), given.max ?? MAX).decode(message)
  return message
}

async function encoded(payload: unknown, properties: BasicProperties | undefined, given: Given = {}) {
  const sent = await new Encoder(given.schema, new Codecs('test', given.codecs)).encode(
    () => 'publish',
    payload,
    properties,
  )
  return { body: Buffer.from(sent.payload as string), properties: sent.properties ?? {} }
}

/** Ten lines, as the guide says. */
const REVERSED: Codec = {
  contentType: 'text/reversed',
  encode: value => [...String(value)].reverse().join(''),
  decode: body => [...body.toString()].reverse().join(''),
}

const XOR: Codec = {
  contentEncoding: 'xor',
  encode: body => body.map(byte => byte ^ 0x55),
  // In place: the message keeps its body all the same.
  decode: body => {
    for (let i = 0; i < body.length; i++) body[i] = (body[i] ?? 0) ^ 0x55
    return body
  },
}

const ENCODINGS = [
  'gzip',
  'deflate',
  'br',
  'GZIP',
  ' br ',
  'gzip, br',
  'deflate,gzip,xor',
  'identity',
  'utf-8',
  '',
  undefined,
]

describe('A body', () => {
  it('is decoded to what it was encoded from, whatever its content type and encodings', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.constantFrom(...ENCODINGS), async (value, contentEncoding) => {
        const properties = contentEncoding === undefined ? {} : { contentEncoding }
        const given = { codecs: [XOR], schema: ANYTHING }
        const sent = await encoded(value, properties, given)
        assert.equal(sent.properties.contentType, 'application/json')
        const message = await decoded(sent.body, sent.properties, given)
        assert.deepEqual(message.json(), JSON.parse(JSON.stringify(value)))
        assert.equal(message.text(), JSON.stringify(value))
      }),
      { numRuns: 200 },
    )
  })

  it('of text is decoded to the same text', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'grapheme' }),
        fc.constantFrom(...ENCODINGS),
        async (text, contentEncoding) => {
          for (const contentType of ['text/plain', 'Text/CSV; charset=utf-8', 'text/reversed']) {
            const given = { codecs: [XOR, REVERSED], schema: ANYTHING }
            const sent = await encoded(text, { contentType, contentEncoding }, given)
            const message = await decoded(sent.body, sent.properties, given)
            assert.equal(message.json(), text)
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  it('is packed as others unpack it, and unpacked as others pack it', async () => {
    const { body } = await encoded({ a: 1 }, { contentEncoding: 'gzip' })
    assert.equal(gunzipSync(body).toString(), '{"a":1}')
    const packed = { gzip: gzipSync('{}'), deflate: deflateSync('{}'), br: brotliCompressSync('{}') }
    for (const [contentEncoding, bytes] of Object.entries(packed)) {
      const message = await decoded(bytes, { contentEncoding })
      assert.deepEqual(message.json(), {})
      assert.equal(message.text(), '{}')
      assert.equal(message.bytes().toString(), '{}')
      assert.deepEqual(message.body, bytes, 'the body stays as it came')
    }
  })

  it('that is truncated or garbage is a DecodeError that names the message', async () => {
    const text = JSON.stringify({ text: 'x'.repeat(200) })
    const packed = { gzip: gzipSync(text), deflate: deflateSync(text), br: brotliCompressSync(text) }
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('gzip', 'deflate', 'br' as const),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        fc.uint8Array({ minLength: 1, maxLength: 50 }),
        async (contentEncoding, part, garbage) => {
          const whole = packed[contentEncoding as 'gzip']
          const truncated = whole.subarray(0, Math.floor(part * whole.length))
          for (const body of [truncated, Buffer.concat([Buffer.from([255]), garbage])]) {
            // What is left may be whole by chance, but is not the text.
            const outcome = await decoded(body, { contentEncoding, messageId: 'm1' }).catch((error: unknown) => error)
            if (outcome instanceof DecodeError) assert.match(outcome.message, /^the body of message "m1" /)
            else assert.notEqual((outcome as Message).bytes().toString(), text)
          }
        },
      ),
      { numRuns: 100 },
    )
  })

  it('that would be larger than maxMessageSize when it is unpacked is an error, and is not made', async () => {
    const zeros = Buffer.alloc(64 * 1024 * 1024)
    const bombs = {
      gzip: gzipSync(zeros),
      deflate: deflateSync(zeros),
      br: brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
      'gzip, gzip': gzipSync(gzipSync(zeros)),
    }
    for (const [contentEncoding, body] of Object.entries(bombs)) {
      const before = process.memoryUsage().arrayBuffers
      const error = await rejection(decoded(body, { contentEncoding }, { max: 100_000 }), DecodeError)
      assert.match(error.message, /unpacked by "\w+", it has more than maxMessageSize, 100000 bytes/)
      assert.ok(process.memoryUsage().arrayBuffers - before < 16 * 1024 * 1024, contentEncoding)
    }
    for (const size of [99_999, 100_000, 100_001]) {
      const outcome = decoded(gzipSync(Buffer.alloc(size)), { contentEncoding: 'gzip' }, { max: 100_000 })
      if (size <= 100_000) assert.equal((await outcome).bytes().length, size)
      else await rejection(outcome, DecodeError)
    }
    const own: Codec = { contentEncoding: 'own', encode: body => body, decode: () => Buffer.alloc(100_001) }
    await rejection(decoded('x', { contentEncoding: 'own' }, { codecs: [own], max: 100_000 }), DecodeError)
  })

  it('that is large waits for others that are, so that many bombs do not fill the memory', async t => {
    const { gunzip } = zlib
    let unpacking = 0
    let most = 0
    t.mock.method(zlib, 'gunzip', ((body: Buffer, options: ZlibOptions, done: (error: Error | null) => void) => {
      const isLarge = Number(options.maxOutputLength) > 1024 * 1024
      if (isLarge) most = Math.max(most, ++unpacking)
      gunzip(body, options, error => {
        if (isLarge) unpacking--
        done(error)
      })
    }) as never)
    const bomb = gzipSync(Buffer.alloc(8 * 1024 * 1024))
    const bombs = Array.from({ length: 12 }, () => decoded(bomb, { contentEncoding: 'gzip' }, { max: 4 * 1024 * 1024 }))
    await Promise.all(bombs.map(each => rejection(each, DecodeError)))
    assert.equal(most, 4)
    assert.equal(unpacking, 0)
  })

  it('without a limit is unpacked', async () => {
    const message = await decoded(gzipSync('{}'), { contentEncoding: 'gzip' }, { max: Number.POSITIVE_INFINITY })
    assert.equal(message.text(), '{}')
  })

  it('with an unknown or too many content encodings is an error, which says so', async () => {
    const error = await rejection(decoded('x', { contentEncoding: 'gzip, zstd' }), DecodeError)
    assert.match(error.message, /there is no codec for content encoding "zstd"$/)
    await rejection(decoded('x', { contentEncoding: 'constructor' }), DecodeError)
    const many = await rejection(decoded('x', { contentEncoding: 'gzip,gzip,gzip,gzip' }), DecodeError)
    assert.match(many.message, /it has 4 content encodings, more than 3$/)
    await rejection(encoded({}, { contentEncoding: 'zstd' }), EncodeError)
  })

  it('of an unknown content type is an error if there is a schema, and else the program`s', async () => {
    const properties = { contentType: 'application/msgpack' }
    const error = await rejection(decoded('x', properties, { schema: ANYTHING }), DecodeError)
    assert.match(error.message, /there is no codec for content type "application\/msgpack"$/)
    assert.equal((await decoded('x', properties)).text(), 'x')
    await rejection(encoded({}, properties, { schema: ANYTHING }), EncodeError)
  })

  it('that is not JSON is an error if there is a schema', async () => {
    for (const body of ['', '{', 'undefined', Buffer.from([0xff])]) {
      const error = await rejection(decoded(body, {}, { schema: ANYTHING }), DecodeError)
      assert.match(error.message, /^the body of a message .* is not (JSON|UTF-8)/)
    }
    assert.equal((await decoded('{', {})).text(), '{')
  })
})

describe('A codec of the program', () => {
  it('takes the place of one that is built in', async () => {
    const codecs: Codec[] = [
      {
        contentEncoding: 'gzip',
        encode: async () => Buffer.from('packed'),
        decode: async () => Buffer.from('"unpacked"'),
      },
      { contentType: 'Application/JSON', encode: async () => 'a string', decode: async body => `own ${body}` },
    ]
    const sent = await encoded({}, { contentEncoding: 'gzip', contentType: 'application/json' }, { codecs })
    assert.equal(sent.body.toString(), 'packed')
    const message = await decoded('x', { contentEncoding: 'gzip', contentType: 'application/json' }, { codecs })
    assert.equal(message.json(), 'own "unpacked"')
  })

  it('that throws or returns anything at all is a DecodeError or an EncodeError', async () => {
    for (const [name, value] of Object.entries(HOSTILE_VALUES)) {
      for (const act of [
        (): unknown => value,
        (): unknown => {
          throw value
        },
        (): unknown => Promise.reject(value),
      ]) {
        const hostile = { encode: act, decode: act } as never
        const codecs: Codec[] = [
          { contentEncoding: 'own', ...(hostile as object) } as Codec,
          { contentType: 'a/b', ...(hostile as object) } as Codec,
        ]
        await rejection(decoded('x', { contentEncoding: 'own' }, { codecs }), DecodeError)
        await rejection(encoded({}, { contentEncoding: 'own' }, { codecs }), EncodeError)
        const outcome = await encoded({}, { contentType: 'a/b' }, { codecs }).catch((error: unknown) => error)
        const isText = name.startsWith('a string') && !name.includes('half')
        assert.ok(outcome instanceof EncodeError || isText, name)
        const read = await decoded('x', { contentType: 'a/b' }, { codecs }).catch((error: unknown) => error)
        assert.ok(read instanceof DecodeError || typeof (read as Message).json === 'function', name)
      }
    }
  })

  it('cannot change the body that came', async () => {
    const message = await decoded(Buffer.from([0x55, 0x54]), { contentEncoding: 'xor' }, { codecs: [XOR] })
    assert.deepEqual([...message.bytes()], [0, 1])
    assert.deepEqual([...message.body], [0x55, 0x54])
    const clearing: Codec = { contentType: 'a/b', encode: () => '', decode: body => body.fill(0) }
    const cleared = await decoded('text', { contentType: 'a/b' }, { codecs: [clearing] })
    assert.equal(cleared.text(), 'text')
  })

  it('may make all its bytes in one buffer', async () => {
    const buffer = Buffer.alloc(3)
    const make = (value: unknown): Buffer => {
      buffer.write(String(value))
      return buffer
    }
    const texts = ['abc', 'def']
    for (const properties of [{ contentType: 'a/b' }, { contentEncoding: 'own' }]) {
      const decode = 'contentType' in properties ? String : make
      const given = { codecs: [{ ...properties, encode: make, decode } as Codec] }
      const sent = await Promise.all(texts.map(text => encoded(text, properties, given)))
      assert.deepEqual(
        sent.map(({ body }) => body.toString()),
        texts,
      )
      const came = await Promise.all(texts.map(text => decoded(text, properties, given)))
      assert.deepEqual(
        came.map(message => message.text()),
        texts,
      )
    }
  })

  it('must be one', () => {
    for (const codecs of [
      {},
      'gzip',
      [null],
      [{ contentType: 'a/b' }],
      [{ encode() {}, decode() {} }],
      [{ ...XOR, decode: 1 }],
    ]) {
      assert.throws(() => new Codecs('consumer', codecs), {
        name: 'EncodeError',
        message: /^consumer: "codecs" must be /,
      })
    }
  })
})

describe('A payload', () => {
  it('is packed with few others at a time, since each takes memory', async t => {
    const { gzip } = zlib
    const text = 'x'.repeat(20_000)
    let packing = 0
    let most = 0
    t.mock.method(zlib, 'gzip', ((
      body: Buffer,
      options: ZlibOptions,
      done: (error: Error | null, result: Buffer) => void,
    ) => {
      most = Math.max(most, ++packing)
      gzip(body, options, (error, result) => {
        packing--
        done(error, result)
      })
    }) as never)
    const packed = await Promise.all(
      Array.from({ length: 20 }, (_, id) => encoded({ id, text }, { contentEncoding: 'gzip' })),
    )
    assert.deepEqual(
      packed.map(({ body }) => JSON.parse(gunzipSync(body).toString())),
      packed.map((_, id) => ({ id, text })),
    )
    assert.equal(most, 4)
  })

  it('of bytes is sent as it is, and a string is only packed', async () => {
    const bytes = Buffer.from([1, 2, 3])
    assert.deepEqual((await encoded(bytes, { contentEncoding: 'gzip' })).body, bytes)
    const sent = await encoded('text', { contentEncoding: 'gzip' })
    assert.equal(gunzipSync(sent.body).toString(), 'text')
    assert.equal(sent.properties.contentType, undefined)
    await rejection(encoded('\ud800', { contentEncoding: 'gzip' }), EncodeError)
  })

  it('that JSON cannot hold is an EncodeError, also if its schema takes it', async () => {
    for (const payload of [undefined, 1n, Symbol('s'), () => {}, new Map(), { a: new Set() }, Buffer.from('x')]) {
      await rejection(encoded(payload, {}, { schema: ANYTHING }), EncodeError)
    }
    for (const payload of [null, true, 1, 'text', [], {}]) {
      assert.equal((await encoded(payload, {}, { schema: ANYTHING })).body.toString(), JSON.stringify(payload))
    }
  })
})
