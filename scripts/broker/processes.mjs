/**
 * Processes by their number and the time they started at: a number alone may by now belong to another one.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

/** @typedef {{ pid: number, startedAt: string | undefined }} ProcessRecord */

/**
 * @param {number} pid
 * @returns {ProcessRecord}
 */
export const recordOf = pid => ({ pid, startedAt: startTime(pid) })

/** @param {ProcessRecord} record */
export const isRunning = ({ pid, startedAt }) => startedAt !== undefined && startTime(pid) === startedAt

/** @param {ProcessRecord} record */
export function killProcess(record) {
  if (isRunning(record)) sendSignal(record.pid, 'SIGKILL')
}

/**
 * @param {number} pid
 * @param {NodeJS.Signals} signal
 */
export function sendSignal(pid, signal) {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ESRCH') throw error
  }
}

/**
 * A text that stays the same for the life of a process, whatever it executes.
 *
 * @param {number} pid
 */
function startTime(pid) {
  if (!existsSync('/proc/self/stat')) {
    return spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).stdout?.trim() || undefined
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // Counted from after the name in parentheses, which may hold spaces: state is the first, starttime the 20th.
    const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return state === 'Z' ? undefined : rest[18]
  } catch {
    return undefined
  }
}
