import { isDeepStrictEqual } from 'node:util'
import {
  BasicAck,
  BasicDeliver,
  ChannelClose,
  decodeTable,
  encodeBody,
  encodeContentHeader,
  encodeFrame,
  encodeHeartbeat,
  encodeMethod,
  encodeProtocolHeader,
  encodeTable,
  type Frame,
  FrameReader,
  FrameType,
  QueueDeclare,
} from '../../../src/codec/index.ts'
import {
  decimal,
  double,
  type FieldTable,
  type FieldValue,
  float,
  int8,
  int16,
  int32,
  int64,
  timestamp,
  uint8,
  uint16,
  uint32,
} from '../../../src/index.ts'
import { HEADERS, PROPERTIES } from '../content.ts'
import type { Errand, Outing } from './errand.ts'

const DECLARE = { queueName: 'orders', durable: true, arguments: { 'x-max-length': 10, nested: { list: [1, 'two'] } } }
const DELIVER = { consumerTag: 'tag', deliveryTag: 2 ** 40 + 1, redelivered: true, exchangeName: 'x', routingKey: 'k' }
const CLOSE = { replyCode: 404, replyText: 'NOT_FOUND', classId: 50, methodId: 10 }
const NOT_GIVEN = { passive: false, exclusive: false, autoDelete: false, noWait: false }
/** A body that takes several frames, and how large these may be. */
const BODY = 'Straße '.repeat(2_000)
const FRAME_MAX = 4_096

/** Frames of all kinds, and what a reader has to say of each. */
function stream(): { readonly bytes: Buffer; readonly says: unknown[] }[] {
  const { length } = Buffer.from(BODY)
  const pieces = Math.ceil(length / (FRAME_MAX - 8))
  return [
    { bytes: encodeProtocolHeader(), says: [['protocol-header', 0, 0, 9, 1]] },
    { bytes: encodeMethod(1, QueueDeclare, DECLARE), says: [['queue.declare', 1, { ...NOT_GIVEN, ...DECLARE }]] },
    { bytes: encodeHeartbeat(), says: [['heartbeat']] },
    { bytes: encodeMethod(65_535, BasicDeliver, DELIVER), says: [['basic.deliver', 65_535, DELIVER]] },
    ...HEADERS.map(([sent, arrives], n) => ({
      bytes: encodeContentHeader(n, 2 ** (7 * n), { ...PROPERTIES, headers: sent }),
      says: [['header', n, 2 ** (7 * n), { ...PROPERTIES, headers: arrives }]],
    })),
    { bytes: encodeContentHeader(2, 0), says: [['header', 2, 0, {}]] },
    { bytes: encodeBody(2, BODY, FRAME_MAX), says: Array.from({ length: pieces }, () => ['body', 2]) },
    { bytes: encodeBody(2, ''), says: [] },
    { bytes: encodeBody(3, Buffer.from([0xce])), says: [['body', 3]] },
    { bytes: encodeFrame(FrameType.HEARTBEAT, 1, Buffer.alloc(0)), says: [['malformed', 1]] },
    { bytes: encodeFrame(FrameType.HEARTBEAT, 0, Buffer.alloc(1)), says: [['malformed', 0]] },
    { bytes: encodeFrame(FrameType.METHOD, 4, Buffer.from([0, 50, 0, 99])), says: [['malformed', 4]] },
    { bytes: encodeFrame(FrameType.HEADER, 5, Buffer.alloc(14)), says: [['malformed', 5]] },
    {
      bytes: encodeMethod(6, BasicAck, { deliveryTag: 0, multiple: true }),
      says: [['basic.ack', 6, { deliveryTag: 0, multiple: true }]],
    },
    { bytes: encodeMethod(7, ChannelClose, CLOSE), says: [['channel.close', 7, CLOSE]] },
  ]
}

/** What a frame says, but for the bytes of a body. */
function said(frame: Frame): unknown[] {
  switch (frame.type) {
    case 'protocol-header':
      return [frame.type, frame.protocolId, frame.major, frame.minor, frame.revision]
    case 'method':
      return [frame.name, frame.channel, { ...frame.args }]
    case 'header': {
      const names = [...Object.keys(PROPERTIES), 'headers'] as const
      const properties = names.flatMap(name => {
        const value = frame.properties[name as 'headers']
        return value === undefined ? [] : [[name, value] as const]
      })
      return [frame.type, frame.channel, frame.bodySize, Object.fromEntries(properties)]
    }
    case 'heartbeat':
      return [frame.type]
    default:
      return [frame.type, frame.channel]
  }
}

