import type { ClientName } from './clients/client.ts'
import { CLIENTS, fullName, type Row } from './rows.ts'
import { type RoundResult, runOnce, type Surroundings } from './run-row.ts'
import { type Spread, spread } from './statistics.ts'

export type Figure = keyof RoundResult
export type Figures = { readonly [figure in Figure]?: Spread }

/** What was measured of one client at one row. */
export interface Cell {
  readonly client: ClientName
  readonly figures: Figures
  readonly failure?: string
}

export interface RowResult {
  readonly row: Row
  readonly cells: readonly Cell[]
}

export interface Plan {
  readonly rows: readonly Row[]
  readonly clients: readonly ClientName[] | undefined
  readonly rounds: number
  /** No round is begun that would end later, in minutes from the start. */
  readonly minutes: number
  readonly countWrites: boolean
}

export type Progress = (done: number, all: number, what: string) => void

const clientsOf = (row: Row, chosen: readonly ClientName[] | undefined): readonly ClientName[] => {
  if (chosen === undefined) return row.clients
  return chosen.filter(name => row.clients.includes(name) || CLIENTS.includes(name))
}

const COUNTED = ['publish', 'confirm', 'consume', 'call', 'burst']
const countsWrites = (row: Row): boolean =>
  (row.section === 'messages' && COUNTED.includes(row.work)) || row.work === 'burst'

/** What came of one row so far. */
class RowRun {
  readonly row: Row
  readonly clients: readonly ClientName[]
  readonly #results = new Map<ClientName, RoundResult[]>()
  readonly #failures = new Map<ClientName, string>()

  constructor(row: Row, clients: readonly ClientName[]) {
    this.row = row
    this.clients = clients
  }

  async attempt(client: ClientName, surroundings: Surroundings, countWrites: boolean): Promise<void> {
    if (this.#failures.has(client)) return
    try {
      const result = await runOnce(this.row, client, surroundings, countWrites)
      this.#results.set(client, [...(this.#results.get(client) ?? []), result])
    } catch (error) {
      this.#failures.set(client, error instanceof Error ? error.message : String(error))
    }
  }

  get result(): RowResult {
    const cells = this.clients.map(name => cellOf(name, this.#results.get(name) ?? [], this.#failures.get(name)))
    return { row: this.row, cells }
  }
}

export interface AllResults {
  readonly results: readonly RowResult[]
  /** Those that there was time for. */
  readonly rounds: number
}

/** Runs every row with every client, round by round, the clients by turns and another one first in each round. */
export async function runAll(plan: Plan, surroundings: Surroundings, progress: Progress): Promise<AllResults> {
  const runs = plan.rows.map(row => new RowRun(row, clientsOf(row, plan.clients)))
  // What is held and loaded is the same each time.
  const inRound = (round: number): RowRun[] => runs.filter(({ row }) => round === 0 || row.section !== 'memory')
  const cells = (some: readonly RowRun[]): number => some.reduce((sum, { clients }) => sum + clients.length, 0)
  let all = 0
  for (let round = 0; round < plan.rounds; round += 1) all += cells(inRound(round))
  let done = 0
  let rounds = 0
  const start = performance.now()
  for (let round = 0; round < plan.rounds; round += 1) {
    const spent = (performance.now() - start) / 60_000
    if (round > 0 && spent + spent / round > plan.minutes) break
    for (const run of inRound(round)) {
      const { row, clients } = run
      for (const [place] of clients.entries()) {
        const client = clients[(place + round) % clients.length]
        if (client === undefined) continue
        progress(done, all, `${fullName(row)} · ${client} · round ${round + 1} of ${plan.rounds}`)
        await run.attempt(client, surroundings, false)
        if (round === 0 && plan.countWrites && countsWrites(row)) await run.attempt(client, surroundings, true)
        done += 1
      }
    }
    rounds += 1
  }
  progress(all, all, 'done')
  return { results: runs.map(run => run.result), rounds }
}

function cellOf(client: ClientName, rounds: readonly RoundResult[], failure: string | undefined): Cell {
  // The run that counts writes has no times: its memory is not that of the others.
  const timed = rounds.filter(each => each.writesPerThousand === undefined)
  const counted = rounds.filter(each => each.writesPerThousand !== undefined)
  const figures: { [figure in Figure]?: Spread } = {}
  for (const [results, names] of [
    [timed, new Set(timed.flatMap(each => Object.keys(each)))],
    [counted, new Set(['writesPerThousand'])],
  ] as const) {
    for (const name of names) {
      const figure = name as Figure
      const values = results.map(each => each[figure]).filter(value => value !== undefined)
      if (values.length > 0) figures[figure] = spread(values)
    }
  }
  return failure === undefined ? { client, figures } : { client, figures, failure }
}

/** The CPU of the best client that is neither the floor nor this project's. */
export function bestPeer(result: RowResult): number | undefined {
  const values = result.cells
    .filter(cell => !['floor', 'prototype', 'asyncamqp', 'intent level'].includes(cell.client))
    .map(cell => cell.figures.cpuMicros?.median)
    .filter(value => value !== undefined)
  return values.length > 0 ? Math.min(...values) : undefined
}

export const cpuOf = (client: ClientName, result: RowResult): number | undefined =>
  result.cells.find(cell => cell.client === client)?.figures.cpuMicros?.median
