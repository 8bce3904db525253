import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { broker } from '../support/broker.ts'
import { compare } from './compare.ts'

/** 200 unless `ASYNCAMQP_SEQUENCES` says how many; `ASYNCAMQP_SEED` is the first of their seeds. */
const count = Number(process.env['ASYNCAMQP_SEQUENCES'] ?? 200)
const first = Number(process.env['ASYNCAMQP_SEED'] ?? 1)
const release = broker.isAtLeast(4) ? '4.3' : '3.10'

const kinds = [
  ['classic queues', ['classic'], 0.8],
  ['quorum queues', ['classic', 'quorum'], 0.15],
  ['streams', ['stream', 'classic'], 0.05],
] as const

describe('Random sequences of methods', () => {
  const skip = broker.waitsForRabbitMQ('it is what the broker in the process is compared with')
  for (const [name, types, share] of kinds) {
    it(`on ${name} are answered by the broker in the process as by RabbitMQ`, { skip }, async () => {
      const end = first + Math.ceil(count * share)
      for (let seed = first; seed < end; seed++) {
        const options = { steps: 40, prefix: `sequence-${process.pid}-${types[0]}-${seed}-`, types }
        const difference = await compare(seed, broker.url, release, options)
        assert.equal(difference, undefined, `seed ${seed}:\n${difference?.report}`)
      }
    })
  }
})
