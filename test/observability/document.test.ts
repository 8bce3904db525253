import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { codeBlocks } from '../package/code-blocks.ts'
import { freePort } from './free-port.ts'

/** What follows the ten lines: a message, and a look at what they made of it. */
const rest = `
import { trace } from '@opentelemetry/api'
import { connect } from 'asyncamqp'
import { startBroker } from 'asyncamqp/testing'

const broker = await startBroker()
const protocol = await connect(broker.url)
await protocol.queueDeclare('q')
await protocol.publish('x', '', 'q')
await trace.getTracerProvider().getDelegate().forceFlush()
const scraped = await (await fetch('http://localhost:PORT/metrics')).text()
console.log(/messaging_client_sent_messages_total{.*messaging_destination_template="q".*} 1/.test(scraped))
process.exit()
`

describe('docs/observability.md', () => {
  it('shows ten lines that make spans and metrics', async () => {
    const block = codeBlocks(readFileSync('docs/observability.md', 'utf8')).find(code => code.includes('instrument('))
    assert.ok(block)
    assert.ok(block.trim().split('\n').length <= 10)
    // Beside the compiled test, from where the package is found by its name.
    const file = fileURLToPath(new URL('ten-lines.mjs', import.meta.url))
    const port = await freePort()
    writeFileSync(file, (block + rest).replace(/9464|PORT/g, `${port}`))
    try {
      const { stdout } = await promisify(execFile)(process.execPath, [file])
      assert.match(stdout, /name: 'publish q'/)
      assert.match(stdout, /^true$/m)
    } finally {
      rmSync(file)
    }
  })
})