/** Frames come out of chunks of any size as they were put in, and nothing of them is in a chunk that is used again. */
function readAll(outing: Outing): void {
  const sent = stream()
  const bytes = Buffer.concat(sent.map(each => each.bytes))
  const should = sent.flatMap(({ says }) => says)
  const reader = new FrameReader({ frameMax: FRAME_MAX })
  const seen: Frame[] = []
  const copies: Buffer[] = []
  let offset = 0
  const most = [1, 9, 700, bytes.length][outing.number % 4] ?? 1
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + Math.floor(outing.clock.random() * most)
    const chunk = Buffer.from(bytes.subarray(at, end))
    for (const frame of reader.push(chunk)) {
      outing.equal(frame.offset, offset, 'the offset of a frame')
      offset += frame.bytes.length
      copies.push(Buffer.from(frame.bytes))
      if (frame.type !== 'header') seen.push(frame)
      // Decoded when it is read first: while its bytes are there.
      else if (said(frame).length > 0) seen.push(frame)
    }
    chunk.fill(0xff)
    at = end
  }
  outing.equal(reader.offset, bytes.length, 'bytes that were read as frames')
  outing.expect(Buffer.concat(copies).equals(bytes), 'the bytes of all frames are not those of the stream')
  const wrong = seen.findIndex((frame, n) => !isDeepStrictEqual(said(frame), should[n]))
  outing.equal([seen.length, wrong], [should.length, -1], 'frames, and the first that is another one')
  const bodies = copies.filter((_, n) => seen[n]?.type === 'body').map(copy => copy.subarray(7, -1))
  outing.equal(Buffer.concat(bodies.slice(0, -1)).toString(), BODY, 'a body in pieces')
}

/** Bytes that are not a frame end the reader there, for good; what may not be written is refused. */
export const codec: Errand = async outing => {
  readAll(outing)
  const good = encodeMethod(1, QueueDeclare, DECLARE)
  const wrongEnd = Buffer.from(good)
  wrongEnd[good.length - 1] = 0xcd
  const broken: readonly (readonly [string, Buffer])[] = [
    ['a type that there is not', encodeFrame(9, 0, Buffer.alloc(1))],
    ['another end', wrongEnd],
    ['a frame that is too large', encodeBody(1, Buffer.alloc(FRAME_MAX - 7))],
  ]
  for (const [what, bytes] of broken) {
    const reader = new FrameReader({ frameMax: FRAME_MAX })
    const read: string[] = []
    const ends: unknown[] = []
    for (let n = 0; n < 2; n++) {
      try {
        for (const { type } of reader.push(
          Buffer.concat([good, encodeBody(1, Buffer.alloc(FRAME_MAX - 8)), bytes, good]),
        ))
          read.push(type)
      } catch (error) {
        const { name, offset } = error as Error & { offset?: number }
        ends.push(`${name} at ${offset}`)
      }
    }
    const at = `FrameError at ${good.length + FRAME_MAX}`
    outing.equal(
      [read, ends],
      [
        ['method', 'body'],
        [at, at],
      ],
      `what a reader has of ${what}`,
    )
  }
  const refused: readonly (() => unknown)[] = [
    () => encodeMethod(65_536, QueueDeclare, DECLARE),
    () => encodeMethod(-1, QueueDeclare, DECLARE),
    () => encodeMethod(1, QueueDeclare, DECLARE, good.length - 1),
    () => encodeMethod(1, QueueDeclare, { queueName: 'x'.repeat(256) }),
    () => encodeContentHeader(1, -1),
    () => encodeContentHeader(1, 1, { headers: { text: 'x'.repeat(FRAME_MAX) } }, FRAME_MAX),
    () => encodeContentHeader(1, 1, 'text' as never),
    () => encodeBody(1, '\ud800'),
    () => encodeBody(1, 5 as never),
    () => encodeBody(1, 'x', 8),
    () => encodeFrame(256, 0, Buffer.alloc(0)),
    () => encodeTable({ call: (() => {}) as never }),
    () => decodeTable('text' as never),
    () => new FrameReader({ frameMax: -1 }),
    () => new FrameReader({ frames: 1 } as never),
    () => new FrameReader().push('text' as never),
  ]
  for (const call of refused) {
    let name = 'success'
    try {
      call()
    } catch (error) {
      name = (error as Error).name
    }
    outing.equal(name, 'EncodeError', `how ${call} ended`)
  }
  outing.equal(encodeMethod(1, QueueDeclare, DECLARE, good.length).length, good.length, 'a frame of the size agreed')
  for (const [sent, arrives] of HEADERS) {
    const table = encodeTable(sent)
    outing.expect(
      isDeepStrictEqual({ ...decodeTable(table) }, arrives),
      `a table of ${Object.keys(sent)} is another one`,
    )
    for (const bytes of [table.subarray(0, -1), Buffer.concat([table, Buffer.alloc(1)])]) {
      let name = 'success'
      try {
        decodeTable(bytes)
      } catch (error) {
        name = (error as Error).name
      }
      outing.equal(name, 'FrameError', `a table of ${table.length} bytes in ${bytes.length}`)
    }
  }
}

