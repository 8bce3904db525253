import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import vm from 'node:vm'
import fc from 'fast-check'
import { EncodeError } from '../../src/errors.ts'
import { writeSettlement } from '../../src/protocol/basic-codec.ts'
import { encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import type { BasicProperties } from '../../src/protocol/properties.ts'
import { PublishEncoder } from '../../src/protocol/publish-encoder.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { CHUNK_SIZE, Writer } from '../../src/protocol/writer.ts'

const FRAME_MAX = 131_072
const MIB = 1024 * 1024

interface Sender {
  readonly writer: Writer
  readonly encoder: PublishEncoder
  send(properties: unknown, payload?: unknown): boolean
}

function sender(used = 0): Sender {
  const writer = new Writer()
  const encoder = new PublishEncoder(writer, FRAME_MAX)
  writer.begin()
  writer.reserve(1)
  writer.position = used
  writer.begin()
  return {
    writer,
    encoder,
    send: (properties, payload = 'body') =>
      encoder.publish(1, 'e', 'k', false, properties as BasicProperties, payload as string),
  }
}

/** What is on the wire after `used` bytes that were there before. */
function sent({ writer }: Sender, used = 0): Buffer {
  return Buffer.concat(writer.take()).subarray(used)
}

/** Encodes the same as a message of `plain`, and calls `run` in the middle. */
const places: Readonly<Record<string, (run: () => void) => unknown>> = {
  'a getter of a property': run => ({
    get messageId() {
      run()
      return 'm'
    },
    headers: { a: 1 },
  }),
  'a getter of a header': run => ({
    messageId: 'm',
    headers: {
      get a() {
        run()
        return 1
      },
    },
  }),
  'a getter far inside': run => ({
    messageId: 'm',
    headers: {
      a: {
        list: [
          {
            get b() {
              run()
              return 'x'
            },
          },
        ],
      },
    },
  }),
  'an iterator of a Map': run => ({
    messageId: 'm',
    headers: new (class extends Map<string, number> {
      override [Symbol.iterator](): MapIterator<[string, number]> {
        run()
        return super[Symbol.iterator]()
      }
    })([['a', 1]]),
  }),
  'a proxy': run => ({
    messageId: 'm',
    headers: new Proxy({ a: 1 } as Record<string, number>, {
      get(target, name) {
        run()
        return target[String(name)]
      },
    }),
  }),
  'a Date of its own': run => ({
    messageId: 'm',
    timestamp: new (class extends Date {
      override getTime(): number {
        run()
        return super.getTime()
      }
    })(5_000),
  }),
}

describe('bytes that give another length than they have', () => {
  it('go as they are: in a body, in headers and as an argument', () => {
    class Odd extends Uint8Array {
      override get length(): number {
        return this.at(0) ?? 0
      }
    }
    for (const given of [0, 2, 100]) {
      const [odd, plain] = [Odd, Uint8Array].map(made => made.from([given, 2, 3, 4, 5]))
      const wrote = (bytes: Uint8Array | undefined): Buffer => {
        const to = sender()
        to.send({ headers: { bytes, list: [bytes] } }, bytes)
        encodeMethod(to.writer, 0, methods.ConnectionSecureOk, { response: bytes ?? '' })
        return sent(to)
      }
      assert.deepStrictEqual(wrote(odd), wrote(plain))
    }
  })
})

describe('code of the program that runs while a message is encoded', () => {
  for (const [where, make] of Object.entries(places)) {
    it(`may not send anything, and the message goes whole: ${where}`, () => {
      const others: readonly ((to: Sender) => void)[] = [
        to => to.send(undefined),
        to => to.send({ messageId: 'inner' }),
        to => to.send(undefined, Buffer.alloc(40_000)),
        to => writeSettlement(to.writer, 1, 0x003c0050, 7, 0),
        to => encodeMethod(to.writer, 1, methods.QueueDeclare, { queueName: 'q' }),
      ]
      const wanted = sender()
      wanted.send(make(() => {}))
      const expected = sent(wanted)
      for (const other of others) {
        for (const used of [0, CHUNK_SIZE - 3_600, CHUNK_SIZE - 10]) {
          const to = sender(used)
          const errors: unknown[] = []
          to.send(
            make(() => {
              try {
                other(to)
              } catch (error) {
                errors.push(error)
              }
            }),
          )
          assert.ok(errors.length > 0 && errors.every(error => error instanceof EncodeError))
          // The program may also have the connection flushed.
          assert.deepStrictEqual(sent(to, used), expected)
          to.send({ messageId: 'next' })
          const next = sender()
          next.send({ messageId: 'next' })
          assert.deepStrictEqual(sent(to), sent(next))
        }
      }
    })

    it(`may have what waits leave, and the message stays whole: ${where}`, () => {
      const wanted = sender()
      wanted.send({ appId: 'first' })
      wanted.send(make(() => {}))
      const to = sender()
      to.send({ appId: 'first' })
      const out: Uint8Array[] = []
      to.send(
        make(() => {
          const { waiting } = to.writer
          const taken = to.writer.take()
          assert.equal(Buffer.concat(taken).length, waiting)
          assert.equal(to.writer.waiting, 0)
          out.push(...taken)
          to.writer.reuse()
        }),
      )
      assert.deepStrictEqual(Buffer.concat([...out, ...to.writer.take()]), sent(wanted))
    })

    it(`may throw anything, which is an EncodeError and leaves nothing behind: ${where}`, () => {
      const thrown: readonly unknown[] = [
        new Error('mine'),
        'text',
        null,
        undefined,
        Object.create(null),
        { message: Symbol('s') },
        vm.runInNewContext('new Error("of another realm")'),
        new Proxy(
          {},
          {
            has() {
              throw new Error('hostile')
            },
          },
        ),
      ]
      const to = sender()
      to.send({ messageId: 'before' })
      for (const error of thrown) {
        assert.throws(
          () =>
            to.send(
              make(() => {
                throw error
              }),
            ),
          EncodeError,
        )
      }
      to.send({ messageId: 'after' })
      const wanted = sender()
      wanted.send({ messageId: 'before' })
      wanted.send({ messageId: 'after' })
      assert.deepStrictEqual(sent(to), sent(wanted))
    })
  }

  it('is refused inside the check of a message, too', () => {
    const to = sender()
    const errors: unknown[] = []
    const headers: FieldTable = {
      get a() {
        try {
          to.encoder.check('e', 'k', false, { headers: { b: 2 } }, 'x')
        } catch (error) {
          errors.push(error)
        }
        return 1
      },
    }
    to.encoder.check('e', 'k', false, { headers }, 'x')
    assert.ok(errors.length > 0 && errors.every(error => error instanceof EncodeError))
    to.encoder.check('e', 'k', false, { headers: { b: 2 } }, 'x')
    assert.equal(to.writer.waiting, 0)
  })

  it('does not change what an error calls the place', () => {
    const one = sender()
    const other = sender()
    const headers: FieldTable = {
      get a() {
        other.send({ headers: { x: { y: 1 } } })
        return Number.NaN
      },
    }
    assert.throws(() => one.send({ headers }), /properties\.headers\.a is NaN/)
  })

  it('may give away the memory of the payload, which is refused', () => {
    for (const size of [10, 20_000]) {
      const to = sender()
      const payload = new Uint8Array(size)
      const properties = {
        get messageId() {
          structuredClone(payload, { transfer: [payload.buffer] })
          return 'm'
        },
      }
      assert.throws(() => to.send(properties, payload), /memory of payload was transferred away/)
      assert.throws(() => to.send(undefined, payload), /memory of payload was transferred away/)
      assert.throws(() => to.encoder.check('e', 'k', false, undefined, payload), /transferred away/)
      assert.equal(to.writer.waiting, 0)
      to.send(undefined, new Uint8Array(0))
    }
  })
})

describe('bytes of another realm', () => {
  const foreign = (script: string): unknown => vm.runInNewContext(script)

  it('are a payload, short or long', () => {
    for (const size of [0, 3, 20_000]) {
      const to = sender()
      const wanted = sender()
      to.send(undefined, foreign(`new Uint8Array(${size}).fill(7)`))
      to.send(undefined, foreign(`new Uint8Array(${size}).fill(7)`))
      wanted.send(undefined, Buffer.alloc(size, 7))
      wanted.send(undefined, Buffer.alloc(size, 7))
      assert.deepStrictEqual(sent(to), sent(wanted))
    }
  })

  it('are a header, as are its dates, maps, arrays and objects', () => {
    const to = sender()
    const wanted = sender()
    to.send(
      foreign(
        '({ timestamp: new Date(5000), headers: { a: new Uint8Array([1]), b: new Date(5000), c: new Map([["d", 1]]), e: [{}] } })',
      ),
    )
    const headers = { a: new Uint8Array([1]), b: new Date(5_000), c: new Map([['d', 1]]), e: [{}] }
    wanted.send({ timestamp: new Date(5_000), headers })
    assert.deepStrictEqual(sent(to), sent(wanted))
  })

  it('are an argument of a method', () => {
    const encode = (response: unknown): Buffer =>
      Writer.encode(writer => encodeMethod(writer, 0, methods.ConnectionSecureOk, { response: response as Uint8Array }))
    assert.deepStrictEqual(encode(foreign('new Uint8Array([1, 2])')), encode(Buffer.from([1, 2])))
  })

  it('are not a payload if they only look like it', () => {
    const to = sender()
    to.send(undefined, Buffer.from('x'))
    const fakes: readonly unknown[] = [
      Object.create(Uint8Array.prototype),
      new Proxy(new Uint8Array(2), {}),
      new Float64Array(1),
      new DataView(new ArrayBuffer(1)),
      new ArrayBuffer(1),
    ]
    for (const fake of fakes) assert.throws(() => to.send(undefined, fake), EncodeError)
    sent(to)
    assert.equal(to.writer.waiting, 0)
  })
})

describe('the memory of a message that is refused', () => {
  it('is given back, and never more than a frame is taken of what does not fit in one', () => {
    const text = 'x'.repeat(50 * MIB)
    const bad: readonly unknown[] = [
      { headers: { text } },
      { headers: { bytes: Buffer.alloc(50 * MIB) } },
      { headers: Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`header-${i}`, 'v'.repeat(100)])) },
      { headers: { list: Array.from({ length: 100_000 }, () => 'v'.repeat(100)) } },
    ]
    for (const properties of bad) {
      const to = sender()
      to.send({ messageId: 'before' })
      const before = process.memoryUsage().arrayBuffers
      assert.throws(() => to.send(properties), /basic\.publish: .* do not fit in one frame/)
      assert.throws(
        () => to.encoder.check('e', 'k', false, properties as BasicProperties, 'x'),
        /do not fit in one frame/,
      )
      assert.ok(process.memoryUsage().arrayBuffers - before < 2 * MIB)
      assert.ok(to.writer.buffer.length <= CHUNK_SIZE)
      to.send({ messageId: 'after' })
      const wanted = sender()
      wanted.send({ messageId: 'before' })
      wanted.send({ messageId: 'after' })
      assert.deepStrictEqual(sent(to), sent(wanted))
    }
  })

  it('is given back after a message larger than a chunk has left, too', () => {
    const to = sender()
    to.send({ headers: { text: 'x'.repeat(100_000) } })
    assert.ok(to.writer.buffer.length > CHUNK_SIZE)
    to.writer.take()
    to.writer.reuse()
    assert.equal(to.writer.buffer.length, 0)
  })

  it('is bounded for the arguments of a method', () => {
    const writer = new Writer()
    const before = process.memoryUsage().arrayBuffers
    const declare = { arguments: { text: 'x'.repeat(50 * MIB) } }
    assert.throws(() => encodeMethod(writer, 1, methods.QueueDeclare, declare, FRAME_MAX), /queue\.declare/)
    assert.ok(process.memoryUsage().arrayBuffers - before < 2 * MIB)
    assert.equal(writer.buffer.length, CHUNK_SIZE)
  })
})

