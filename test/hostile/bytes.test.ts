import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { Assembler } from '../../src/channel/consume/assembler.ts'
import { FrameError, ProtocolError } from '../../src/errors.ts'
import { FrameParser } from '../../src/protocol/frame-parser.ts'
import { decodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import { contentFrames, deliverFrame, heartbeatFrame, methodFrame } from '../support/fake-broker.ts'
import { nestedTables } from '../support/property-lists.ts'
import { sized } from '../support/sizes.ts'

const FRAME_MAX = 8_192
const MAX_MESSAGE = 20_000
const MIB = 1_048_576

const PROPERTIES = {
  contentType: 'text/plain',
  headers: { a: 1, b: 'x'.repeat(70), c: { d: [true, null, 1.5, 7n], e: new Date(0), f: Buffer.from('bytes') } },
  priority: 3,
  timestamp: new Date(0),
  clusterId: 'c',
}

/** Most frames that a server may send to channel 1, content included. */
const stream = Buffer.concat([
  methodFrame(0, methods.ConnectionStart, { serverProperties: PROPERTIES.headers, mechanisms: 'PLAIN' }),
  methodFrame(0, methods.ConnectionTune, { channelMax: 10, frameMax: FRAME_MAX, heartbeat: 5 }),
  methodFrame(1, methods.QueueDeclareOk, { queue: 'q', messageCount: 2, consumerCount: 0 }),
  deliverFrame(1, 'consumer', 1),
  contentFrames(1, 'hello', PROPERTIES),
  heartbeatFrame,
  deliverFrame(1, 'consumer', 2),
  contentFrames(1, Buffer.alloc(9_000, 1), { messageId: 'm' }, FRAME_MAX),
  methodFrame(1, methods.BasicReturn, { replyCode: 312, replyText: 'NO_ROUTE', exchangeName: 'e', routingKey: 'k' }),
  contentFrames(1, '', PROPERTIES),
  methodFrame(1, methods.BasicAck, { deliveryTag: 2, multiple: true }),
  methodFrame(1, methods.ChannelClose, { replyCode: 404, replyText: 'NOT_FOUND', classId: 50, methodId: 10 }),
])

interface Outcome {
  readonly seen: readonly string[]
  readonly error: unknown
}

/** Read the bytes in pieces that end at these places, as a connection with one channel does. */
function read(bytes: Buffer, cuts: readonly number[], frameMax = FRAME_MAX): Outcome {
  const seen: string[] = []
  const assembler = new Assembler<string>(1, frameMax, MAX_MESSAGE, {
    contentReceived: (content, body, properties) => {
      seen.push(`${content} ${body.toString('hex')} ${inspect(properties, { depth: 70 })}`)
    },
    contentRefused: (content, size, properties, reason) => {
      seen.push(`${content} refused ${size} ${inspect(properties.headers, { depth: 70 })} ${reason}`)
    },
  })
  const parser = new FrameParser(
    {
      methodFrame: (channel, buffer, start, end, limit) => {
        if (!assembler.idle) throw new ProtocolError('a method in the middle of a message')
        const { method, args } = decodeMethod(buffer, start, end)
        const what = `${channel} ${method.name} ${inspect(args, { depth: 70 })}`
        if (method !== methods.BasicDeliver && method !== methods.BasicReturn) seen.push(what)
        else if (method === methods.BasicDeliver) return assembler.take(what, buffer, end + 1, limit)
        else assembler.expect(what)
        return end + 1
      },
      headerFrame: (_channel, buffer, start, end, length) => assembler.header(buffer, start, end, length),
      bodyFrame: (_channel, buffer, start, end, ended) => assembler.body(buffer, start, end, ended),
      heartbeatFrame: () => seen.push('heartbeat'),
    },
    frameMax,
  )
  const ends = [...cuts.filter(cut => cut < bytes.length), bytes.length].sort((a, b) => a - b)
  let start = 0
  try {
    for (const end of ends) {
      // The buffer of a read is used again for the next one.
      const reused = Buffer.concat([bytes.subarray(start, end), Buffer.from([0xde, 0xad])])
      parser.push(reused, end - start)
      reused.fill(0xff)
      start = end
    }
    return { seen, error: undefined }
  } catch (error) {
    return { seen, error }
  }
}

const cuts = fc.array(fc.nat(stream.length), { maxLength: 20 })
const change = fc.record({
  at: fc.oneof(fc.nat(500), fc.nat(stream.length - 1)),
  kind: fc.constantFrom('set', 'set', 'flip', 'drop', 'insert', 'cut'),
  octet: fc.oneof(fc.constantFrom(0, 1, 2, 3, 8, 0x41, 0x46, 0x53, 0x7f, 0x80, 0xce, 0xff), fc.nat(255)),
})

function changed(changes: readonly { at: number; kind: string; octet: number }[]): Buffer {
  let bytes: Buffer = Buffer.from(stream)
  for (const { at, kind, octet } of changes) {
    if (at >= bytes.length) continue
    if (kind === 'set') bytes[at] = octet
    else if (kind === 'flip') bytes[at] = (bytes[at] as number) ^ (1 << (octet & 7))
    else if (kind === 'drop') bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + (octet & 7))])
    else if (kind === 'insert') bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([octet]), bytes.subarray(at)])
    else bytes = bytes.subarray(0, at)
  }
  return bytes
}

