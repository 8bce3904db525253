/**
 * Fails when a row of the hot path has become half as dear again. The time of a message is compared with that of a prototype,
 * which does the same by turns in the same process, both without sockets; the bytes that it allocates are counted.
 */
import { ours, type Program, prototypes } from './programs.ts'
import { type GuardedRow, ROOM, ROWS } from './rows.ts'

/** Slices of a row, and at most if the row is above its limit: what disturbs a slice only ever adds to it. */
const SLICES = 400
const MOST_SLICES = 2000
/** Until the compiler has done its work. */
const WARM_UP_SLICES = 400
const COUNTED_SLICES = 20

/** One of the two that do a row by turns. */
class Contender {
  readonly #program: Program
  least = Number.POSITIVE_INFINITY

  constructor(program: Program) {
    this.#program = program
  }

  async slice(): Promise<void> {
    this.#program.prepare()
    const start = performance.now()
    await this.#program.run()
    this.least = Math.min(this.least, performance.now() - start)
  }

  /** The least that a slice allocates; a slice in which garbage was collected says nothing. */
  async bytes(): Promise<number> {
    let least = Number.POSITIVE_INFINITY
    for (let slices = 0; slices < COUNTED_SLICES; slices += 1) {
      this.#program.prepare()
      const before = process.memoryUsage().heapUsed
      await this.#program.run()
      const grown = process.memoryUsage().heapUsed - before
      if (grown > 0) least = Math.min(least, grown)
    }
    return least
  }
}

class Duel {
  readonly row: GuardedRow
  readonly ours: Contender
  readonly prototype: Contender

  private constructor(row: GuardedRow, mine: Program, prototype: Program) {
    this.row = row
    this.ours = new Contender(mine)
    this.prototype = new Contender(prototype)
  }

  static async open(row: GuardedRow, handicap: number): Promise<Duel> {
    const mine = await ours[row.ours](Math.round(row.count * handicap))
    return new Duel(row, mine, await prototypes[row.prototype](row.count))
  }

  async slice(): Promise<void> {
    await this.ours.slice()
    await this.prototype.slice()
  }

  warm(): void {
    this.ours.least = Number.POSITIVE_INFINITY
    this.prototype.least = Number.POSITIVE_INFINITY
  }

  get times(): number {
    return this.ours.least / this.prototype.least
  }

  get isSlow(): boolean {
    return this.times > this.row.times * ROOM
  }

  /** Prints what it found. Returns whether that is within the limits. */
  async verdict(): Promise<boolean> {
    const { name, times, bytes, count } = this.row
    const limits = { times: times * ROOM, bytes: bytes * ROOM }
    const found = { times: this.times, bytes: (await this.ours.bytes()) / count }
    const parts = [
      `${found.times.toFixed(2)} prototypes, of at most ${limits.times.toFixed(2)}`,
      `${found.bytes.toFixed(0)} bytes, of at most ${limits.bytes.toFixed(0)}`,
    ]
    if (this.isSlow) parts.push('TOO SLOW')
    if (found.bytes > limits.bytes) parts.push('ALLOCATES TOO MUCH')
    console.log([name.padEnd(22), parts.join('; ')].join(' '))
    return !this.isSlow && found.bytes <= limits.bytes
  }
}

/**
 * The guard of `names`, or of all rows, in a process of its own, since compilers choose once in a process. Returns the rows that
 * fail. With a `handicap` of 1.5, three of our messages are counted as two in the row `handicapped`, or in all.
 */
export async function guard(names: readonly string[], handicap: number, handicapped?: string): Promise<string[]> {
  const duels: Duel[] = []
  for (const row of ROWS) {
    if (names.length > 0 && !names.includes(row.name)) continue
    duels.push(await Duel.open(row, handicapped === undefined || handicapped === row.name ? handicap : 1))
  }
  // All rows by turns, too: each has slices in every quiet moment of the machine.
  for (let slices = 0; slices < WARM_UP_SLICES; slices += 1) for (const duel of duels) await duel.slice()
  for (const duel of duels) duel.warm()
  for (let slices = 0; slices < SLICES; slices += 1) for (const duel of duels) await duel.slice()
  for (let slices = SLICES; slices < MOST_SLICES && duels.some(duel => duel.isSlow); slices += 1) {
    for (const duel of duels) if (duel.isSlow) await duel.slice()
  }
  const failed: string[] = []
  for (const duel of duels) if (!(await duel.verdict())) failed.push(duel.row.name)
  return failed
}
