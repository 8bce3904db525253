import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { broker } from '../support/broker.ts'
import { openFaultProxy } from '../support/fault-proxy.ts'
import { withVhost } from '../support/management.ts'
import { Program } from '../support/program.ts'
import { sized } from '../support/sizes.ts'

const vhost = await withVhost()
const SECONDS = sized(20, 1_200)
/** Milliseconds between two resets. */
const RESET_EVERY = 1_700
/** Bytes by which the heap may be larger at the end than after the warm-up. */
const GROWTH = 2 * 2 ** 20

describe('a connection at work that is reset again and again', { timeout: (SECONDS + 60) * 1000 }, () => {
  it('keeps a flat heap', async t => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    const soak = new URL('programs/soak.js', import.meta.url)
    await using program = new Program(soak, [proxy.url(vhost.url), String(SECONDS)], ['--expose-gc'])
    await program.line('heap')
    const timer = setInterval(() => proxy.reset(), RESET_EVERY)
    const exit = await program.exited.finally(() => clearInterval(timer))
    assert.equal(exit.code, 0, exit.errors)
    const counts = JSON.parse(await program.line('done'))
    const heap = program.lines.filter(line => line.startsWith('heap')).map(line => Number(line.slice(5)))
    const half = heap.slice(Math.floor(heap.length / 4))
    const lowest = (samples: readonly number[]): number => Math.min(...samples)
    const early = lowest(half.slice(0, 5))
    const late = lowest(half.slice(-5))
    const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(1)
    t.diagnostic(`heap ${mebibytes(early)} MiB early, ${mebibytes(late)} late; ${JSON.stringify(counts)}`)
    assert.ok(late - early < GROWTH, `heap: ${heap.map(mebibytes).join(' ')} MiB`)
    assert.ok(counts.recovered >= Math.floor((SECONDS * 1000) / RESET_EVERY) - 3)
    assert.ok(counts.confirmed > 100 * SECONDS && counts.consumed >= counts.confirmed && counts.channels > SECONDS)
  })
})
