import { mkdirSync, writeFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { chartOf } from './chart.ts'
import { describeEnvironment, type Environment, environmentLines } from './environment.ts'
import { type Options, parseOptions, USAGE } from './options.ts'
import { Peer, type Runtime } from './processes.ts'
import { progressLine } from './progress.ts'
import { fullName, ROWS, type Section } from './rows.ts'
import { type RowResult, runAll } from './run-all.ts'
import type { BrokerEnd } from './run-row.ts'
import { tableOf } from './table.ts'

const SECTIONS: readonly Section[] = ['messages', 'growth', 'memory', 'promises', 'broker']

export interface StartedBroker extends BrokerEnd {
  readonly version?: string | undefined
  stop(): Promise<void>
}

export interface Host {
  /** The package's folder. */
  readonly root: string
  /** What runs the clients; this Node.js if it is undefined. */
  readonly runtime?: Runtime | undefined
  startBroker(): Promise<StartedBroker>
}

/** The benchmark. */
export async function main(args: readonly string[], host: Host): Promise<void> {
  const options = parseOptions(args)
  if (options === 'help') return console.log(USAGE)
  if (options === 'list') return console.log(ROWS.map(fullName).join('\n'))
  const broker = options.rows.some(row => row.section === 'broker') ? await host.startBroker() : undefined
  const peer = await Peer.start()
  try {
    const surroundings = {
      peer,
      broker,
      budget: options.budget,
      waiting: options.waiting,
      runtime: host.runtime,
    }
    // Socket writes are counted in Node's classes.
    const plan = { ...options, countWrites: !options.quick && host.runtime === undefined }
    const { results, rounds } = await runAll(plan, surroundings, progressLine(process.stderr))
    const runBy = host.runtime === undefined ? '' : `, clients run by ${host.runtime.name}`
    const given = args.length > 0 ? ` -- ${args.join(' ')}` : ''
    const command = `npm run bench${given}${runBy}, rounds done: ${rounds}`
    report(results, describeEnvironment(host.root, broker?.version), command)
    save(results, describeEnvironment(host.root, broker?.version), command, rounds, options, host.root)
    if (results.some(({ cells }) => cells.some(cell => cell.failure !== undefined))) process.exitCode = 1
  } finally {
    peer.stop()
    await broker?.stop()
  }
}

function report(results: readonly RowResult[], environment: Environment, command: string): void {
  console.log(`\n${reportOf(results, environment, command)}`)
}

function reportOf(results: readonly RowResult[], environment: Environment, command: string): string {
  const tables = SECTIONS.map(section => tableOf(section, results)).filter(table => table !== undefined)
  return [...tables, [command, ...environmentLines(environment)].join('\n')].join('\n\n')
}

/** For JSON: what lies past the fourth digit is noise. */
const fourDigits = (_name: string, value: unknown): unknown =>
  typeof value === 'number' ? Number(value.toPrecision(4)) : value

function save(
  results: readonly RowResult[],
  environment: Environment,
  command: string,
  rounds: number,
  { out }: Options,
  root: string,
): void {
  if (out === undefined) return
  const path = resolve(root, out)
  mkdirSync(dirname(path), { recursive: true })
  const rows = results.map(({ row, cells }) => ({ row: fullName(row), clients: cells }))
  writeFileSync(`${path}.json`, `${JSON.stringify({ command, rounds, environment, rows }, fourDigits, 2)}\n`)
  writeFileSync(`${path}.svg`, chartOf(results, environment, command))
  const all = `# Benchmarks\n\n![CPU of other clients](${basename(path)}.svg)\n\n\`\`\`text\n${reportOf(results, environment, command)}\n\`\`\`\n`
  writeFileSync(`${path}.md`, all)
  console.log(`Written: ${path}.json, ${path}.svg, ${path}.md`)
}
