import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { FrameError } from '../../src/errors.ts'
import { HEARTBEAT_FRAME } from '../../src/protocol/constants.ts'
import { FrameParser, type FrameSink } from '../../src/protocol/frame-parser.ts'

const FRAME_MAX = 4096

/** What a parser reported: bodies joined over their pieces, each piece copied as it came. */
class Told implements FrameSink {
  readonly frames: string[] = []
  #body: Buffer[] = []

  methodFrame(channel: number, buffer: Buffer, start: number, end: number): number {
    this.#frame('method', channel, buffer.subarray(start, end))
    return end + 1
  }

  headerFrame(channel: number, buffer: Buffer, start: number, end: number, length: number): void {
    this.#frame(length === end - start ? 'header' : `header of ${length}`, channel, buffer.subarray(start, end))
  }

  bodyFrame(channel: number, buffer: Buffer, start: number, end: number, ended: boolean): void {
    this.#body.push(Buffer.from(buffer.subarray(start, end)))
    if (!ended) return
    this.#frame('body', channel, Buffer.concat(this.#body))
    this.#body = []
  }

  heartbeatFrame(): void {
    this.frames.push('heartbeat')
  }

  #frame(kind: string, channel: number, payload: Buffer): void {
    this.frames.push(`${kind} ${channel} ${payload.toString('hex')}`)
  }
}

function frame(type: number, channel: number, payload: Uint8Array, end = 0xce): Buffer {
  const bytes = Buffer.alloc(8 + payload.length, end)
  bytes.writeUInt8(type, 0)
  bytes.writeUInt16BE(channel, 1)
  bytes.writeUInt32BE(payload.length, 3)
  bytes.set(payload, 7)
  return bytes
}

/** The bytes in pieces that end at these places, each through one buffer that is spoilt after the call. */
function parse(bytes: Buffer, cuts: readonly number[] = [], frameMax = FRAME_MAX): { told: Told; error: unknown } {
  const told = new Told()
  const parser = new FrameParser(told, frameMax)
  let error: unknown
  const ends = [...cuts, bytes.length].filter(cut => cut <= bytes.length).sort((a, b) => a - b)
  let start = 0
  try {
    for (const end of ends) {
      const reused = Buffer.concat([bytes.subarray(start, end), Buffer.from([0xde, 0xad])])
      parser.push(reused, end - start)
      reused.fill(0xff)
      start = end
    }
  } catch (thrown) {
    error = thrown
  }
  return { told, error }
}

function everyByte(bytes: Buffer): number[] {
  return Array.from(bytes, (_, i) => i)
}

const anyFrame = fc.oneof(
  fc
    .tuple(fc.constantFrom(1, 2, 3), fc.nat(0xffff), fc.uint8Array({ maxLength: 60 }))
    .map(([type, channel, payload]) => frame(type, channel, payload)),
  fc
    .tuple(fc.constantFrom(1, 2, 3), fc.nat(0xffff), fc.integer({ min: FRAME_MAX - 20, max: FRAME_MAX - 8 }))
    .map(([type, channel, size]) => frame(type, channel, Buffer.alloc(size, 0xce))),
  fc.constant(Buffer.from(HEARTBEAT_FRAME)),
)

