import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { broker } from '../support/broker.ts'
import { compareMany, KINDS } from './compare.ts'

/** 200 unless `ASYNCAMQP_SEQUENCES` says how many; `ASYNCAMQP_SEED` is the first of their seeds. */
const count = Number(process.env['ASYNCAMQP_SEQUENCES'] ?? 200)
const first = Number(process.env['ASYNCAMQP_SEED'] ?? 1)
const release = broker.isAtLeast(4) ? '4.3' : '3.10'

describe('Random sequences of methods', { concurrency: true }, () => {
  const skip = broker.waitsForRabbitMQ('it is what the broker in the process is compared with')
  for (const kind of KINDS) {
    it(`on ${kind.name} are answered by the broker in the process as by RabbitMQ`, { skip }, async t => {
      const all = await compareMany(kind, broker.url, release, first, Math.ceil(count * kind.share))
      t.diagnostic(
        `${all.sequences} sequences, ${all.compared} of ${all.steps} steps compared, ${all.late} again with more time`,
      )
      const reports = all.differences.map(({ seed, report }) => `seed ${seed}:\n${report}`)
      assert.equal(reports.length, 0, reports.join('\n\n'))
    })
  }
})
