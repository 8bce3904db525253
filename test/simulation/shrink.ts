import type { Step } from './steps.ts'

/**
 * The fewest steps that still fail: parts are left out, from halves down to single steps, as long as the rest still fails.
 */
export async function shrink(
  steps: readonly Step[],
  fails: (steps: readonly Step[]) => Promise<boolean>,
): Promise<readonly Step[]> {
  let least = steps
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < least.length; ) {
      const without = [...least.slice(0, at), ...least.slice(at + size)]
      if (await fails(without)) least = without
      else at += size
    }
  }
  return least
}
