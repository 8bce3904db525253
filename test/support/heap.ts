import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const ROUNDS = 5
let collect: (() => void) | undefined

/** Have V8 free at once all that can be. */
export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  collect()
}

/**
 * Bytes of the heap that a round of `run` keeps: the median of five, since V8 itself keeps something in one, and frees it in another.
 * A first one, in which code is compiled, does not count.
 */
export async function keptByRound(run: (round: number) => Promise<void> | void): Promise<number> {
  const kept: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    collectGarbage()
    const before = process.memoryUsage().heapUsed
    await run(round)
    collectGarbage()
    if (round > 0) kept.push(process.memoryUsage().heapUsed - before)
  }
  return kept.sort((a, b) => a - b)[ROUNDS >> 1] ?? 0
}
