/**
 * Measures what this client and others do under each fault, and prints it as the table of docs/faults.md:
 *
 *   node scripts/broker.mjs -- node build/test/faults/matrix.js
 */
import { broker } from '../support/broker.ts'
import { brokerFaults, clusterKilled } from './matrix/broker-faults.ts'
import { CLIENT_NAMES } from './matrix/clients/client.ts'
import * as connection from './matrix/connection-faults.ts'
import { type Line, seconds } from './matrix/line.ts'

const started = performance.now()
// Nothing happens for minutes in this one: it does not disturb the others.
const blackholeByDefault = connection.blackholeByDefault()

// Those that need quiet come first, then those that only wait, at once.
const quiet: Line[] = [
  await connection.broken('reset (RST): a publish is confirmed again after', proxy => proxy.reset()),
  await connection.broken('end of stream (FIN): a publish is confirmed again after', proxy => proxy.end()),
  await connection.broken('half-close by the server: a publish is confirmed again after', proxy =>
    proxy.halfClose('toClient'),
  ),
  await connection.corrupted(),
  await connection.closing(),
]
const [waits, silentServers] = await Promise.all([
  Promise.all([
    connection.closingInBlackhole(),
    connection.closingInTime(),
    connection.withoutListener(),
    ...connection.blackholes(),
    connection.unanswered(),
  ]),
  connection.silentServers(),
])
const ofBroker = [...(await brokerFaults()), await clusterKilled()]
const lines = [...quiet, ...waits, await blackholeByDefault, ...silentServers, ...ofBroker]

console.log(`RabbitMQ ${broker.version}, Node ${process.versions.node}, ${seconds(performance.now() - started)}\n`)
for (const cells of [['Fault', ...CLIENT_NAMES], ['---', ...CLIENT_NAMES.map(() => '---')], ...lines]) {
  console.log(`| ${cells.join(' | ')} |`)
}
