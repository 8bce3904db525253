import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { Assembler } from '../../../src/channel/consume/assembler.ts'
import { FrameError, ProtocolError } from '../../../src/errors.ts'
import { FrameParser, type FrameSink } from '../../../src/protocol/frame-parser.ts'

const FRAME_MAX = 4096
const MAX = 100_000

function frame(type: number, channel: number, payload: Buffer): Buffer {
  const bytes = Buffer.alloc(8 + payload.length, 0xce)
  bytes.writeUInt8(type, 0)
  bytes.writeUInt16BE(channel, 1)
  bytes.writeUInt32BE(payload.length, 3)
  payload.copy(bytes, 7)
  return bytes
}

interface Taken {
  readonly content: string
  readonly body: Buffer
  readonly contentType: string | undefined
}

class Fixture {
  readonly taken: Taken[] = []
  readonly tooLarge: number[] = []
  readonly assembler: Assembler<string>

  constructor(max = MAX) {
    this.assembler = new Assembler<string>(3, FRAME_MAX, max, {
      contentReceived: (content, body, { contentType }) => this.taken.push({ content, body, contentType }),
      contentRefused: (_content, size) => this.tooLarge.push(size),
    })
  }

  header(size: number | bigint, properties = '0000', classId = 60, weight = 0): void {
    const head = Buffer.alloc(12)
    head.writeUInt16BE(classId, 0)
    head.writeUInt16BE(weight, 2)
    head.writeBigUInt64BE(BigInt(size), 4)
    const bytes = Buffer.concat([head, Buffer.from(properties, 'hex')])
    this.assembler.header(bytes, 0, bytes.length, bytes.length)
    bytes.fill(0xff)
  }

  body(bytes: Buffer, ended = true): void {
    const reused = Buffer.concat([Buffer.from([1]), bytes, Buffer.from([2])])
    this.assembler.body(reused, 1, 1 + bytes.length, ended)
    reused.fill(0xff)
  }
}

/** Header and body are taken at once if they stand whole, as they are frame by frame. */
function assertSameOutcome(bytes: Buffer, limit: number): void {
  const outcome = (whole: boolean): string => {
    const { assembler, taken } = new Fixture()
    const push = (from: number): void => {
      const sink: FrameSink = {
        methodFrame: () => assert.fail('a method'),
        headerFrame: (on, buffer, start, end, length) => {
          assert.equal(on, 3)
          assembler.header(buffer, start, end, length)
        },
        bodyFrame: (on, buffer, start, end, ended) => {
          assert.equal(on, 3)
          assembler.body(buffer, start, end, ended)
        },
        heartbeatFrame: () => {},
      }
      const rest = Buffer.from(bytes.subarray(from, limit))
      new FrameParser(sink, FRAME_MAX).push(rest, rest.length)
    }
    let failed = false
    try {
      if (whole) push(assembler.take('c', bytes, 0, limit))
      else {
        assembler.expect('c')
        push(0)
      }
    } catch {
      failed = true
    }
    // What was taken before a fault does not matter: the connection is over with it.
    return failed ? 'failed' : inspect({ taken, idle: assembler.idle })
  }
  assert.equal(outcome(true), outcome(false), `${bytes.toString('hex')} up to ${limit}`)
}

