import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { CHUNK_SIZE, Writer } from '../../src/protocol/writer.ts'

function written(write: (writer: Writer) => void): string {
  return Writer.encode(writer => {
    writer.reserve(1_000)
    write(writer)
  }).toString('hex')
}

describe('Writer', () => {
  const vectors: readonly (readonly [string, (writer: Writer) => void, string])[] = [
    ['an octet', writer => writer.octet(0xce), 'ce'],
    ['a short integer, big end first', writer => writer.short(0x1234), '1234'],
    ['a long integer', writer => writer.long(0xfedc_ba98), 'fedcba98'],
    ['a long long integer', writer => writer.longlong(0x1_2345_6789), '0000000123456789'],
    ['the largest exact number', writer => writer.longlong(Number.MAX_SAFE_INTEGER), '001fffffffffffff'],
    ['a bigint of 64 bits', writer => writer.bigint(0x8000_0000_0000_0001n), '8000000000000001'],
    ['a negative bigint as two’s complement', writer => writer.bigint(-2n), 'fffffffffffffffe'],
    ['a double', writer => writer.double(0.1), '3fb999999999999a'],
    ['a float', writer => writer.float(1.5), '3fc00000'],
    ['an empty short string', writer => writer.shortstr(''), '00'],
    ['a short string of ASCII', writer => writer.shortstr('AMQP'), '04414d5150'],
    ['a short string whose length counts bytes', writer => writer.shortstr('ü'), '02c3bc'],
    ['text without a length', writer => writer.utf8('€'), 'e282ac'],
  ]
  for (const [what, write, hex] of vectors) {
    it(`writes ${what}`, () => assert.equal(written(write), hex))
  }

  it('writes a short string of 255 bytes, and refuses one of 256, or with a lone surrogate, without writing any of it', () => {
    const writer = new Writer()
    writer.begin()
    writer.reserve(1_000)
    assert.equal(writer.shortstr('x'.repeat(255)), true)
    assert.equal(writer.waiting, 256)
    for (const bad of [
      'x'.repeat(256),
      'ü'.repeat(128),
      'x'.repeat(255).concat('ü'),
      '\ud800',
      `${'x'.repeat(80)}\udc00`,
    ]) {
      assert.equal(writer.shortstr(bad), false)
    }
    assert.equal(writer.waiting, 256)
  })

  it('writes any short string as its length and its UTF-8', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 80 }).filter(value => Buffer.byteLength(value) < 256),
        text => {
          const bytes = Buffer.from(text)
          assert.equal(
            written(writer => assert.ok(writer.shortstr(text))),
            Buffer.concat([Buffer.from([bytes.length]), bytes]).toString('hex'),
          )
        },
      ),
    )
  })

  it('forgets a message that is rolled back, and nothing before it', () => {
    const writer = new Writer()
    writer.begin()
    writer.reserve(1)
    writer.octet(1)
    writer.begin()
    writer.reserve(CHUNK_SIZE)
    writer.long(0xffff_ffff)
    writer.rollback()
    writer.begin()
    writer.reserve(1)
    writer.octet(2)
    assert.deepEqual(Buffer.concat(writer.take()), Buffer.from([1, 2]))
  })

  it('sends bytes given by reference without copying them, in their place', () => {
    const writer = new Writer()
    const body = Buffer.from([7, 8, 9])
    writer.begin()
    writer.reserve(2)
    writer.octet(1)
    writer.reference(body)
    writer.octet(2)
    assert.equal(writer.waiting, 5)
    const segments = writer.take()
    assert.equal(segments[1], body)
    assert.deepEqual(Buffer.concat(segments), Buffer.from([1, 7, 8, 9, 2]))
    assert.equal(writer.waiting, 0)
  })

  it('gives out, in any order of writing, moving, rolling back, referring and taking, what was written', () => {
    const size = fc.oneof(fc.nat(40), fc.nat(3 * CHUNK_SIZE))
    const step = fc.oneof(
      fc.record({ kind: fc.constant('bytes' as const), size }),
      fc.record({ kind: fc.constant('reference' as const), size: fc.nat(40_000) }),
      fc.record({ kind: fc.constant('patched' as const), size }),
    )
    const message = fc.record({
      steps: fc.array(step, { minLength: 1, maxLength: 6 }),
      after: fc.constantFrom('keep', 'keep', 'rollback', 'take', 'take and reuse'),
    })
    fc.assert(
      fc.property(fc.array(message, { maxLength: 12 }), messages => {
        const writer = new Writer()
        const out: Buffer[] = []
        const expected: Buffer[] = []
        let fill = 0
        for (const { steps, after } of messages) {
          const rolledBack = after === 'rollback'
          const own: Buffer[] = []
          writer.begin()
          for (const { kind, size } of steps) {
            const bytes = Buffer.alloc(size, ++fill)
            if (kind === 'reference') {
              // What follows a reference cannot be rolled back.
              if (rolledBack) continue
              writer.reference(bytes)
              own.push(bytes)
            } else if (kind === 'bytes') {
              writer.reserve(size)
              writer.bytes(bytes)
              own.push(bytes)
            } else {
              writer.reserve(4)
              const at = writer.offset
              writer.long(0)
              writer.reserve(size)
              writer.bytes(bytes)
              writer.patchLong(at, size)
              assert.equal(writer.buffer.readUInt32BE(writer.positionOf(at)), size)
              const length = Buffer.alloc(4)
              length.writeUInt32BE(size)
              own.push(length, bytes)
            }
          }
          if (rolledBack) writer.rollback()
          else expected.push(...own)
          if (after.startsWith('take')) {
            out.push(Buffer.concat(writer.take()))
            if (after === 'take and reuse') writer.reuse()
          }
        }
        const waiting = writer.waiting
        const rest = Buffer.concat(writer.take())
        assert.equal(rest.length, waiting)
        assert.ok(Buffer.concat([...out, rest]).equals(Buffer.concat(expected)))
      }),
    )
  })

  it('has a chunk only while bytes wait or are on their way, and then gives it to whichever writer is next', () => {
    const [one, other] = [new Writer(), new Writer()]
    const write = (writer: Writer, octet: number) => {
      writer.begin()
      writer.reserve(1)
      writer.octet(octet)
    }
    assert.equal(one.buffer.length, 0)
    write(one, 1)
    const chunk = one.buffer
    assert.equal(chunk.length, CHUNK_SIZE)
    const onTheirWay = one.take()
    write(other, 2)
    assert.notEqual(other.buffer, chunk)
    one.reuse()
    assert.equal(one.buffer.length, 0)
    assert.deepEqual(Buffer.concat(onTheirWay), Buffer.from([1]))
    write(one, 3)
    assert.equal(one.buffer, chunk)
    one.reuse()
    assert.equal(one.buffer, chunk, 'bytes wait in it')
    assert.deepEqual(Buffer.concat([...one.take(), ...other.take()]), Buffer.from([3, 2]))
  })

  it('keeps a chunk whose bytes were sealed and not yet taken', () => {
    const writer = new Writer()
    const expected: Buffer[] = []
    for (let fill = 1; fill <= 3; fill++) {
      const bytes = Buffer.alloc(30_000, fill)
      expected.push(bytes)
      writer.begin()
      writer.reserve(bytes.length)
      writer.bytes(bytes)
      writer.reuse()
    }
    const other = new Writer()
    other.begin()
    other.reserve(1)
    other.octet(9)
    assert.ok(Buffer.concat(writer.take()).equals(Buffer.concat(expected)))
  })
})
