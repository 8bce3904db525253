import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import * as codec from '../../src/codec/index.ts'
import { type Frame, FrameReader } from '../../src/codec/index.ts'
import { decimal, int8, type TypedValue } from '../../src/index.ts'

function read(bytes: Buffer): Frame[] {
  return [...new FrameReader({ frameMax: 0 }).push(bytes)]
}

function refused(work: () => unknown, message: RegExp): void {
  assert.throws(work, (error: unknown) => {
    assert.ok(error instanceof codec.EncodeError)
    assert.match(error.message, message)
    return true
  })
}

describe('encodeMethod', () => {
  for (const method of codec.methodByKey.values()) {
    it(`writes ${method.name} so that it is read again`, () => {
      const values = { shortstr: 'a', longstr: 'b', longtext: 'c', bit: true, table: { n: 1 } }
      const given = method.order.filter(({ field }) => field.presence !== 'reserved')
      const args = Object.fromEntries(
        given.map(({ name, field }) => [name, { octet: 3, short: 4, long: 5, longlong: 6, ...values }[field.kind]]),
      )
      const [frame] = read(codec.encodeMethod(7, method, args))
      assert.ok(frame?.type === 'method')
      const decoded: Record<string, unknown> = { ...args }
      for (const { name, field } of given) if (field.kind === 'longstr') decoded[name] = Buffer.from('b')
      assert.deepEqual([frame.channel, frame.name, frame.method, frame.args], [7, method.name, method, decoded])
    })
  }

  it('gives memory that is written over by no later call', () => {
    const one = codec.encodeMethod(1, codec.QueueDeclare, { queueName: 'one' })
    const copy = Buffer.from(one)
    codec.encodeMethod(1, codec.QueueDeclare, { queueName: 'another' })
    assert.deepEqual(one, copy)
  })

  it('refuses what cannot be written, by name, and writes on', () => {
    refused(() => codec.encodeMethod(1, codec.QueueBind, {} as never), /queue\.bind: exchangeName is missing/)
    refused(
      () => codec.encodeMethod(1, codec.QueueBind, undefined as never),
      /queue\.bind: the options must be an object/,
    )
    refused(
      () => codec.encodeMethod(1, codec.QueueDeclare, { queue: 'q' } as never),
      /unknown option "queue"; did you mean "queueName"/,
    )
    refused(() => codec.encodeMethod(1, codec.QueueDeclare, { ticket: 1 } as never), /"ticket"/)
    refused(() => codec.encodeMethod(70_000, codec.QueueDeclare, {}), /channel must be an integer from 0 to 65535/)
    refused(() => codec.encodeMethod(1, { name: 'queue.declare' } as never, {}), /one of the table of methods/)
    refused(() => codec.encodeMethod(1, undefined as never, {}), /one of the table of methods, not undefined/)
    refused(
      () => codec.encodeMethod(1, codec.QueueDeclare, { queueName: 'q'.repeat(100) }, 50),
      /more than the 50 agreed/,
    )
    refused(() => codec.encodeMethod(1, codec.QueueDeclare, {}, 3), /frameMax/)
    refused(() => codec.encodeMethod(1, codec.QueueDeclare, { arguments: { f: () => 1 } as never }), /arguments\.f is/)
    assert.equal(read(codec.encodeMethod(1, codec.QueueDeclare, {}))[0]?.type, 'method')
  })

  it('refuses objects of the program that throw at every touch', () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const thrower = new Proxy({}, new Proxy({}, { get: () => () => assert.fail('mine') }))
    for (const object of [proxy as never, thrower as never]) {
      refused(() => codec.encodeMethod(1, object, {}), /one of the table of methods, not an object/)
      refused(() => codec.encodeMethod(1, codec.QueueDeclare, object), /queue\.declare cannot be encoded/)
      refused(() => new FrameReader(object), /FrameReader cannot be encoded/)
    }
  })

  it('takes bytes as the engine knows them, whatever a subclass says', () => {
    class Sly extends Uint8Array {
      override get length(): number {
        return 1_000_000_000
      }
      override get buffer(): never {
        throw new Error('mine')
      }
    }
    const sly = (bytes: Uint8Array): Uint8Array => {
      const copy = new Sly(Uint8Array.prototype.slice.call(bytes).length)
      Uint8Array.prototype.set.call(copy, bytes)
      return copy
    }
    assert.deepEqual(codec.encodeFrame(3, 1, sly(Buffer.from('ab'))), codec.encodeBody(1, 'ab'))
    assert.deepEqual(codec.encodeBody(1, sly(Buffer.from('ab'))), codec.encodeBody(1, 'ab'))
    assert.deepEqual(codec.decodeTable(sly(codec.encodeTable({ a: 1 }))), { a: 1 })
    assert.equal([...new FrameReader().push(sly(codec.encodeBody(1, 'ab')))].length, 1)
  })

  it('refuses to be called by a getter of what is being encoded', () => {
    const sly = {
      get inner(): string {
        return String(codec.encodeMethod(1, codec.ChannelOpen, {}))
      },
    }
    refused(() => codec.encodeMethod(1, codec.QueueDeclare, { arguments: sly }), /getter/)
    refused(() => codec.encodeTable(sly), /getter/)
    assert.deepEqual(codec.decodeTable(codec.encodeTable({ a: 1 })), { a: 1 })
  })
})

