import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { broker } from '../support/broker.ts'
import { compare } from './compare.ts'

/** 200 unless `ASYNCAMQP_SEQUENCES` says how many; `ASYNCAMQP_SEED` is the first of their seeds. */
const count = Number(process.env['ASYNCAMQP_SEQUENCES'] ?? 200)
const first = Number(process.env['ASYNCAMQP_SEED'] ?? 1)
const release = broker.isAtLeast(4) ? '4.3' : '3.10'

const kinds = [
  { name: 'classic queues', types: ['classic'], expires: false, share: 0.75 },
  { name: 'quorum queues', types: ['classic', 'quorum'], expires: false, share: 0.15 },
  { name: 'streams', types: ['stream', 'classic'], expires: false, share: 0.05 },
  { name: 'what expires', types: ['classic'], expires: true, share: 0.05 },
] as const

/** Sequences that run at once: they do not meet, and mostly wait. */
const TOGETHER = 4

describe('Random sequences of methods', () => {
  const skip = broker.waitsForRabbitMQ('it is what the broker in the process is compared with')
  for (const [at, { name, types, expires, share }] of kinds.entries()) {
    it(`on ${name} are answered by the broker in the process as by RabbitMQ`, { skip }, async () => {
      const seeds = Array.from({ length: Math.ceil(count * share) }, (_, index) => first + index)
      const run = async () => {
        for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
          const options = { steps: 40, prefix: `sequence-${process.pid}-${at}-${seed}-`, types, expires }
          const difference = await compare(seed, broker.url, release, options)
          assert.equal(difference, undefined, `seed ${seed}:\n${difference?.report}`)
        }
      }
      await Promise.all(Array.from({ length: TOGETHER }, run))
    })
  }
})
