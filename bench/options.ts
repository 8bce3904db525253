import { parseArgs } from 'node:util'
import { CLIENT_NAMES, type ClientName } from './clients/client.ts'
import type { Budget } from './measure.ts'
import { fullName, ROWS, type Row } from './rows.ts'

export interface Options {
  readonly quick: boolean
  readonly rounds: number
  /** No round is begun that would end later, in minutes from the start. */
  readonly minutes: number
  readonly rows: readonly Row[]
  /** Chosen clients; if it is undefined, each row has its own. */
  readonly clients: readonly ClientName[] | undefined
  readonly budget: Budget
  /** Messages that wait in RabbitMQ's queue for a consuming row. */
  readonly waiting: number
  /** Path of the results without an extension; undefined writes none. */
  readonly out: string | undefined
}

const FULL: Budget = { cpu: 250, wall: 600, warmUp: { messages: 20_000, cpu: 3_000, wall: 8_000 } }
const QUICK: Budget = { cpu: 120, wall: 400, warmUp: { messages: 1_000, cpu: 500, wall: 1_000 } }

export const USAGE = `npm run bench -- [options]

  --quick             a minute or so: fewer rows, one round, shorter spans
  --rounds N          rounds of each row and client (default 3, with --quick 1)
  --minutes N         begin no round that would end later (default 35)
  --row TEXT          only rows whose name contains TEXT; may be repeated
  --client TEXT       only clients whose name contains TEXT; may be repeated
  --no-broker         only what needs no RabbitMQ
  --out PATH          where to write PATH.json and PATH.svg (default bench/results/benchmark, with --quick .../quick;
                      with --row or --client nothing is written unless this is given)
  --node WHICH        with another Node.js: a path of its binary, or a version, which npm provides
  --runtime WHICH     bun or deno, which npm provides, runs the clients
  --list              print the names of the rows

RabbitMQ is the one that AMQP_URL names, or one that is started for the run.`

export function parseOptions(args: readonly string[]): Options | 'help' | 'list' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      minutes: { type: 'string', default: '35' },
      row: { type: 'string', multiple: true },
      client: { type: 'string', multiple: true },
      'no-broker': { type: 'boolean', default: false },
      out: { type: 'string' },
      help: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  if (values.list) return 'list'
  const { quick, row: wanted, client: wantedClients } = values
  const rounds = Number(values.rounds ?? (quick ? 1 : 3))
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds must be a whole number from 1: ${values.rounds}`)
  const rows = ROWS.filter(row => {
    if (values['no-broker'] && row.section === 'broker') return false
    if (wanted !== undefined) return wanted.some(text => fullName(row).includes(text))
    return !quick || row.quick
  })
  if (rows.length === 0) throw new Error(`no row matches ${wanted?.join(', ')}; --list shows their names`)
  const clients = wantedClients && CLIENT_NAMES.filter(name => wantedClients.some(text => name.includes(text)))
  if (clients?.length === 0) throw new Error(`no client matches; there are ${CLIENT_NAMES.join(', ')}`)
  const filtered = wanted !== undefined || clients !== undefined || values['no-broker']
  return {
    quick,
    rounds,
    minutes: Number(values.minutes),
    rows,
    clients,
    budget: quick ? QUICK : FULL,
    waiting: quick ? 15_000 : 60_000,
    out: values.out ?? (filtered ? undefined : `bench/results/${quick ? 'quick' : 'benchmark'}`),
  }
}