describe('encodeContentHeader', () => {
  const properties = {
    contentType: 'text/plain',
    headers: { n: int8(1), list: [1, 'two'], price: decimal(125, 2) },
    deliveryMode: 2,
    timestamp: new Date(1_700_000_000_000),
  }

  it('writes properties so that they are read again, and those that were read as they came', () => {
    const bytes = codec.encodeContentHeader(3, 2 ** 40, properties)
    const [frame] = read(bytes)
    assert.ok(frame?.type === 'header')
    assert.equal(frame.bodySize, 2 ** 40)
    assert.deepEqual(frame.properties.toJSON(), { ...properties, headers: { ...properties.headers, n: 1 } })
    assert.deepEqual(codec.encodeContentHeader(3, 2 ** 40, frame.properties), bytes)
  })

  it('writes none if there are none', () => {
    assert.equal(codec.encodeContentHeader(1, 0).toString('hex'), '0200010000000e003c000000000000000000000000ce')
  })

  it('refuses what cannot be written, by name', () => {
    refused(() => codec.encodeContentHeader(1, -1), /bodySize must be an integer/)
    refused(() => codec.encodeContentHeader(1, 1, { type: 'x' } as never), /unknown member "type"/)
    refused(() => codec.encodeContentHeader(1, 1, null as never), /properties must be an object/)
    refused(() => codec.encodeContentHeader(1, 1, { priority: 256 }), /priority/)
    refused(() => codec.encodeContentHeader(1, 1, { messageId: 'm'.repeat(100) }, 60), /larger than the frameMax of 60/)
  })
})

describe('encodeBody', () => {
  it('cuts a body into frames of the agreed size', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 9, max: 100 }), (body, frameMax) => {
        const bytes = codec.encodeBody(2, body, frameMax)
        const frames = [...new FrameReader({ frameMax }).push(bytes)]
        const pieces = frames.map(frame => (frame.type === 'body' && frame.channel === 2 ? frame.payload : undefined))
        assert.equal(frames.length, Math.ceil(body.length / (frameMax - 8)))
        assert.deepEqual(Buffer.concat(pieces.filter(piece => piece !== undefined)), Buffer.from(body))
      }),
    )
  })

  it('takes text that has UTF-8, and refuses other text and values', () => {
    const [frame] = read(codec.encodeBody(1, 'grüß'))
    assert.ok(frame?.type === 'body')
    assert.equal(frame.payload.toString(), 'grüß')
    refused(() => codec.encodeBody(1, '\ud800'), /lone surrogate/)
    refused(() => codec.encodeBody(1, 5 as never), /body must be a Uint8Array/)
    refused(() => codec.encodeBody(1, 'a', 8), /frameMax/)
  })
})

describe('encodeTable and decodeTable', () => {
  it('keep values and wire types', () => {
    const bytes = codec.encodeTable({ small: int8(5), deep: { list: [1n, 2.5, null, 'text'] } })
    const table = codec.decodeTable(bytes)
    assert.deepEqual(table, { small: 5, deep: { list: [1, 2.5, null, 'text'] } })
    assert.deepEqual(codec.encodeTable(table), bytes)
    assert.deepEqual(codec.encodeTable(new Map([['small', 1]])), codec.encodeTable({ small: 1 }))
  })

  it('refuse other values', () => {
    const bytes = codec.encodeTable({ a: 1 })
    assert.throws(() => codec.decodeTable(bytes.subarray(0, -1)), { name: 'FrameError', replyCode: 502 })
    assert.throws(() => codec.decodeTable(Buffer.concat([bytes, bytes])), /followed by 11 bytes/)
    refused(() => codec.decodeTable({} as never), /bytes must be a Uint8Array/)
    refused(() => codec.encodeTable([] as never), /table must be a plain object or a Map/)
    refused(() => codec.encodeTable({ a: Number.NaN as unknown as TypedValue }), /table\.a is NaN/)
  })
})

describe('bytes whose memory was transferred away', () => {
  for (const [name, work] of [
    ['encodeBody: body', bytes => codec.encodeBody(1, bytes)],
    ['encodeFrame: payload', bytes => codec.encodeFrame(3, 1, bytes)],
    ['decodeTable: bytes', bytes => codec.decodeTable(bytes)],
    ['FrameReader.push: chunk', bytes => new codec.FrameReader().push(bytes)],
  ] satisfies [string, (bytes: Uint8Array) => unknown][]) {
    it(`are refused by ${name.replace(/:.*/, '')}`, () => {
      const bytes = new Uint8Array(9)
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
      assert.throws(() => work(bytes), new codec.EncodeError(`the memory of ${name} was transferred away`))
    })
  }
})

describe('encodeFrame', () => {
  it('writes any frame', () => {
    assert.equal(codec.encodeFrame(250, 65_535, Buffer.from('ab')).toString('latin1'), '\xfa\xff\xff\0\0\0\x02ab\xce')
    refused(() => codec.encodeFrame(256, 0, Buffer.alloc(0)), /type/)
    refused(() => codec.encodeFrame(1, -1, Buffer.alloc(0)), /channel/)
    refused(() => codec.encodeFrame(1, 1, 'text' as never), /payload/)
  })

  it('gives copies of constant bytes', () => {
    codec.encodeHeartbeat().fill(0)
    codec.encodeProtocolHeader().fill(0)
    assert.equal(codec.encodeHeartbeat().toString('hex'), '08000000000000ce')
    assert.equal(codec.encodeProtocolHeader().toString('latin1'), 'AMQP\0\0\x09\x01')
  })
})
