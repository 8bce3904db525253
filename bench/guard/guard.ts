/**
 * Fails when the hot path has become about twice as dear as it was. CPU is compared with the floor and a fixed piece of
 * work in the same run, so that the machine's speed and its other guests cancel out.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Peer } from '../processes.ts'
import { ROWS, type Row } from '../rows.ts'
import { runOnce, type Surroundings } from '../run-row.ts'

const FLOOR_ROUNDS = 3
const ROUNDS = 5
const BUDGET = { cpu: 120, wall: 400 }

interface Limits {
  /** How much above its recorded ratio a row may come. */
  readonly room: number
  /** CPU of a message in multiples of the floor's and the yardstick's together, as last recorded. */
  readonly ratios: { readonly [row: string]: number }
}

/** The guard: true when all rows are within their limits. */
export async function guard(args: readonly string[], root: string): Promise<boolean> {
  const { values } = parseArgs({
    args: [...args],
    options: { 'self-test': { type: 'boolean', default: false }, record: { type: 'boolean', default: false } },
  })
  const path = join(root, 'bench', 'guard', 'limits.json')
  const limits: Limits = JSON.parse(readFileSync(path, 'utf8'))
  const peer = await Peer.start()
  try {
    const ratios = await measureAll(peer, limits, 1)
    if (values.record) {
      const rounded = Object.fromEntries([...ratios].map(([row, ratio]) => [row, Number(ratio.toFixed(2))]))
      writeFileSync(path, `${JSON.stringify({ ...limits, ratios: rounded }, null, 2)}\n`)
      return true
    }
    const tooDear = exceeding(ratios, limits)
    if (tooDear.length > 0) console.log(`Too dear: ${tooDear.join('; ')}.`)
    if (!values['self-test']) return tooDear.length === 0
    console.log('Self-test: every operation is now done twice for each that is counted.')
    const caught = exceeding(await measureAll(peer, limits, 2), limits)
    const missed = ratios.size - caught.length
    console.log(missed === 0 ? 'The guard fails in every row, as it should.' : `The guard missed ${missed} rows.`)
    return tooDear.length === 0 && missed === 0
  } finally {
    peer.stop()
  }
}

const exceeding = (ratios: ReadonlyMap<string, number>, { room, ratios: recorded }: Limits): string[] =>
  [...ratios].filter(([row, ratio]) => ratio > (recorded[row] ?? 0) * room).map(([row]) => row)

/** What one row came to in all rounds; other guests of the machine only ever add to it, so the least counts. */
interface Least {
  floor: number
  cpu: number
  yardstick: number
}

async function measureAll(peer: Peer, limits: Limits, handicap: number): Promise<Map<string, number>> {
  const surroundings = { peer, brokerUrl: undefined, budget: BUDGET, waiting: 0, handicap, yardstick: true }
  const rows = ROWS.filter(({ name, section }) => section === 'messages' && name in limits.ratios)
  const least = new Map<Row, Least>(rows.map(row => [row, { floor: Infinity, cpu: Infinity, yardstick: Infinity }]))
  // Round by round through all rows: a busy moment of the machine then meets each row once, not one row in all rounds.
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [row, figures] of least) await measureRow(row, figures, surroundings, round < FLOOR_ROUNDS)
  }
  const ratios = new Map<string, number>()
  for (const [row, { floor, cpu, yardstick }] of least) {
    const ratio = cpu / (floor + yardstick)
    ratios.set(row.name, ratio)
    const limit = (limits.ratios[row.name] ?? 0) * limits.room
    console.log(`${row.name.padEnd(38)} ${ratio.toFixed(2).padStart(6)}  limit ${limit.toFixed(2)}`)
  }
  return ratios
}

async function measureRow(row: Row, least: Least, surroundings: Surroundings, withFloor: boolean): Promise<void> {
  if (withFloor) {
    const { cpuMicros = Infinity } = await runOnce(row, 'floor', { ...surroundings, handicap: 1 })
    least.floor = Math.min(least.floor, cpuMicros)
  }
  const { cpuMicros = Infinity, yardstickMicros = Infinity } = await runOnce(row, 'asyncamqp', surroundings)
  least.cpu = Math.min(least.cpu, cpuMicros)
  least.yardstick = Math.min(least.yardstick, yardstickMicros)
}
