// Loaded before each file of tests that Jest runs. Golevelup's wait for some milliseconds and look what has arrived, others measure time, which is
// too strict on a machine that has much to do: these waits take ten times as long, and a test that fails is tried again.
const timers = require('node:timers/promises')

// @ts-expect-error: Jest puts it into the scope of each module
jest.retryTimes(3)

/** Milliseconds after which a test looks. Other waits must be longer or shorter than something else. */
const looks = [50, 100, 150]

/** @param {number} ms */
function patient(ms) {
  const caller = new Error().stack?.split('\n')[3] ?? ''
  return looks.includes(ms) && /[\\/]e2e[\\/]/.test(caller) ? 10 * ms : ms
}

const setTimeout = /** @type {any} */ (globalThis.setTimeout)
globalThis.setTimeout = /** @type {any} */ (
  (/** @type {() => void} */ run, /** @type {number} */ ms, /** @type {any[]} */ ...args) =>
    setTimeout(run, patient(ms), ...args)
)

// This module is one for all files.
const mark = Symbol.for('asyncamqp.patient')
if (!Reflect.has(timers, mark)) {
  const original = timers.setTimeout
  Object.assign(timers, {
    setTimeout: (/** @type {number} */ ms, /** @type {[]} */ ...args) => original(patient(ms), ...args),
    [mark]: true,
  })
}
