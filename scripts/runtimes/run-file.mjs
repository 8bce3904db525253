/**
 * Runs a file of tests by the runner beside this, and leaves the report in another file.
 *
 *   bun scripts/runtimes/run-file.mjs build/test/lib/fifo.test.js report.json
 */
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { runAll } from './node-test.mjs'

const [, , file = '', reportFile = ''] = process.argv
await import(pathToFileURL(resolve(file)).href)
const report = await runAll(file.replace(/^build\//, '').replace(/\.js$/, '.ts'))
writeFileSync(reportFile, JSON.stringify(report))
process.exit(report.failed.length > 0 ? 1 : 0)
