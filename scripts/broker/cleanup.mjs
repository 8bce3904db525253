/**
 * What has to happen however this process ends, short of SIGKILL.
 */

/** @type {Set<() => void>} */
const cleanups = new Set()
const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])

/**
 * Runs `cleanup` when the process ends: at its end, by `process.exit()`, by an uncaught exception or by a signal.
 *
 * @param {() => void} cleanup must not need the event loop
 * @returns {() => void} takes it back
 */
export function onExit(cleanup) {
  if (cleanups.size === 0) listen()
  cleanups.add(cleanup)
  return () => {
    if (cleanups.delete(cleanup) && cleanups.size === 0) unlisten()
  }
}

function listen() {
  process.on('exit', runAll)
  for (const signal of signals) process.on(signal, endBySignal)
}

function unlisten() {
  process.off('exit', runAll)
  for (const signal of signals) process.off(signal, endBySignal)
}

function runAll() {
  for (const cleanup of cleanups) {
    try {
      cleanup()
    } catch (error) {
      console.error(error)
    }
  }
  cleanups.clear()
}

/** @param {NodeJS.Signals} signal */
function endBySignal(signal) {
  runAll()
  unlisten()
  // With no listener left, the signal does what it does by default, so that the parent sees why this process ended.
  process.kill(process.pid, signal)
}
