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
  readonly countWrites: boolean
}

export type Progress = (done: number, all: number, what: string) => void

const clientsOf = (row: Row, chosen: readonly ClientName[] | undefined): readonly ClientName[] => {
  if (chosen === undefined) return row.clients
  return chosen.filter(name => row.clients.includes(name) || CLIENTS.includes(name))
}

const countsWrites = (row: Row): boolean => row.section === 'messages' || row.work === 'burst'

/** Runs every row with every client, the clients alternating and another one first in each round. */
export async function runAll(plan: Plan, surroundings: Surroundings, progress: Progress): Promise<RowResult[]> {
  const steps = plan.rows.map(row => clientsOf(row, plan.clients).length * plan.rounds)
  const all = steps.reduce((sum, count) => sum + count, 0)
  let done = 0
  const results: RowResult[] = []
  for (const row of plan.rows) {
    const clients = clientsOf(row, plan.clients)
    const rounds = new Map<ClientName, RoundResult[]>(clients.map(name => [name, []]))
    const failures = new Map<ClientName, string>()
    const attempt = async (client: ClientName, countWrites: boolean) => {
      try {
        rounds.get(client)?.push(await runOnce(row, client, surroundings, countWrites))
      } catch (error) {
        failures.set(client, error instanceof Error ? error.message : String(error))
      }
    }
    for (let round = 0; round < plan.rounds; round += 1) {
      for (const [place] of clients.entries()) {
        const client = clients[(place + round) % clients.length]
        if (client === undefined) continue
        progress(done, all, `${fullName(row)} · ${client} · round ${round + 1} of ${plan.rounds}`)
        if (!failures.has(client)) await attempt(client, false)
        done += 1
      }
    }
    if (plan.countWrites && countsWrites(row)) {
      for (const client of clients) if (!failures.has(client)) await attempt(client, true)
    }
    results.push({ row, cells: clients.map(name => cellOf(name, rounds.get(name) ?? [], failures.get(name))) })
  }
  progress(all, all, 'done')
  return results
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
    .filter(cell => !['floor', 'prototype', 'asyncamqp'].includes(cell.client))
    .map(cell => cell.figures.cpuMicros?.median)
    .filter(value => value !== undefined)
  return values.length > 0 ? Math.min(...values) : undefined
}

export const cpuOf = (client: ClientName, result: RowResult): number | undefined =>
  result.cells.find(cell => cell.client === client)?.figures.cpuMicros?.median
