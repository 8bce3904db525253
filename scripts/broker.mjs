/**
 * A broker to try things out with.
 *
 *   node scripts/broker.mjs                      starts one and prints its URLs, until Ctrl-C
 *   node scripts/broker.mjs -- command args      runs a command with AMQP_URL set, and stops the broker after it
 *   node scripts/broker.mjs --rabbitmq 4         starts RabbitMQ in this version; ASYNCAMQP_RABBITMQ says it too
 *   node scripts/broker.mjs --install            installs Debian's package, as root, if there is no RabbitMQ
 *   node scripts/broker.mjs --testing            starts the one of asyncamqp/testing (npm run build makes it)
 *   node scripts/broker.mjs --certificates DIR   only writes certificates, which docker-compose.yml uses
 */
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createAuthority, writeCertificates } from './broker/certificates.mjs'
import { startBroker, startCluster, startNode } from './broker/find.mjs'
import { clientUser } from './broker/node.mjs'
import { versionVariable } from './broker/version.mjs'
import { run } from './run.mjs'

export { createAuthority, startBroker, startCluster, startNode }

/** @param {string} line */
export const logBroker = line => console.log(`broker: ${line}`)

/**
 * What a program gets of a broker: `AMQP_URL` and `AMQP_MANAGEMENT_URL` for any program, everything for the tests.
 *
 * @param {import('./broker/types.d.ts').Broker} broker
 */
export function brokerEnvironment({ stop, ...address }) {
  return {
    AMQP_URL: address.url,
    ...(address.managementUrl !== undefined && { AMQP_MANAGEMENT_URL: address.managementUrl }),
    // For the nodes that the tests start themselves.
    ...(address.rabbitmq !== undefined && { [versionVariable]: address.rabbitmq }),
    ASYNCAMQP_TEST_BROKER: JSON.stringify({ ...address, module: import.meta.url }),
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    options: {
      certificates: { type: 'string' },
      rabbitmq: { type: 'string' },
      install: { type: 'boolean' },
      testing: { type: 'boolean' },
    },
    allowPositionals: true,
  })
  if (values.certificates !== undefined) {
    const files = writeCertificates(values.certificates, { clientUser, readable: true })
    console.log(Object.values(files).join('\n'))
    return
  }
  const { rabbitmq, install, testing } = values
  const broker = await startBroker({ log: logBroker, rabbitmq, install, testing })
  try {
    const [command, ...args] = positionals
    if (command !== undefined) {
      process.exitCode = await run(command, args, { environment: brokerEnvironment(broker) })
      return
    }
    printAddress(broker)
    // Nothing else keeps the process alive until the signal.
    await new Promise(resolve => setInterval(resolve, 2 ** 31 - 1))
  } finally {
    await broker.stop()
    if (broker.kind !== 'url') logBroker('stopped')
  }
}

/** @param {import('./broker/types.d.ts').Broker} broker */
function printAddress({ url, tlsUrl, managementUrl, caFile, clientCertFile, clientKeyFile, clientUser: user }) {
  const lines = {
    AMQP: url,
    'AMQP over TLS': tlsUrl,
    'management page': managementUrl,
    'CA certificate': caFile,
    'client certificate': clientCertFile && `${clientCertFile}, key ${clientKeyFile}, for user ${user} (EXTERNAL)`,
  }
  for (const [name, value] of Object.entries(lines)) {
    if (value !== undefined) console.log(`  ${`${name}:`.padEnd(20)}${value}`)
  }
  console.log('Ctrl-C stops it.')
}

if (realpathSync(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) {
  try {
    await main()
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  }
}
