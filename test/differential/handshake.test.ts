import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { startBroker } from '../../src/testing/index.ts'
import { broker } from '../support/broker.ts'
import { type Bytes, MISTAKES } from './bad-bytes.ts'
import { handshake, RIGHT, shakeHands } from './handshake.ts'

const count = Math.ceil(Number(process.env['ASYNCAMQP_SEQUENCES'] ?? 200) / 5)
const first = Number(process.env['ASYNCAMQP_SEED'] ?? 1)
const release = broker.isAtLeast(4) ? '4.3' : '3.10'

/** A server on a busy machine answers later: what differs is tried again, with ten times as long pauses. */
async function assertSameAnswers(url: string, ours: string, steps: readonly Bytes[], message?: string): Promise<void> {
  const answers = (patience: number) =>
    Promise.all([shakeHands(url, steps, patience), shakeHands(ours, steps, patience)])
  let [expected, got] = await answers(1)
  if (!isDeepStrictEqual(got, expected)) [expected, got] = await answers(10)
  assert.deepEqual(got, expected, message)
}

describe('What a client sends from its first byte on', () => {
  const skip = broker.waitsForRabbitMQ('it is what the broker in the process is compared with')

  it('is answered by the broker in the process as by RabbitMQ, however the handshake goes', { skip }, async () => {
    await using ours = await startBroker({ release })
    const seeds = Array.from({ length: count }, (_, index) => first + index)
    // Most wait: RabbitMQ does not hurry to close.
    await Promise.all(
      seeds.map(async seed => {
        const steps = handshake(seed)
        await assertSameAnswers(broker.url, ours.url, steps, `seed ${seed}`)
      }),
    )
  })

  it('is refused as by RabbitMQ if it is not a method, frame or message that makes sense', { skip }, async () => {
    await using ours = await startBroker({ release })
    await Promise.all(
      MISTAKES.map(async mistake => {
        await assertSameAnswers(broker.url, ours.url, [...RIGHT, mistake])
      }),
    )
  })
})
