import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import * as codec from '../../src/codec/index.ts'
import { type Frame, FrameReader } from '../../src/codec/index.ts'
import { nestedTables } from '../support/property-lists.ts'

/** A conversation with a frame of each kind. */
const stream = Buffer.concat([
  codec.encodeProtocolHeader(),
  codec.encodeMethod(1, codec.QueueDeclare, { queueName: 'orders', arguments: { a: 1 } }),
  codec.encodeFrame(1, 2, Buffer.from('00090009', 'hex')),
  codec.encodeMethod(3, codec.BasicPublish, { routingKey: 'orders' }),
  codec.encodeContentHeader(3, 10, { messageId: 'm1', headers: { n: 2 } }),
  codec.encodeBody(3, 'in two parts'.slice(0, 10), 13),
  codec.encodeHeartbeat(),
])

/** What a frame says, in values that no later chunk can change. */
function shown(frame: Frame): string {
  const place = `${frame.offset}+${frame.bytes.length}`
  if (frame.type === 'method') return `${place} ${frame.channel} ${frame.name} ${JSON.stringify(frame.args)}`
  if (frame.type === 'header') return `${place} ${frame.bodySize} ${JSON.stringify(frame.properties)}`
  if (frame.type === 'body') return `${place} ${frame.payload.toString()}`
  if (frame.type === 'malformed') return `${place} ${frame.channel} ${frame.error.message}`
  return `${place} ${frame.type}`
}

const expected = [
  '0+8 protocol-header',
  '8+33 1 queue.declare {"queueName":"orders","passive":false,"durable":false,"exclusive":false,"autoDelete":false,"noWait":false,"arguments":{"a":1}}',
  '41+12 2 method 9 of class 9 is not known (in the frame at byte 41)',
  '53+23 3 basic.publish {"exchangeName":"","routingKey":"orders","mandatory":false}',
  '76+36 10 {"headers":{"n":2},"messageId":"m1"}',
  '112+13 in tw',
  '125+13 o par',
  '138+8 heartbeat',
]

function failure(work: () => unknown): codec.FrameError {
  try {
    work()
  } catch (error) {
    if (error instanceof codec.FrameError) return error
    throw error
  }
  assert.fail('nothing was thrown')
}