describe('a message at any place of a chunk', () => {
  it('has the bytes that it has elsewhere, whatever its fields and their lengths', () => {
    // Around the lengths at which another way of writing begins, ASCII or not, to the last unit.
    const length = fc.oneof(
      ...[0, 1, 63, 64, 65, 84, 85, 86, 127, 128, 129, 255].map(around => fc.nat(2).map(more => around + more)),
      fc.nat(2_100),
    )
    const long = fc
      .tuple(length, fc.constantFrom('', 'é', '€', '😀', 'éx', '€x', '😀x'))
      .map(([size, end]) => 'a'.repeat(Math.max(0, size - end.length)) + end)
    const short = long.map(value => value.slice(0, 80)).filter(value => value.isWellFormed())
    const value = fc.oneof(
      long,
      fc.boolean(),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.constant(null),
      fc.constant(new Date(5_000)),
      long.map(text => Buffer.from(text)),
      fc.array(long, { maxLength: 3 }),
      fc.dictionary(short, long, { maxKeys: 3, noNullPrototype: true }),
    )
    const name = fc.oneof(fc.string({ maxLength: 3 }), fc.constantFrom('n'.repeat(126), `${'n'.repeat(125)}é`), short)
    const properties = fc.record(
      {
        contentType: short,
        headers: fc.dictionary(name, value, { maxKeys: 5, noNullPrototype: true }),
        messageId: short,
        clusterId: short,
      },
      { requiredKeys: ['headers'] },
    )
    fc.assert(
      fc.property(properties, fc.nat(), (given, seed) => {
        const wanted = sender()
        wanted.send(given)
        const expected = sent(wanted)
        // All places would take too long: only some at which the end of a chunk may matter.
        const most = expected.length + 4_000
        for (let i = 0; i < 25; i++) {
          const used = CHUNK_SIZE - ((seed + i * 7_919) % most)
          const to = sender(used)
          to.send(given)
          assert.ok(sent(to, used).equals(expected), `${CHUNK_SIZE - used} bytes before the end`)
        }
      }),
      { numRuns: 300 },
    )
  })

  it('has them at every single place, with texts that are not ASCII at their end', () => {
    const headers = { ['n'.repeat(128)]: `${'a'.repeat(126)}éx`, [`${'n'.repeat(80)}€`]: `${'a'.repeat(60)}😀` }
    const wanted = sender()
    wanted.send({ headers })
    const expected = sent(wanted)
    for (let room = 0; room < expected.length + 4_500; room++) {
      const to = sender(CHUNK_SIZE - room)
      to.send({ headers })
      assert.ok(sent(to, CHUNK_SIZE - room).equals(expected), `${room} bytes before the end`)
    }
  })
})
