/**
 * Erlang's port mapper, one for each group of nodes: the one that a node would start by itself listens on all
 * addresses, is shared with everybody on the machine and keeps running.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from './ports.mjs'

/**
 * @param {import('./installation.mjs').Installation} installation
 * @param {import('./home.mjs').Home} home
 * @returns {Promise<number>} its port
 */
export async function startEpmd({ epmdCommand }, home) {
  const [program, ...args] = epmdCommand
  for (let tries = 0; tries < 5; tries++) {
    const [port = 0] = await freePorts(1)
    const epmd = spawn(program, [...args, '-address', '127.0.0.1', '-port', String(port)], {
      detached: true,
      stdio: 'ignore',
      cwd: home.folder,
    })
    await once(epmd, 'spawn')
    epmd.unref()
    home.adopt(Number(epmd.pid))
    while (epmd.exitCode === null && epmd.signalCode === null) {
      if (await answers(port)) return port
      await sleep(20)
    }
    // Somebody else took the port between the search and the start.
  }
  throw new Error(`${epmdCommand.join(' ')} does not start on any of 5 free ports.`)
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function answers(port) {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => resolve(true))
    socket.on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
}
