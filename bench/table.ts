import type { Section } from './rows.ts'
import { bestPeer, type Cell, cpuOf, type RowResult } from './run-all.ts'

const TITLES: { readonly [section in Section]: string } = {
  messages: 'Client CPU per message, against the synthetic peer',
  growth:
    'Growth: over more channels, consumers, connections and unconfirmed messages, a body in more frames; in memory, CPU of each',
  memory: 'Memory of what is held, and what loading takes',
  promises: 'What speed must not cost, against the synthetic peer',
  broker: 'Against RabbitMQ',
}

/** Three significant digits. */
export function short(value: number): string {
  if (value === 0) return '0'
  if (value >= 100) return Math.round(value).toLocaleString('en-US')
  return value.toPrecision(Math.abs(value) < 0.1 ? 2 : 3)
}

export const times = (ratio: number): string => `${short(ratio)} ×`

type Column = readonly [heading: string, value: (cell: Cell, result: RowResult) => string | undefined]

const figure =
  (name: keyof Cell['figures'], write: (value: number) => string) =>
  ({ figures }: Cell): string | undefined => {
    const spread = figures[name]
    return spread && write(spread.median)
  }

const COLUMNS: readonly Column[] = [
  ['CPU µs', figure('cpuMicros', short)],
  ['range', ({ figures: { cpuMicros } }) => cpuMicros && `${short(cpuMicros.min)}–${short(cpuMicros.max)}`],
  ['of floor', (cell, result) => ratio(cell, cpuOf('floor', result))],
  ['of prototype', (cell, result) => ratio(cell, cpuOf('prototype', result))],
  [
    'of best peer',
    (cell, result) =>
      cell.client === 'floor' || cell.client === 'prototype' ? undefined : ratio(cell, bestPeer(result)),
  ],
  [
    'of channel level',
    (cell, result) => (cell.client === 'intent level' ? ratio(cell, cpuOf('asyncamqp', result)) : undefined),
  ],
  ['a second', figure('wallMicros', micros => short(1e6 / micros))],
  ['p50 µs', figure('p50Micros', short)],
  ['p99 µs', figure('p99Micros', short)],
  ['late p99 ms', figure('latenessP99Millis', short)],
  ['bytes each', figure('bytesEach', short)],
  ['RSS bytes each', figure('rssBytesEach', short)],
  ['grown MiB', figure('grownMiB', short)],
  ['grown RSS MiB', figure('grownRssMiB', short)],
  ['GC', figure('gcShare', share => `${(share * 100).toFixed(1)} %`)],
  ['peak MiB', figure('peakMiB', short)],
  ['writes/1,000', figure('writesPerThousand', short)],
  ['peer busy', figure('peerBusy', share => `${Math.round(share * 100)} %`)],
]

function ratio(cell: Cell, base: number | undefined): string | undefined {
  const own = cell.figures.cpuMicros?.median
  return own === undefined || base === undefined ? undefined : times(own / base)
}

/** The table of one section, for a terminal; undefined when it has no rows. */
export function tableOf(section: Section, results: readonly RowResult[]): string | undefined {
  const chosen = results.filter(({ row }) => row.section === section)
  if (chosen.length === 0) return undefined
  const columns = COLUMNS.filter(([, value]) =>
    chosen.some(result => result.cells.some(cell => value(cell, result) !== undefined)),
  )
  const lines: (readonly string[])[] = [['', ...columns.map(([heading]) => heading)]]
  for (const result of chosen) {
    lines.push([result.row.name + goal(result)])
    for (const cell of result.cells) {
      const values = columns.map(([, value]) => value(cell, result) ?? '')
      lines.push([`  ${cell.client}`, ...(cell.failure === undefined ? values : [cell.failure])])
    }
  }
  const widths = ['', ...columns].map((_, at) =>
    Math.max(...lines.filter(line => line.length > 2).map(line => line[at]?.length ?? 0)),
  )
  const text = lines.map(line =>
    line
      .map((value, at) => pad(value, widths[at] ?? 0, at === 0))
      .join('  ')
      .trimEnd(),
  )
  return [TITLES[section], '', ...text].join('\n')
}

const pad = (value: string, width: number, left: boolean): string =>
  left ? value.padEnd(width) : value.padStart(width)

function goal({ row: { goalFloors, goalOfPrototype, goalOfBest, goalOfIntent } }: RowResult): string {
  const goals = [
    goalFloors && `${times(goalFloors)} floor`,
    goalOfPrototype && `${times(goalOfPrototype)} prototype`,
    goalOfBest && `${times(goalOfBest)} best peer`,
    goalOfIntent && `intent level ${times(goalOfIntent)} channel level`,
  ].filter(Boolean)
  return goals.length > 0 ? `   (goal: ${goals.join(', ')})` : ''
}
