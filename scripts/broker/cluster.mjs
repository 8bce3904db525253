/**
 * Several RabbitMQ nodes on this machine, joined into one cluster.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { runningNodes } from './management-api.mjs'
import { prepareSurroundings, RabbitNode } from './node.mjs'

const formationTimeout = 120_000

/**
 * @param {import('./installation.mjs').Installation} installation
 * @param {number} size
 * @param {import('./types.d.ts').NodeOptions} options
 * @returns {Promise<import('./types.d.ts').RabbitCluster>}
 */
export async function createCluster(installation, size, { log = () => {}, config, ...options }) {
  const surroundings = await prepareSurroundings(installation, { log, keep: options.keep })
  const numbers = Array.from({ length: size }, (_, index) => index + 1)
  // They find each other at their first boot, in half the time that joining them with rabbitmqctl takes.
  const formation = Object.fromEntries(
    numbers.map(number => [
      `cluster_formation.classic_config.nodes.${number}`,
      RabbitNode.nameOf(surroundings.home, number),
    ]),
  )
  const nodes = numbers.map(number => {
    return new RabbitNode(surroundings, { ...options, log, number, config: { ...formation, ...config } })
  })
  const destroy = async () => {
    await Promise.all(nodes.map(node => node.kill()))
    await surroundings.home.destroy()
  }
  try {
    log(`starting a cluster of ${size} RabbitMQ nodes`)
    await Promise.all(nodes.map(node => node.start()))
    await Promise.all(nodes.map(node => untilFormed(node, size)))
  } catch (error) {
    await destroy()
    throw error
  }
  return { nodes, destroy, [Symbol.asyncDispose]: destroy }
}

/**
 * @param {RabbitNode} node
 * @param {number} size
 */
async function untilFormed(node, size) {
  const deadline = Date.now() + formationTimeout
  while ((await runningNodes(node.managementUrl)) < size) {
    if (Date.now() > deadline) {
      throw new Error(`${node.name} did not see a cluster of ${size} nodes within ${formationTimeout / 1000} s.`)
    }
    await sleep(100)
  }
}
