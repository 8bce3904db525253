import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { broker } from '../support/broker.ts'
import { compare, type Difference } from './compare.ts'
import { ControlClient } from './control-client.ts'

/** 200 unless `ASYNCAMQP_SEQUENCES` says how many; `ASYNCAMQP_SEED` is the first of their seeds. */
const count = Number(process.env['ASYNCAMQP_SEQUENCES'] ?? 200)
const first = Number(process.env['ASYNCAMQP_SEED'] ?? 1)
const release = broker.isAtLeast(4) ? '4.3' : '3.10'

/** Sequences run `together`: they do not meet, and mostly wait. */
const kinds = [
  { name: 'classic queues', types: ['classic'], expires: false, share: 0.75, together: 6 },
  { name: 'quorum queues', types: ['classic', 'quorum'], expires: false, share: 0.15, together: 12 },
  { name: 'streams', types: ['stream', 'classic'], expires: false, share: 0.05, together: 12 },
  { name: 'what expires', types: ['classic'], expires: true, share: 0.05, together: 12 },
] as const

describe('Random sequences of methods', () => {
  const skip = broker.waitsForRabbitMQ('it is what the broker in the process is compared with')
  for (const [at, { name, types, expires, share, together }] of kinds.entries()) {
    it(`on ${name} are answered by the broker in the process as by RabbitMQ`, { skip }, async t => {
      const seeds = Array.from({ length: Math.ceil(count * share) }, (_, index) => first + index)
      const sequences = seeds.length
      const differences: Difference[] = []
      let [steps, compared] = [0, 0]
      const run = async () => {
        const control = new ControlClient(broker.url)
        for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
          const options = { steps: 40, prefix: `sequence-${process.pid}-${at}-${seed}-`, types, expires }
          const comparison = await compare(seed, broker.url, release, options, control)
          steps += comparison.steps
          compared += comparison.compared
          if (comparison.difference !== undefined) differences.push(comparison.difference)
        }
        control.end()
      }
      await Promise.all(Array.from({ length: together }, run))
      t.diagnostic(`${sequences} sequences, ${compared} of ${steps} steps compared`)
      const reports = differences.map(({ seed, report }) => `seed ${seed}:\n${report}`)
      assert.deepEqual(reports, [], reports.join('\n\n'))
    })
  }
})