/** What makes a number of a type, the least and the most that it takes. */
const RANGES: readonly (readonly [
  make: (value: never) => FieldValue,
  least: number | bigint,
  most: number | bigint,
])[] = [
  [int8, -128, 127],
  [uint8, 0, 255],
  [int16, -32_768, 32_767],
  [uint16, 0, 65_535],
  [int32, -2_147_483_648, 2_147_483_647],
  [uint32, 0, 4_294_967_295],
  [int64, -(2n ** 63n), 2n ** 63n - 1n],
  [timestamp, 0n, 2n ** 64n - 1n],
  [value => decimal(value, 255), -2_147_483_648, 2_147_483_647],
  [value => decimal(5, value), 0, 255],
  [value => timestamp(new Date(1_000 * value)), 0, 8_640_000_000_000],
  [value => value, -(2n ** 63n), 2n ** 63n - 1n],
]

/** A table in as many tables as that. */
const deep = (depth: number): FieldTable => (depth === 1 ? {} : { in: deep(depth - 1) })

/** Other values that a table cannot have. */
const NO_VALUES: readonly (() => unknown)[] = [
  ...[int8, uint8, int16, uint16, int32, uint32, int64, timestamp, float, double].flatMap(make => [
    () => make('5' as never),
    () => make(Number.NaN),
  ]),
  () => int8(1.5),
  () => uint32(0.5),
  () => int64(2 ** 53),
  () => timestamp(0.5),
  () => timestamp(new Date(Number.NaN)),
  () => float(3.5e38),
  () => double(Number.POSITIVE_INFINITY),
  () => Number.NaN,
  () => Number.NEGATIVE_INFINITY,
  () => new Date(-1_000),
  () => new Date(Number.NaN),
  () => Symbol('x'),
  () => /x/,
  () => '\ud800',
  () => [undefined],
  () => ({ ['x'.repeat(256)]: 1 }),
  () => new Map([[5, 1]]),
  () => deep(64),
  // As another library has it.
  () => ({ '!': 'int8', value: 5 }),
]

/** Numbers in the range of their type, and no others, are written, and come back as they were. */
export const values: Errand = async outing => {
  const written = (make: () => unknown): string => {
    let table: Buffer
    try {
      table = encodeTable({ value: make() as FieldValue })
    } catch (error) {
      return (error as Error).name
    }
    return encodeTable(decodeTable(table)).equals(table) ? 'written' : 'changed'
  }
  for (const [n, [make, least, most]] of RANGES.entries()) {
    const past = (end: number | bigint, by: 1 | -1): number | bigint =>
      typeof end === 'bigint' ? end + BigInt(by) : end + by
    const ends = [least, most, past(least, -1), past(most, 1)].map(value => written(() => make(value as never)))
    outing.equal(ends, ['written', 'written', 'EncodeError', 'EncodeError'], `the ends of range ${n}`)
  }
  for (const make of NO_VALUES) outing.equal(written(make), 'EncodeError', `how ${make} ended`)
  outing.equal(
    written(() => deep(63)),
    'written',
    'a table that is deep',
  )
}
