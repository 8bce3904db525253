import { decodeTable, encodeTable } from '../../../src/codec/index.ts'
import {
  decimal,
  double,
  type FieldTable,
  float,
  int8,
  int16,
  int64,
  uint8,
  uint16,
  uint32,
} from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

const [L, SPEC_L] = [0x6c, 0x4c]

/** The same with the octet `L` for 64 bits, as other clients write it: no name or text of it has an "l". */
function asOthersWriteIt(table: FieldTable): FieldTable {
  return decodeTable(encodeTable(table).map(octet => (octet === L ? SPEC_L : octet)))
}

const OF_ALL_TYPES = {
  a: [int8(-5), uint8(250), int16(-300), uint16(65_000), uint32(4_000_000_000), float(1.5), double(0.1), 0.5],
  b: { text: 'x', bytes: Buffer.from('bytes'), yes: true, none: null, date: new Date(1_600_000_000_000), in: {} },
  c: { costs: decimal(314, 2), much: { more: [1, 'two', [3.5, null]] }, n: int64(5) },
}

/** Arguments of bindings: a broker compares their types, `l` and `L` as one, in any order of the names, but inside a value in theirs. */
const TABLES: readonly FieldTable[] = [
  {},
  { n: 1 },
  { n: int64(1) },
  asOthersWriteIt({ n: int64(1) }),
  { n: int16(1) },
  { n: '1' },
  { n: Buffer.from('1') },
  { n: 1, m: 'x' },
  { m: 'x', n: 1 },
  { in: { n: 1, m: 'x' } },
  { in: { m: 'x', n: 1 } },
  { in: { n: int64(1), row: [int64(1), { n: int64(1) }], z: int64(1) } },
  asOthersWriteIt({ in: { n: int64(1), row: [int64(1), { n: int64(1) }], z: int64(1) } }),
  { in: { n: int64(1), row: [int64(1), { n: int64(1) }], z: 1 } },
  { row: [int64(1), 2] },
  asOthersWriteIt({ row: [int64(1), 2] }),
  { row: [2, int64(1)] },
  OF_ALL_TYPES,
  { ...OF_ALL_TYPES, a: [...OF_ALL_TYPES.a, 1] },
]
/** Runs that have all pairs. */
const PARTS = 5

/** Of two bindings with arguments that are alike, or nearly so, a recovery makes those that there were. */
export const alikeBindings: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const channel = await protocol.channel()
  await channel.queueDeclare('bound', { exclusive: true })
  const done: Promise<unknown>[] = []
  for (const [n, one] of TABLES.entries()) {
    for (const [m, other] of TABLES.entries()) {
      if ((n + m) % PARTS !== outing.number % PARTS) continue
      done.push(channel.queueBind('bound', 'amq.direct', `undone ${n} ${m}`, { arguments: one }))
      done.push(channel.queueUnbind('bound', 'amq.direct', `undone ${n} ${m}`, { arguments: other }))
      if (n >= m) continue
      for (const table of [one, other])
        done.push(channel.queueBind('bound', 'amq.direct', `both ${n} ${m}`, { arguments: table }))
    }
  }
  await Promise.all(done)
  const picture = (): string[] =>
    [...control.evidence().entities]
      .map(([what, look]) => `${what}: ${look}`)
      .filter(line => line.startsWith('binding'))
  const before = picture().sort()
  await lose(outing, own)
  await outing.sleep(50)
  const after = picture().sort()
  outing.equal(after.length, before.length, 'bindings after a loss')
  outing.equal(
    [before.filter(each => !after.includes(each)), after.filter(each => !before.includes(each))],
    [[], []],
    'bindings that were lost, and those that were undone and are there',
  )
}
