/**
 * Draws docs/trace.svg: the trace of one order that cannot be shipped, from a run of examples/observability.
 *
 *   node scripts/trace-picture.mjs [FILE]
 *
 * It takes the broker that `AMQP_URL` names or that is installed, or else the one of asyncamqp/testing. `npm run build` and
 * `npm run build:test` come before.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { startBroker } from './broker/find.mjs'
import { projectRoot } from './broker/home.mjs'
import { brokerEnvironment, logBroker } from './broker.mjs'

/**
 * As `telemetry.ts` of the examples writes it.
 *
 * @typedef {object} SpanLine
 * @property {string} service
 * @property {string} traceId
 * @property {string} spanId
 * @property {string} [parentSpanId]
 * @property {string} name
 * @property {number} kind
 * @property {number} startMs
 * @property {number} endMs
 * @property {number} status
 * @property {readonly { name: string, atMs: number }[]} events
 */

const KINDS = ['internal', 'server', 'client', 'producer', 'consumer']
const FAILED = 2
const TITLE = 'One order that cannot be shipped: one trace over two processes'
const COLOURS = /** @type {Record<string, string>} */ ({ shop: '#4c78a8', worker: '#72b7b2' })
const [ROW, LEFT, WIDTH, TOP] = [26, 330, 560, 64]

async function main() {
  const [file = join(projectRoot, 'docs/trace.svg')] = process.argv.slice(2)
  const broker = await startBroker({ log: logBroker })
  const scratch = mkdtempSync(join(tmpdir(), 'asyncamqp-trace-'))
  try {
    const spans = await trace(broker, join(scratch, 'spans'))
    writeFileSync(file, picture(spans))
    console.log(`trace-picture: ${spans.length} spans in ${file}`)
  } finally {
    rmSync(scratch, { recursive: true })
    await broker.stop()
  }
}

/**
 * Runs worker and shop, and returns the spans of the order that failed.
 *
 * @param {import('./broker/types.d.ts').Broker} broker
 * @param {string} traceFile
 */
async function trace(broker, traceFile) {
  const env = { ...process.env, ...brokerEnvironment(broker), TRACE_FILE: traceFile, METRICS_PORT: '0' }
  /** @param {string} name */
  const start = name =>
    spawn(process.execPath, [join(projectRoot, `build/examples/observability/${name}.js`)], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  const worker = start('worker')
  try {
    for await (const line of createInterface(worker.stdout)) if (line.includes('Waiting')) break
    const [code] = await once(start('shop'), 'exit')
    if (code !== 0) throw new Error(`The shop ended with ${code}.`)
  } finally {
    worker.kill('SIGTERM')
    await once(worker, 'exit')
  }
  const lines = readFileSync(traceFile, 'utf8').trimEnd().split('\n')
  const all = lines.map(line => /** @type {SpanLine} */ (JSON.parse(line)))
  const failed = all.find(
    ({ name, service, status }) => name === 'process orders' && service === 'worker' && status === FAILED,
  )
  if (failed === undefined) throw new Error('No order has failed.')
  return all.filter(({ traceId }) => traceId === failed.traceId).sort((one, other) => one.startMs - other.startMs)
}

/** @param {readonly SpanLine[]} spans */
function picture(spans) {
  const begin = Math.min(...spans.map(({ startMs }) => startMs))
  const end = Math.max(...spans.map(({ endMs }) => endMs))
  /** @param {number} atMs */
  const x = atMs => LEFT + ((atMs - begin) / (end - begin)) * WIDTH
  const rows = inOrder(spans)
  const height = TOP + rows.length * ROW + 40
  const parts = rows.map(({ span, depth }, i) => {
    const y = TOP + i * ROW
    const width = Math.max(x(span.endMs) - x(span.startMs), 2)
    const colour = span.status === FAILED ? '#e45756' : (COLOURS[span.service] ?? '#888')
    const events = span.events.map(
      ({ name, atMs }) =>
        `<circle cx="${round(x(atMs))}" cy="${y + 9}" r="4" fill="#f2b701" stroke="#fff"><title>${name}</title></circle>`,
    )
    const label = `${span.service}: ${span.name}`
    return [
      `<text x="${12 + depth * 14}" y="${y + 13}">${escaped(label)} <tspan fill="#777">${KINDS[span.kind]}</tspan></text>`,
      `<rect x="${round(x(span.startMs))}" y="${y + 2}" width="${round(width)}" height="14" rx="2" fill="${colour}"><title>${escaped(label)}, ${(span.endMs - span.startMs).toFixed(1)} ms</title></rect>`,
      ...events,
    ].join('\n')
  })
  const ticks = [0, 0.25, 0.5, 0.75, 1].map(share => {
    const at = LEFT + share * WIDTH
    return [
      `<line x1="${at}" y1="${TOP - 6}" x2="${at}" y2="${height - 34}" stroke="#ddd"/>`,
      `<text x="${at}" y="${TOP - 12}" text-anchor="middle" fill="#777">${(share * (end - begin)).toFixed(1)} ms</text>`,
    ].join('\n')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${LEFT + WIDTH + 40}" height="${height}" font-family="sans-serif" font-size="12">
<title>${TITLE}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="24" font-size="15" font-weight="bold">${TITLE}</text>
${ticks.join('\n')}
${parts.join('\n')}
<text x="12" y="${height - 12}" fill="#777">Blue: the shop. Green: the worker. Red: failed. Dots: events, such as asyncamqp.copied. Made by scripts/trace-picture.mjs from a run.</text>
</svg>
`
}

/**
 * Parents before their children.
 *
 * @param {readonly SpanLine[]} spans
 */
function inOrder(spans) {
  /** @type {{ span: SpanLine, depth: number }[]} */
  const rows = []
  /**
   * @param {SpanLine} span
   * @param {number} depth
   */
  const add = (span, depth) => {
    rows.push({ span, depth })
    for (const child of spans) if (child.parentSpanId === span.spanId) add(child, depth + 1)
  }
  const known = new Set(spans.map(({ spanId }) => spanId))
  for (const span of spans) if (span.parentSpanId === undefined || !known.has(span.parentSpanId)) add(span, 0)
  return rows
}

/** @param {number} value */
const round = value => Math.round(value * 10) / 10

/** @param {string} text */
const escaped = text => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

await main()
