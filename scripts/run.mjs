/**
 * Runs another program as a part of this one.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { onExit } from './broker/cleanup.mjs'

/**
 * Runs a program in this terminal until it ends. It is ended when this program is ended.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ environment?: NodeJS.ProcessEnv, cwd?: string }} [options]
 * @returns {Promise<number>} its exit code, as in a shell if a signal ended it
 */
export async function run(command, args, { environment = {}, cwd } = {}) {
  const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...environment }, cwd })
  const cancel = onExit(() => child.kill('SIGTERM'))
  try {
    const [code, signal] = await once(child, 'exit')
    return code ?? 128 + constants.signals[/** @type {NodeJS.Signals} */ (signal)]
  } finally {
    cancel()
  }
}
