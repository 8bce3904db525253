import { parseArgs } from 'node:util'
import { guard } from './guard.ts'

const { values } = parseArgs({ options: { handicap: { type: 'string', default: '1' } } })
process.exit((await guard(Number(values.handicap))) ? 0 : 1)
