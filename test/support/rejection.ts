import assert from 'node:assert/strict'

/** Milliseconds after which a promise counts as one that never settles. */
const PATIENCE = 8000

/** The error of a promise that must reject with an instance of `kind`. */
export async function rejection<E extends Error>(
  promise: Promise<unknown>,
  kind: abstract new (...args: never[]) => E,
): Promise<E> {
  let timer: NodeJS.Timeout | undefined
  const waiting = new Promise<string>(resolve => {
    timer = setTimeout(resolve, PATIENCE, `nothing in ${PATIENCE} ms`)
  })
  let result: unknown
  try {
    result = await Promise.race([promise.then(value => `the result ${JSON.stringify(value)}`), waiting])
  } catch (error) {
    if (error instanceof kind) return error
    throw new assert.AssertionError({ message: `expected ${kind.name}`, actual: error, expected: kind })
  } finally {
    clearTimeout(timer)
  }
  assert.fail(`expected ${kind.name}, got ${String(result)}`)
}
