import { parseArgs } from 'node:util'
import { guard } from './guard.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { handicap: { type: 'string', default: '1' }, row: { type: 'string' } },
})
const failed = await guard(positionals, Number(values.handicap), values.row)
if (process.send === undefined) process.exit(failed.length === 0 ? 0 : 1)
process.send({ failed }, () => process.exit())