describe('FrameReader', () => {
  it('gives the frames of a chunk, with their places', () => {
    assert.deepEqual(Array.from(new FrameReader().push(stream), shown), expected)
  })

  it('gives the same frames, whatever the chunks are, and whose bytes are those that came', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 40 }), cuts => {
        const reader = new FrameReader()
        const frames: string[] = []
        const bytes: Buffer[] = []
        const ends = [...cuts, stream.length].sort((a, b) => a - b)
        let start = 0
        for (const end of ends) {
          for (const frame of reader.push(stream.subarray(start, end))) {
            frames.push(shown(frame))
            bytes.push(frame.bytes)
          }
          start = end
        }
        assert.deepEqual(frames, expected)
        // Not even a frame that was put together is written over.
        assert.deepEqual(Buffer.concat(bytes), stream)
        assert.equal(reader.offset, stream.length)
      }),
    )
  })

  it('keeps frames that are not taken for the next time', () => {
    const reader = new FrameReader()
    for (const frame of reader.push(stream)) if (frame.type === 'method') break
    assert.equal(reader.read()?.type, 'malformed')
    assert.deepEqual(
      Array.from(reader, ({ type }) => type),
      ['method', 'header', 'body', 'body', 'heartbeat'],
    )
    assert.equal(reader.read(), undefined)
  })

  it('gives arguments and properties that outlive the chunk', () => {
    const table = codec.encodeMethod(0, codec.ConnectionStartOk, {
      clientProperties: { bytes: Buffer.from('abc') },
      mechanism: 'PLAIN',
      response: 'secret',
    })
    const chunk = Buffer.concat([table, codec.encodeContentHeader(1, 0, { headers: { bytes: Buffer.from('abc') } })])
    const frames = [...new FrameReader().push(chunk)]
    chunk.fill(0)
    const [method, header] = frames
    assert.ok(method?.type === 'method' && method.name === 'connection.start-ok' && header?.type === 'header')
    assert.deepEqual(method.args.clientProperties['bytes'], Buffer.from('abc'))
    assert.deepEqual(method.args.response, Buffer.from('secret'))
    assert.deepEqual(header.properties.headers?.['bytes'], Buffer.from('abc'))
  })

  it('reads from a chunk that is written over once its frames are not needed any more', () => {
    for (let size = 1; size <= stream.length; size++) {
      const reader = new FrameReader()
      const chunk = Buffer.alloc(size)
      const seen: string[] = []
      for (let at = 0; at < stream.length; at += size) {
        const length = stream.copy(chunk, 0, at, at + size)
        for (const frame of reader.push(chunk.subarray(0, length))) seen.push(shown(frame))
      }
      assert.deepEqual(seen, expected, `chunks of ${size} bytes`)
    }
  })

  it('copies a chunk only to put a frame together', () => {
    const body = codec.encodeBody(1, Buffer.alloc(100))
    const [frame] = new FrameReader().push(body)
    assert.equal(frame?.bytes.buffer, body.buffer)
  })

  it('takes octets of any kind, and a protocol header in pieces', () => {
    const reader = new FrameReader()
    assert.deepEqual([...reader.push(new Uint8Array([0x41, 0x4d]))], [])
    const [frame] = reader.push(new Uint8Array([0x51, 0x50, 0, 0, 8, 0]))
    assert.ok(frame?.type === 'protocol-header')
    const { protocolId, major, minor, revision } = frame
    assert.deepEqual([protocolId, major, minor, revision], [0, 0, 8, 0])
    assert.throws(() => reader.push('AMQP' as never), { name: 'EncodeError', message: /chunk must be a Uint8Array/ })
  })

  for (const [title, bytes, message] of [
    ['a type that is none', codec.encodeFrame(7, 1, Buffer.alloc(0)), '7 is not a frame type (at byte 8)'],
    [
      'an end octet that is another',
      Buffer.from('08000000000000ff', 'hex'),
      'a frame of type 8 on channel 0 ends with the octet 0xff instead of 0xce (at byte 8)',
    ],
    [
      'a frame that says it is too large',
      Buffer.from('0300010001fff9', 'hex'),
      'a frame of 131073 bytes on channel 1 is larger than the frameMax of 131072 (at byte 8)',
    ],
    ['a second protocol header', codec.encodeProtocolHeader(), '65 is not a frame type (at byte 8)'],
  ] as const) {
    it(`ends at ${title}, with what was before it, and says where`, () => {
      const reader = new FrameReader()
      reader.push(Buffer.concat([codec.encodeHeartbeat(), bytes]))
      assert.equal(reader.read()?.type, 'heartbeat')
      const error = failure(() => reader.read())
      assert.deepEqual([error.message, error.offset, error.replyCode], [message, 8, 501])
      assert.equal(
        failure(() => [...reader.push(codec.encodeHeartbeat())]),
        error,
      )
    })
  }

  it('ends at a stream that is not AMQP', () => {
    const reader = new FrameReader().push(Buffer.from('APPLICATION'))
    assert.match(failure(() => reader.read()).message, /neither AMQP nor a frame/)
    assert.match(failure(() => new FrameReader().push(Buffer.from('GET / HTTP/1.1')).read()).message, /71 is not/)
  })

  it('reads frames of the size that is set', () => {
    const body = codec.encodeBody(1, Buffer.alloc(200_000))
    assert.equal(new FrameReader({ frameMax: 0 }).push(body).read()?.type, 'body')
    const reader = new FrameReader()
    assert.equal(reader.frameMax, 131_072)
    reader.frameMax = body.length
    assert.equal(reader.push(body).read()?.type, 'body')
    assert.throws(() => new FrameReader({ frameMax: body.length - 1 }).push(body).read(), codec.FrameError)
    assert.throws(() => new FrameReader({ frameMax: -1 }), { name: 'EncodeError', message: /"frameMax"/ })
    assert.throws(() => new FrameReader({ frameSize: 1 } as never), /unknown option "frameSize"/)
    assert.throws(() => {
      reader.frameMax = Number.NaN
    }, codec.EncodeError)
  })

  it('reserves nothing for a size that is only announced', () => {
    const before = process.memoryUsage().arrayBuffers
    const readers = Array.from({ length: 200 }, () => {
      const reader = new FrameReader({ frameMax: 0 }).push(Buffer.from('0300017fffffff00', 'hex'))
      assert.equal(reader.read(), undefined)
      return reader
    })
    assert.ok(process.memoryUsage().arrayBuffers - before < 50_000_000)
    assert.equal(readers.length, 200)
  })

  it('works in proportion to what comes, for a large frame in many chunks', () => {
    const body = codec.encodeBody(1, Buffer.alloc(4_000_000, 'x'))
    const reader = new FrameReader({ frameMax: 0 })
    let frames = 0
    for (let at = 0; at < body.length; at += 16) {
      for (const frame of reader.push(body.subarray(at, at + 16))) {
        assert.deepEqual(frame.bytes, body)
        frames++
      }
    }
    assert.equal(frames, 1)
  })

  for (const [title, bytes, message, replyCode] of [
    [
      'arguments that are cut short',
      codec.encodeFrame(1, 1, hex('0032000a 0000 05 6162')),
      /queue\.declare: a short string of 5/,
      502,
    ],
    [
      'arguments that go on',
      codec.encodeFrame(1, 1, hex('0014000b 00000000 00')),
      /channel\.open-ok has 1 bytes too many/,
      502,
    ],
    ['less than a method', codec.encodeFrame(1, 1, hex('0032')), /a long integer of 4 octets is cut short/, 502],
    ['a number past 2^53', codec.encodeFrame(1, 1, hex('003c0050 0020000000000000 00')), /past 2\^53 - 1/, 502],
    [
      'a content header of another class',
      codec.encodeFrame(2, 1, hex('003d0000 0000000000000000 0000')),
      /not of the class basic/,
      502,
    ],
    ['a content header that is cut short', codec.encodeFrame(2, 1, hex('003c0000 00000000')), /cut short/, 502],
    ['a content header without flags', codec.encodeFrame(2, 1, hex('003c0000 0000000000000000')), /cut short/, 502],
    ['property flags that are none', codec.encodeFrame(2, 1, hex('003c0000 0000000000000000 0001')), /flags/, 502],
    [
      'headers that are nested too deep',
      codec.encodeFrame(2, 1, Buffer.concat([hex('003c0000 0000000000000000 2000'), nestedTables(65)])),
      /nested too deep/,
      502,
    ],
    ['a heartbeat with a payload', codec.encodeFrame(8, 0, hex('00')), /payload of 1 bytes/, 501],
    ['a heartbeat on a channel', codec.encodeFrame(8, 1, hex('')), /channel 1 instead of 0/, 501],
  ] as const) {
    it(`gives ${title} as malformed, and goes on`, () => {
      const [frame, next] = new FrameReader().push(Buffer.concat([bytes, codec.encodeHeartbeat()]))
      assert.ok(frame?.type === 'malformed')
      assert.match(frame.error.message, message)
      assert.ok(frame.error instanceof codec.FrameError)
      assert.deepEqual([frame.error.replyCode, frame.error.offset], [replyCode, 0])
      assert.deepEqual(frame.bytes, bytes)
      assert.equal(next?.type, 'heartbeat')
    })
  }

  it('gives frames or a FrameError for any bytes', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc
        .tuple(fc.constantFrom(1, 2, 3, 8), fc.nat(3), fc.uint8Array({ maxLength: 60 }))
        .map(([type, channel, payload]) => codec.encodeFrame(type, channel, payload)),
      fc.tuple(fc.nat(stream.length - 1), fc.nat(255)).map(([at, octet]) => {
        const spoilt = Buffer.from(stream)
        spoilt[at] = octet
        return spoilt
      }),
    )
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 5 }), chunks => {
        const reader = new FrameReader()
        let offset = 0
        try {
          for (const chunk of chunks) {
            for (const frame of reader.push(chunk)) {
              assert.equal(frame.offset, offset)
              offset += frame.bytes.length
            }
          }
        } catch (error) {
          assert.ok(error instanceof codec.FrameError)
          assert.equal(error.offset, offset)
        }
      }),
      { numRuns: 500 },
    )
  })
})

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}
