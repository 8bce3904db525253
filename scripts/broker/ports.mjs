/**
 * Free ports of this machine.
 */
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'

// Below the range that systems take the ports of outgoing connections from (32768 on Linux, 49152 elsewhere). A port
// inside it can be taken by a client while a broker that is to come back on it is down, even by a client that
// connects to that very port and so reaches itself.
const lowest = 20_000
const beyond = 32_000

export const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some(address => address?.address === '::1')

/**
 * @param {number} count
 * @returns {Promise<number[]>}
 */
export async function freePorts(count) {
  /** @type {Set<number>} */
  const ports = new Set()
  for (let tries = 0; ports.size < count; tries++) {
    if (tries > 1000) throw new Error(`No free port was found between ${lowest} and ${beyond} on 127.0.0.1.`)
    const port = randomInt(lowest, beyond)
    if ((await isFree(port, '127.0.0.1')) && (!hasIpv6 || (await isFree(port, '::1')))) ports.add(port)
  }
  return [...ports]
}

/**
 * @param {number} port
 * @param {string} host
 * @returns {Promise<boolean>}
 */
function isFree(port, host) {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
