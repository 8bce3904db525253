import type { ClientName } from './clients/client.ts'
import { type Environment, environmentLines } from './environment.ts'
import { fullName } from './rows.ts'
import type { RowResult } from './run-all.ts'
import { short } from './table.ts'

const WIDTH = 860
const LEFT = 275
const RIGHT = 110
const BAR = 11
const GAP = 12
const TOP = 76

/** Hues of middle lightness, which stand out from a white page and from a dark one. */
const COLOURS: { readonly [client in ClientName]: string } = {
  floor: '#8b949e',
  prototype: '#57606a',
  asyncamqp: '#2f9e5b',
  amqplib: '#d08a2e',
  '@cloudamqp/amqp-client': '#4b8fd6',
  'rabbitmq-client': '#b561c4',
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** CPU per message as bars on a logarithmic scale: a tenth of the best is otherwise not to be seen. */
export function chartOf(results: readonly RowResult[], environment: Environment, command: string): string {
  const shown = results.filter(
    ({ row, cells }) =>
      (row.section === 'messages' || row.section === 'broker') && cells.some(cell => cell.figures.cpuMicros),
  )
  const medians = shown.flatMap(({ cells }) => cells.flatMap(cell => cell.figures.cpuMicros?.median ?? []))
  const low = Math.floor(Math.log10(Math.min(...medians)))
  const high = Math.ceil(Math.log10(Math.max(...medians)))
  const x = (micros: number): number => LEFT + ((Math.log10(micros) - low) / (high - low)) * (WIDTH - LEFT - RIGHT)
  const bars: string[] = []
  let y = TOP
  for (const { row, cells } of shown) {
    const drawn = cells.flatMap(({ client, figures: { cpuMicros } }) => (cpuMicros ? [{ client, cpuMicros }] : []))
    const middle = y + (drawn.length * BAR) / 2 + 4
    bars.push(`<text x="${LEFT - 12}" y="${middle.toFixed(1)}" text-anchor="end">${escaped(fullName(row))}</text>`)
    for (const { client, cpuMicros } of drawn) {
      const end = x(cpuMicros.median)
      const title = `${client}: ${short(cpuMicros.median)} µs (${short(cpuMicros.min)}–${short(cpuMicros.max)})`
      bars.push(
        `<rect x="${LEFT}" y="${y}" width="${(end - LEFT).toFixed(1)}" height="${BAR - 2}" fill="${COLOURS[client]}">` +
          `<title>${escaped(title)}</title></rect>`,
        `<text font-size="10" x="${(end + 5).toFixed(1)}" y="${y + BAR - 2.5}">${short(cpuMicros.median)}</text>`,
      )
      y += BAR
    }
    y += GAP
  }
  const bottom = y
  const ticks = Array.from({ length: high - low + 1 }, (_, step) => 10 ** (low + step)).map(micros => {
    const at = x(micros).toFixed(1)
    const label = `<text font-size="10" x="${at}" y="${TOP - 8}" text-anchor="middle">${tick(micros)}</text>`
    return `<line x1="${at}" y1="${TOP - 4}" x2="${at}" y2="${bottom}" stroke="#8b949e" stroke-opacity="0.3"/>${label}`
  })
  const notes = [...environmentLines(environment), command]
  const height = bottom + 14 + notes.length * 15
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>CPU of the client process per message, by client and work</title>
<style>@media (prefers-color-scheme: dark) { .page { fill: #a8b1bb } }</style>
<g class="page" font-family="system-ui, sans-serif" font-size="12" fill="#57606a">
<text font-size="15" font-weight="600" x="12" y="22">Client CPU per message, µs (logarithmic; shorter is better)</text>
${legend()}
${ticks.join('\n')}
${bars.join('\n')}
${notes.map((note, at) => `<text font-size="10" x="12" y="${bottom + 12 + at * 15}">${escaped(note)}</text>`).join('\n')}
</g>
</svg>
`
}

const tick = (micros: number): string =>
  micros >= 1000 ? `${micros / 1000} ms` : `${Number(micros.toPrecision(1))} µs`

function legend(): string {
  let at = 12
  return Object.entries(COLOURS)
    .map(([client, colour]) => {
      const entry =
        `<rect x="${at}" y="35" width="11" height="11" fill="${colour}"/>` +
        `<text x="${at + 16}" y="45">${escaped(client)}</text>`
      at += 34 + client.length * 6.8
      return entry
    })
    .join('\n')
}