describe('the bytes of a server', () => {
  it('mean the same in any pieces', () => {
    const whole = read(stream, [])
    assert.equal(whole.error, undefined)
    assert.equal(whole.seen.length, 9)
    fc.assert(fc.property(cuts, places => assert.deepEqual(read(stream, places), whole)))
    for (let at = 1; at < 800; at++) assert.deepEqual(read(stream, [at]), whole)
  })

  it('end in a FrameError or a ProtocolError or mean something, changed in any way, in any pieces', () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), cuts, (changes, places) => {
        const bytes = changed(changes)
        const before = process.memoryUsage().arrayBuffers
        for (const frameMax of [FRAME_MAX, 2 ** 32]) {
          const whole = read(bytes, [], frameMax)
          const pieces = read(bytes, places, frameMax)
          for (const { error } of [whole, pieces]) {
            assert.ok(
              error === undefined || error instanceof FrameError || error instanceof ProtocolError,
              inspect(error),
            )
          }
          // A frame with two faults may be refused for either, but the frames before it are all taken.
          if (whole.error === undefined) assert.deepEqual(pieces, whole)
          else assert.ok(pieces.error !== undefined)
        }
        assert.ok(process.memoryUsage().arrayBuffers - before < 4 * MIB, 'memory that was only announced')
      }),
      { numRuns: sized(2_000, 50_000) },
    )
  })

  it('end in a FrameError or a ProtocolError as the arguments of any method', () => {
    const keys = Object.values(methods).flatMap(each => (typeof each === 'object' && 'key' in each ? [each.key] : []))
    assert.ok(keys.length > 60)
    fc.assert(
      fc.property(fc.constantFrom(...keys), fc.uint8Array({ maxLength: 60 }), (key, args) => {
        const bytes = Buffer.concat([Buffer.alloc(4), args])
        bytes.writeUInt32BE(key)
        try {
          inspect(decodeMethod(bytes, 0, bytes.length))
        } catch (error) {
          assert.ok(error instanceof FrameError || error instanceof ProtocolError, inspect(error))
        }
      }),
      { numRuns: sized(5_000, 100_000) },
    )
  })

  it('may nest headers as deep as a frame holds, which is refused without a deep stack or much work', () => {
    const list = Buffer.concat([Buffer.from('2000', 'hex'), nestedTables(8_000)])
    const head = Buffer.alloc(12)
    head.writeUInt16BE(60, 0)
    const payload = Buffer.concat([head, list])
    const frame = Buffer.alloc(7)
    frame.writeUInt8(2, 0)
    frame.writeUInt16BE(1, 1)
    frame.writeUInt32BE(payload.length, 3)
    const bytes = Buffer.concat([deliverFrame(1, 'c', 1), frame, payload, Buffer.from([0xce]), heartbeatFrame])
    const { seen, error } = read(bytes, [], 2 ** 32)
    assert.equal(error, undefined)
    assert.match(seen[0] ?? '', /refused 0 .* more than 64 deep/s)
    assert.equal(seen[1], 'heartbeat')
  })
})
