import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ExampleProcess } from '../examples/example-process.ts'
import { inOwnVhost } from '../examples/own-vhost.ts'

interface SpanLine {
  readonly service: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
}

describe('The traced examples', () => {
  it('make one trace of an order over two processes', () =>
    inOwnVhost(async url => {
      const scratch = mkdtempSync(join(tmpdir(), 'asyncamqp-trace-'))
      const file = join(scratch, 'spans')
      Object.assign(process.env, { TRACE_FILE: file, METRICS_PORT: '0' })
      try {
        await using worker = new ExampleProcess('observability/worker', url)
        await worker.printed(' [*] Waiting for orders. To exit press CTRL+C')
        await using shop = new ExampleProcess('observability/shop', url, ['pear', 'moon'])
        const { exitCode, lines } = await shop.exited()
        assert.equal(exitCode, 0)
        assert.ok(lines.includes(' [x] Shipped pear') && lines.includes(' [!] Not for sale: moon'), lines.join('\n'))
        worker.interrupt('SIGTERM')
        assert.equal((await worker.exited()).exitCode, 0)
        const spans = readFileSync(file, 'utf8')
          .trimEnd()
          .split('\n')
          .map(line => JSON.parse(line) as SpanLine)
        const orders = spans.filter(({ name }) => name === 'order')
        const paths = orders.map(({ traceId }) => {
          const own = spans.filter(span => span.traceId === traceId)
          return own.map(({ service, name }) => `${service} ${name}`).sort()
        })
        const both = [
          'shop handle prices',
          'shop order',
          'shop process prices',
          'shop publish',
          'shop publish orders',
          'worker call prices',
          'worker process orders',
          'worker publish prices',
        ]
        assert.deepEqual(paths, [
          [...both, 'shop process orders.shipped', 'worker publish orders.shipped'].sort(),
          [...both, 'shop process orders.failed', 'worker publish orders.failed'].sort(),
        ])
      } finally {
        delete process.env['TRACE_FILE']
        delete process.env['METRICS_PORT']
        rmSync(scratch, { recursive: true })
      }
    }))
})
