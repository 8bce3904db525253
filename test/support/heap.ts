import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const ROUNDS = 5

/**
 * Bytes of the heap that a round of `run` keeps: the median of five, since V8 itself keeps something in one, and frees it in another.
 * A first one, in which code is compiled, does not count.
 */
export async function keptByRound(run: (round: number) => Promise<void> | void): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const kept: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    collect()
    const before = process.memoryUsage().heapUsed
    await run(round)
    collect()
    if (round > 0) kept.push(process.memoryUsage().heapUsed - before)
  }
  return kept.sort((a, b) => a - b)[ROUNDS >> 1] ?? 0
}