describe('FrameParser', () => {
  it('cuts the stream into frames by type, channel and payload (§4.2.3)', () => {
    const bytes = Buffer.from(
      '01 0001 00000004 0014000b ce 02 0102 00000002 aabb ce 03 ffff 00000001 cc ce'.replaceAll(' ', ''),
      'hex',
    )
    assert.deepEqual(parse(Buffer.concat([bytes, HEARTBEAT_FRAME])).told.frames, [
      'method 1 0014000b',
      'header 258 aabb',
      'body 65535 cc',
      'heartbeat',
    ])
  })

  it('reports the same of a stream in any pieces as of the whole', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 8 }), fc.array(fc.nat(10_000), { maxLength: 30 }), (frames, cuts) => {
        const bytes = Buffer.concat(frames)
        const whole = parse(bytes)
        assert.equal(whole.error, undefined)
        assert.equal(whole.told.frames.length, frames.length)
        const pieces = parse(bytes, cuts)
        assert.equal(pieces.error, undefined)
        assert.deepEqual(pieces.told.frames, whole.told.frames)
      }),
    )
  })

  it('takes a stream byte by byte', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 4 }), frames => {
        const bytes = Buffer.concat(frames)
        assert.deepEqual(parse(bytes, everyByte(bytes)).told.frames, parse(bytes).told.frames)
      }),
      { numRuns: 30 },
    )
  })

  it('finds the same fault in any pieces', () => {
    const streams = fc
      .tuple(fc.array(anyFrame, { minLength: 1, maxLength: 4 }), fc.nat(), fc.nat(255))
      .map(([frames, at, octet]) => {
        const bytes = Buffer.concat(frames)
        bytes[at % bytes.length] = octet
        return bytes
      })
    fc.assert(
      fc.property(streams, fc.array(fc.nat(10_000), { maxLength: 30 }), (bytes, cuts) => {
        const whole = parse(bytes)
        const pieces = parse(bytes, cuts)
        assert.ok(whole.error === undefined || whole.error instanceof FrameError)
        assert.deepEqual(pieces.told.frames, whole.told.frames)
        // A frame with two faults is refused for the one that is seen first.
        assert.equal(pieces.error instanceof FrameError, whole.error instanceof FrameError)
      }),
      { numRuns: 500 },
    )
  })

  const faults: readonly (readonly [string, Buffer, RegExp])[] = [
    [
      'a frame without its end octet',
      frame(1, 3, Buffer.alloc(4), 0xcd),
      /type 1 on channel 3 ends with the octet 0xcd instead of 0xce/,
    ],
    [
      'a body without its end octet',
      frame(3, 3, Buffer.alloc(4), 0),
      /type 3 on channel 3 ends with the octet 0x0 instead/,
    ],
    ['a type that does not exist', frame(4, 0, Buffer.alloc(0)), /^4 is not a frame type/],
    ['a heartbeat on another channel than 0 (§4.2.7)', frame(8, 5, Buffer.alloc(0)), /a heartbeat came on channel 5/],
    ['a heartbeat with a payload', frame(8, 0, Buffer.alloc(3)), /a heartbeat came with a payload of 3 bytes/],
    [
      'a frame above the size agreed',
      frame(3, 1, Buffer.alloc(FRAME_MAX - 7)),
      /a frame of 4097 bytes on channel 1 is larger than the 4096 bytes agreed/,
    ],
  ]
  for (const [what, bytes, message] of faults) {
    it(`refuses ${what}, with reply code 501`, () => {
      for (const cuts of [[], everyByte(bytes)]) {
        const { error, told } = parse(bytes, cuts)
        assert.ok(error instanceof FrameError)
        assert.match(error.message, message)
        assert.equal(error.replyCode, 501)
        assert.deepEqual(told.frames, [])
      }
    })
  }

  it('refuses a frame above the size agreed as soon as its 7-byte header is in', () => {
    const header = frame(1, 1, Buffer.alloc(FRAME_MAX - 7)).subarray(0, 7)
    assert.equal(parse(header.subarray(0, 6)).error, undefined)
    assert.ok(parse(header).error instanceof FrameError)
    const huge = Buffer.from('0100017fffffff', 'hex')
    assert.match(String(parse(huge).error), /a frame of 2147483655 bytes/)
  })

  it('goes on where its sink says, which may have taken the content of a method too', () => {
    const told = new Told()
    const limits: number[] = []
    const sink: FrameSink = {
      methodFrame: (_channel, _buffer, _start, end, limit) => {
        limits.push(limit)
        return end + 1 + 9
      },
      headerFrame: () => assert.fail('the header was taken'),
      bodyFrame: (...args) => told.bodyFrame(...args),
      heartbeatFrame: () => told.heartbeatFrame(),
    }
    const bytes = Buffer.concat([
      frame(1, 1, Buffer.alloc(4)),
      frame(2, 1, Buffer.alloc(1)),
      frame(3, 1, Buffer.alloc(2)),
    ])
    new FrameParser(sink, FRAME_MAX).push(Buffer.concat([bytes, Buffer.alloc(5)]), bytes.length)
    assert.deepEqual(limits, [bytes.length])
    assert.deepEqual(told.frames, ['body 1 0000'])
  })

  it('reserves no more than came, however large a frame is announced, if no size is agreed', () => {
    for (const type of [1, 2, 3]) {
      const before = process.memoryUsage().arrayBuffers
      const header = Buffer.from('010001ffffffe0', 'hex')
      header[0] = type
      const { error } = parse(Buffer.concat([header, Buffer.alloc(1_000)]), [], 2 ** 32)
      assert.equal(error instanceof FrameError, type === 1)
      assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000)
    }
  })

  it('refuses a method above 1 MiB by its header, in any pieces', () => {
    const largest = frame(1, 1, Buffer.alloc(1_048_576, 7))
    const tooLarge = frame(1, 1, Buffer.alloc(1_048_577, 7))
    for (const cuts of [[], [3], [10_000, 500_000, 1_000_000]]) {
      assert.equal(parse(largest, cuts, 2 ** 32).told.frames.length, 1)
      assert.match(String(parse(tooLarge, cuts, 2 ** 32).error), /a method of 1048577 bytes on channel 1 is larger/)
    }
    assert.match(String(parse(tooLarge.subarray(0, 7), [], 2 ** 32).error), /a method of 1048577 bytes/)
  })

  it('gives of a content header above 16 MiB only the fixed part, and goes on after it, in any pieces', () => {
    const size = 16_777_217
    const large = frame(2, 5, Buffer.alloc(size, 7))
    const bytes = Buffer.concat([large, frame(1, 1, Buffer.from([1]))])
    for (const cuts of [[], [3], [12], [18, 19, 20], [1_000_000, size + 6, size + 7], [size + 8]]) {
      const { told, error } = parse(bytes, cuts, 2 ** 32)
      assert.equal(error, undefined)
      assert.deepEqual(told.frames, [`header of ${size} 5 ${'07'.repeat(12)}`, 'method 1 01'])
      const broken = Buffer.from(bytes)
      broken[large.length - 1] = 0
      assert.match(String(parse(broken, cuts, 2 ** 32).error), /ends with the octet 0x0/)
    }
  })

  it('puts a header of some MiB together from any pieces', () => {
    const payload = Buffer.from(Array.from({ length: 700_000 }, (_, i) => i % 251))
    const bytes = frame(2, 1, payload)
    for (const cuts of [[1], [7], [7, 131_079], [65_536, 131_072, 196_608, 500_000], [700_007]]) {
      assert.deepEqual(parse(bytes, cuts, 2 ** 32).told.frames, [`header 1 ${payload.toString('hex')}`])
    }
  })

  it('takes a frame of exactly the size agreed', () => {
    const bytes = frame(3, 1, Buffer.alloc(FRAME_MAX - 8))
    assert.equal(bytes.length, FRAME_MAX)
    assert.equal(parse(bytes).told.frames.length, 1)
  })

  it('keeps to a size that is agreed on later', () => {
    const parser = new FrameParser(new Told(), 131_072)
    const bytes = frame(1, 0, Buffer.alloc(5000))
    parser.push(bytes, bytes.length)
    parser.frameMax = FRAME_MAX
    assert.throws(() => parser.push(bytes, bytes.length), FrameError)
  })
})