describe('Assembler', () => {
  it('puts a message together from its method, its header and its bodies (§4.2.6)', () => {
    const fixture = new Fixture()
    assert.equal(fixture.assembler.idle, true)
    fixture.assembler.expect('deliver')
    assert.equal(fixture.assembler.idle, false)
    fixture.header(5, '80000161')
    fixture.body(Buffer.from('he'))
    fixture.body(Buffer.from('ll'), false)
    fixture.body(Buffer.from('o'))
    assert.deepEqual(fixture.taken, [{ content: 'deliver', body: Buffer.from('hello'), contentType: 'a' }])
    assert.equal(fixture.assembler.idle, true)
  })

  it('takes a message without a body at its header', () => {
    const fixture = new Fixture()
    fixture.assembler.expect('a')
    fixture.header(0)
    assert.equal(fixture.taken[0]?.body.length, 0)
  })

  it('takes empty body frames between others', () => {
    const fixture = new Fixture()
    fixture.assembler.expect('a')
    fixture.header(2)
    fixture.body(Buffer.alloc(0))
    fixture.body(Buffer.from('h'))
    fixture.body(Buffer.alloc(0))
    fixture.body(Buffer.from('i'))
    assert.equal(String(fixture.taken[0]?.body), 'hi')
  })

  it('waits for the end octet of the last frame', () => {
    const fixture = new Fixture()
    fixture.assembler.expect('a')
    fixture.header(2)
    fixture.body(Buffer.from('hi'), false)
    assert.equal(fixture.taken.length, 0)
    fixture.body(Buffer.alloc(0))
    assert.equal(fixture.taken.length, 1)
  })

  it('gives each body bytes of its own, whatever the pieces', () => {
    const message = fc.tuple(fc.oneof(fc.nat(100), fc.nat(3_000_000)), fc.array(fc.nat(3_000_000), { maxLength: 6 }))
    fc.assert(
      fc.property(fc.array(message, { maxLength: 4 }), messages => {
        const fixture = new Fixture(10_000_000)
        const sent: Buffer[] = []
        for (const [index, [size, cuts]] of messages.entries()) {
          const whole = Buffer.alloc(size, index + 1)
          sent.push(whole)
          fixture.assembler.expect('m')
          fixture.header(size)
          const ends = [...cuts.filter(cut => cut < size), size].sort((a, b) => a - b)
          let start = 0
          for (const end of size === 0 ? [] : ends) {
            fixture.body(whole.subarray(start, end))
            start = end
          }
        }
        assert.equal(fixture.taken.length, sent.length)
        for (const [index, { body }] of fixture.taken.entries()) assert.ok(body.equals(sent[index] ?? Buffer.alloc(0)))
      }),
      { numRuns: 40 },
    )
  })

  it('keeps nothing of a message above the limit, and reports its size when it is over', () => {
    const fixture = new Fixture(10)
    fixture.assembler.expect('a')
    fixture.header(11)
    fixture.body(Buffer.alloc(10))
    assert.deepEqual(fixture.tooLarge, [])
    fixture.body(Buffer.alloc(1))
    assert.deepEqual(fixture.tooLarge, [11])
    fixture.assembler.expect('b')
    fixture.header(10)
    fixture.body(Buffer.alloc(10))
    assert.equal(fixture.taken.length, 1)
  })

  it('takes no memory for a size that is only announced', () => {
    const fixture = new Fixture(2 ** 40)
    const before = process.memoryUsage().rss
    for (let i = 0; i < 200; i++) {
      const one = new Fixture(2 ** 40)
      one.assembler.expect('a')
      one.header(2 ** 33)
      one.body(Buffer.alloc(10))
    }
    assert.ok(process.memoryUsage().rss - before < 250 * 1024 * 1024)
    assert.equal(fixture.taken.length, 0)
  })

  it('takes content that stands whole after its method as it takes it frame by frame', () => {
    const size = fc.oneof(fc.nat(30), fc.integer({ min: FRAME_MAX - 12, max: FRAME_MAX + 4 }))
    const content = fc.record({
      size,
      announced: fc.option(fc.nat(40), { nil: undefined }),
      channel: fc.constantFrom(3, 3, 3, 4),
      properties: fc.constantFrom('0000', '0000', '80000161', '0002', '00', '8000'),
      cut: fc.option(fc.nat(60), { nil: undefined }),
      octet: fc.option(fc.tuple(fc.nat(60), fc.nat(255)), { nil: undefined }),
    })
    fc.assert(
      fc.property(content, ({ size, announced = size, channel, properties, cut, octet }) => {
        const head = Buffer.alloc(12)
        head.writeUInt16BE(60, 0)
        head.writeUInt32BE(announced, 8)
        const bytes = Buffer.concat([
          frame(2, channel, Buffer.concat([head, Buffer.from(properties, 'hex')])),
          frame(3, channel, Buffer.alloc(size, 7)),
        ])
        if (octet !== undefined) bytes[octet[0] % bytes.length] = octet[1]
        const limit = bytes.length - Math.min(cut ?? 0, bytes.length)
        assertSameOutcome(bytes, limit)
      }),
      { numRuns: 2000 },
    )
  })

  it('refuses a header above the size of a frame, and a body frame after an empty body, also if both stand whole', () => {
    const contents = [
      [Buffer.from(`200000000fa0${'fe'.repeat(4000)}`, 'hex'), 3],
      [Buffer.from(`2000000013860161530000137f${'78'.repeat(4991)}`, 'hex'), 3],
      [Buffer.from('0000', 'hex'), 0],
    ] as const
    for (const [properties, size] of contents) {
      const head = Buffer.alloc(12)
      head.writeUInt16BE(60, 0)
      head.writeUInt32BE(size, 8)
      const bytes = Buffer.concat([frame(2, 3, Buffer.concat([head, properties])), frame(3, 3, Buffer.alloc(size))])
      assertSameOutcome(bytes, bytes.length)
      const { assembler } = new Fixture()
      // Neither is taken at once: the parser and the assembler report the fault.
      try {
        assert.equal(assembler.take('c', bytes, 0, bytes.length), 0)
      } catch (error) {
        assert.ok(error instanceof FrameError)
      }
    }
  })

  it('finds each octet that is wrong, and each end that is missing, in content that stands whole', () => {
    const head = Buffer.alloc(12)
    head.writeUInt16BE(60, 0)
    head.writeUInt32BE(3, 8)
    const header = frame(2, 3, Buffer.concat([head, Buffer.from('80000161', 'hex')]))
    const bytes = Buffer.concat([header, frame(3, 3, Buffer.from('abc'))])
    for (let at = 0; at < bytes.length; at++) {
      assertSameOutcome(bytes, at)
      for (let octet = 0; octet < 256; octet++) {
        const other = Buffer.from(bytes)
        other[at] = octet
        assertSameOutcome(other, other.length)
      }
    }
  })

  const faults: readonly (readonly [
    string,
    (fixture: Fixture) => void,
    typeof FrameError | typeof ProtocolError,
    number,
  ])[] = [
    ['a header without its method', fixture => fixture.header(1), ProtocolError, 505],
    ['a body without its method', fixture => fixture.body(Buffer.alloc(1)), ProtocolError, 505],
    [
      'a body without its header',
      fixture => {
        fixture.assembler.expect('a')
        fixture.body(Buffer.alloc(1))
      },
      ProtocolError,
      505,
    ],
    [
      'a second header',
      fixture => {
        fixture.assembler.expect('a')
        fixture.header(1)
        fixture.header(1)
      },
      ProtocolError,
      505,
    ],
    [
      'a body longer than announced',
      fixture => {
        fixture.assembler.expect('a')
        fixture.header(3)
        fixture.body(Buffer.alloc(2))
        fixture.body(Buffer.alloc(2))
      },
      ProtocolError,
      505,
    ],
    [
      'a body where none was announced',
      fixture => {
        fixture.assembler.expect('a')
        fixture.header(0)
        fixture.body(Buffer.alloc(1))
      },
      ProtocolError,
      505,
    ],
    [
      'a header of another class',
      fixture => {
        fixture.assembler.expect('a')
        fixture.header(1, '0000', 50)
      },
      FrameError,
      501,
    ],
    [
      'a weight that is not 0',
      fixture => {
        fixture.assembler.expect('a')
        fixture.header(1, '0000', 60, 1)
      },
      FrameError,
      501,
    ],
    [
      'a header that is cut',
      fixture => {
        fixture.assembler.expect('a')
        fixture.header(1, '00')
      },
      FrameError,
      502,
    ],
    [
      'a size of 2^53 bytes',
      fixture => {
        fixture.assembler.expect('a')
        fixture.header(2n ** 53n)
      },
      FrameError,
      502,
    ],
    [
      'properties that are cut',
      fixture => {
        fixture.assembler.expect('a')
        fixture.header(1, '8000')
      },
      FrameError,
      502,
    ],
  ]
  for (const [what, act, kind, replyCode] of faults) {
    it(`refuses ${what}, with reply code ${replyCode}`, () => {
      const fixture = new Fixture()
      assert.throws(
        () => act(fixture),
        (error: unknown) => error instanceof kind && error.replyCode === replyCode,
      )
    })
  }
})
