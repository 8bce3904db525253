import type { ClientName } from './clients/client.ts'
import { type Environment, environmentLines } from './environment.ts'
import { fullName } from './rows.ts'
import type { RowResult } from './run-all.ts'
import { cpuOf } from './run-all.ts'
import { short } from './table.ts'

const WIDTH = 860
const LEFT = 320
const RIGHT = 60
const BAR = 7
const GAP = 8
const TOP = 84
/** Bars end here, in multiples of this client: what is longer says so. */
const MOST = 12

/** Hues of middle lightness, which stand out from a white page and from a dark one. */
const COLOURS: { readonly [client in ClientName]?: string } = {
  amqplib: '#d08a2e',
  '@cloudamqp/amqp-client': '#4b8fd6',
  'rabbitmq-client': '#b561c4',
}
const OWN_COLOUR = '#2f9e5b'

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

interface Bar {
  readonly client: ClientName
  readonly colour: string
  readonly micros: number
  /** In multiples of this client. */
  readonly times: number
}

interface ChartRow {
  readonly name: string
  readonly own: number
  readonly bars: readonly Bar[]
  /** The best peer's. */
  readonly least: number
}

/** Rows that were measured of this client and of a peer. */
function chartRowOf(result: RowResult): ChartRow[] {
  const own = cpuOf('asyncamqp', result)
  if (own === undefined) return []
  const bars = Object.entries(COLOURS).flatMap(([name, colour]) => {
    const client = name as ClientName
    const micros = cpuOf(client, result)
    return micros === undefined ? [] : [{ client, colour, micros, times: micros / own }]
  })
  if (bars.length === 0) return []
  return [{ name: fullName(result.row), own, bars, least: Math.min(...bars.map(({ times }) => times)) }]
}

/** CPU of each peer as bars, in multiples of this client's; the row in which the lead is smallest comes first. */
export function chartOf(results: readonly RowResult[], environment: Environment, command: string): string {
  const rows = results.flatMap(chartRowOf).sort((one, other) => one.least - other.least)
  const x = (times: number): number => LEFT + (Math.min(times, MOST) / MOST) * (WIDTH - LEFT - RIGHT)
  const drawn: string[] = []
  let y = TOP
  for (const { name, own, bars } of rows) {
    const middle = y + (bars.length * BAR) / 2 + 3.5
    const top = y
    drawn.push(
      `<text x="${LEFT - 12}" y="${middle}" text-anchor="end">${escaped(name)} · ${short(own)} µs</text>`,
      ...bars.flatMap((bar, at) => barOf(bar, x, top + at * BAR)),
    )
    y += bars.length * BAR + GAP
  }
  const ticks = Array.from({ length: MOST / 2 + 1 }, (_, at) => 2 * at).map(
    times => `<text font-size="10" x="${x(times)}" y="${TOP - 8}" text-anchor="middle">${times} ×</text>`,
  )
  const notes = [...environmentLines(environment), command]
  const height = y + 14 + notes.length * 15
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>CPU of other clients in multiples of asyncamqp's, by work</title>
<style>@media (prefers-color-scheme: dark) { .page { fill: #a8b1bb } }</style>
<g class="page" font-family="system-ui, sans-serif" font-size="11" fill="#57606a">
<text font-size="15" font-weight="600" x="12" y="22">Client CPU in multiples of asyncamqp's: a bar past the line costs more. Closest rows first</text>
${legend()}
${ticks.join('\n')}
<line x1="${x(1)}" y1="${TOP - 4}" x2="${x(1)}" y2="${y}" stroke="${OWN_COLOUR}" stroke-width="2"/>
${drawn.join('\n')}
${notes.map((note, at) => `<text font-size="10" x="12" y="${y + 12 + at * 15}">${escaped(note)}</text>`).join('\n')}
</g>
</svg>
`
}

function barOf({ client, colour, micros, times }: Bar, x: (times: number) => number, y: number): string[] {
  const end = x(times)
  const title = `${client}: ${short(micros)} µs, ${short(times)} ×`
  return [
    `<rect x="${LEFT}" y="${y}" width="${(end - LEFT).toFixed(1)}" height="${BAR - 1}" fill="${colour}"><title>${escaped(title)}</title></rect>`,
    `<text font-size="8" x="${(end + 4).toFixed(1)}" y="${y + BAR - 1}">${short(times)}${times > MOST ? ' →' : ''}</text>`,
  ]
}

function legend(): string {
  let at = 12
  const entries: [string, string][] = [['the line: asyncamqp', OWN_COLOUR], ...Object.entries(COLOURS)]
  return entries
    .map(([client, colour]) => {
      const entry =
        `<rect x="${at}" y="35" width="11" height="11" fill="${colour}"/>` +
        `<text x="${at + 16}" y="45">${escaped(client)}</text>`
      at += 34 + client.length * 6.4
      return entry
    })
    .join('\n')
}
