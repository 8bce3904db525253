import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const ROUNDS = 5

/**
 * Bytes of the heap that each round of `run` keeps: the least of five, since V8 itself keeps something in one or the other. The
 * first, in which code is compiled, does not count.
 */
export async function keptByEachRound(run: (round: number) => Promise<void> | void): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round <= ROUNDS; round++) {
    collect()
    const before = process.memoryUsage().heapUsed
    await run(round)
    collect()
    if (round > 0) least = Math.min(least, process.memoryUsage().heapUsed - before)
  }
  return least
}
