import { CLIENT_NAMES, type ClientName } from './clients/client.ts'
import { MeasuredClient, ProcessEnded } from './measured-client.ts'

/** A line of the table: a fault, and what each client did under it. */
export type Line = readonly [fault: string, ...measured: string[]]

type Measure = (client: MeasuredClient, name: ClientName) => Promise<string>

/** In a process of its own, whose end is a figure too. */
async function cell(name: ClientName, measure: Measure): Promise<string> {
  await using client = await MeasuredClient.start(name)
  try {
    return await measure(client, name)
  } catch (error) {
    if (error instanceof ProcessEnded) return error.message
    throw error
  }
}

/** Measures one client after the other. */
export async function inTurn(fault: string, measure: Measure): Promise<Line> {
  const cells: string[] = []
  for (const name of CLIENT_NAMES) cells.push(await cell(name, measure))
  return [fault, ...cells]
}

/** Measures all clients at once. */
export async function together(fault: string, measure: Measure): Promise<Line> {
  return [fault, ...(await Promise.all(CLIENT_NAMES.map(name => cell(name, measure))))]
}

/** What only this client was measured in. */
export function alone(fault: string, measured: string): Line {
  return [fault, measured, ...CLIENT_NAMES.slice(1).map(() => '–')]
}

export const seconds = (milliseconds: number): string =>
  milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1_000).toFixed(1)} s`
