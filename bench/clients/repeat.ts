import type { Repeat } from './client.ts'

/** Publishes with at most `window` of the promises open: the oldest is awaited before its place is used again. */
function windowed(window: number, publish: (number: number) => Promise<unknown>): Repeat {
  return async count => {
    const open = new Array<Promise<unknown> | undefined>(Math.min(window, count)).fill(undefined)
    let place = 0
    for (let number = 0; number < count; number += 1) {
      const oldest = open[place]
      if (oldest !== undefined) await oldest
      open[place] = publish(number)
      place += 1
      if (place === open.length) place = 0
    }
    await Promise.all(open)
  }
}

/** Does it so often, all together. */
async function together(count: number, once: () => Promise<unknown>): Promise<void> {
  await Promise.all(Array.from({ length: count }, once))
}

export const repeat = { windowed, together }
