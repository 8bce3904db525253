/**
 * Measures what this client does under each fault, and prints it as the table of docs/faults.md:
 *
 *   node scripts/broker.mjs -- node build/test/faults/matrix.js
 */
import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { AmqpError, type AmqpProtocol, type ConnectOptions, connect } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { broker, startCluster, startNode } from '../support/broker.ts'
import { type FaultProxy, openFaultProxy } from '../support/fault-proxy.ts'
import { uniqueName } from '../support/names.ts'
import { Program } from '../support/program.ts'
import { openScriptedServer } from '../support/scripted-server.ts'
import { until } from '../support/until.ts'
import { drain, PublishLoad } from './load.ts'

type Row = readonly [fault: string, measured: string]

const seconds = (milliseconds: number): string =>
  milliseconds < 1_000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`

async function through<T>(
  options: ConnectOptions,
  work: (protocol: AmqpProtocol, proxy: FaultProxy) => Promise<T>,
): Promise<T> {
  await using proxy = await openFaultProxy(broker.host, broker.port)
  await using protocol = await connect(proxy.url(broker.url), { onError: () => {}, ...options })
  return await work(protocol, proxy)
}

/** How long it takes until a publish is confirmed again. */
async function broken(fault: string, act: (proxy: FaultProxy) => void): Promise<Row> {
  const times: number[] = []
  for (let n = 0; n < 5; n++) {
    await through({}, async (protocol, proxy) => {
      const channel = await protocol.channel({ publisherConfirms: true })
      const started = performance.now()
      const lost = once(protocol, 'disconnected')
      act(proxy)
      await lost
      await channel.publish('x', '', 'nowhere')
      times.push(performance.now() - started)
    })
  }
  times.sort((a, b) => a - b)
  return [fault, `a publish is confirmed again after ${seconds(times[2] ?? 0)} (median of 5)`]
}

async function swallowed(fault: string, options: ConnectOptions, direction?: 'toClient'): Promise<Row> {
  return await through(options, async (protocol, proxy) => {
    await sleep(1_000)
    const started = performance.now()
    const lost = once(protocol, 'disconnected')
    proxy.blackhole(direction)
    await lost
    const took = performance.now() - started
    await proxy.heal()
    return [fault, `noticed after ${seconds(took)}`]
  })
}

async function silent(fault: string, url: string): Promise<Row> {
  const started = performance.now()
  const error: unknown = await connect(url).catch((thrown: unknown) => thrown)
  return [
    fault,
    `${seconds(performance.now() - started)}: ${String(error instanceof Error && error.message.split('; ').at(-1))}`,
  ]
}

async function silentServers(): Promise<Row[]> {
  const server = net.createServer(socket => socket.on('error', () => {}).resume())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  await using scripted = await openScriptedServer()
  const rows = Promise.all([
    silent('server accepts TCP and says nothing', `amqp://127.0.0.1:${port}`),
    silent('TLS server says nothing', `amqps://127.0.0.1:${port}`),
    silent('server says nothing behind tune-ok', scripted.url),
  ])
  const peer = await scripted.accept()
  await peer.login()
  peer.send(0, methods.ConnectionTune, { channelMax: 0, frameMax: 131_072, heartbeat: 0 })
  const result = await rows
  server.close()
  return result
}

async function unanswered(): Promise<Row> {
  return await through({ heartbeat: 0 }, async (protocol, proxy) => {
    const channel = await protocol.channel()
    proxy.blackhole()
    const started = performance.now()
    const error: unknown = await channel.queueDeclare().catch((thrown: unknown) => thrown)
    const name = error instanceof Error ? error.name : 'nothing'
    return ['call that is never answered, heartbeats off', `${name} after ${seconds(performance.now() - started)}`]
  })
}

async function corrupted(): Promise<Row> {
  return await through({}, async (protocol, proxy) => {
    const channel = await protocol.channel({ publisherConfirms: true })
    await channel.publish('x', '', 'nowhere')
    proxy.last.corrupt('toClient', 3)
    const started = performance.now()
    const error: unknown = await channel.publish('x', '', 'nowhere').catch((thrown: unknown) => thrown)
    const outcome = error instanceof AmqpError ? error.outcome : 'none'
    return [
      'length of a confirm corrupted to 4 GiB',
      `rejected after ${seconds(performance.now() - started)}, outcome ${outcome}`,
    ]
  })
}

async function closing(): Promise<Row[]> {
  const inFlight = await through({}, async protocol => {
    const channel = await protocol.channel({ publisherConfirms: true })
    const publishes = Array.from({ length: 500 }, () => channel.publish('x', '', 'nowhere'))
    await protocol.close()
    const settled = await Promise.allSettled(publishes)
    return settled.filter(({ status }) => status === 'fulfilled').length
  })
  await using proxy = await openFaultProxy(broker.host, broker.port)
  const program = new URL('programs/bare-client.js', import.meta.url)
  await using bare = new Program(program, [proxy.url(broker.url), 'close'])
  await bare.line('ready')
  proxy.blackhole()
  const [took] = (await bare.line('closed')).split(' ')
  const closedAt = performance.now()
  const { at } = await bare.exited
  return [
    ['close() with 500 publishes in flight', `${inFlight} of 500 confirmed`],
    [
      'close({ timeout: 1000 }) in a blackhole',
      `${seconds(Number(took))}; the process ends ${seconds(at - closedAt)} later`,
    ],
  ]
}

async function withoutListener(): Promise<Row> {
  await using proxy = await openFaultProxy(broker.host, broker.port)
  await using bare = new Program(new URL('programs/bare-client.js', import.meta.url), [
    proxy.url(broker.url),
    'recovers',
  ])
  await bare.line('ready')
  proxy.reset()
  const { code } = await bare.exited
  return ['reset with no listener attached', code === 0 ? 'goes on, and ends by itself' : `exit ${code}`]
}

/** 1,000 publishes a second for 30 s, a reset every 2 s, the broker killed at 15 s. */
async function loss(): Promise<Row[]> {
  await using node = await startNode()
  await using proxy = await openFaultProxy(node.host, node.port)
  await using protocol = await connect(proxy.url(node.url), { onError: () => {} })
  const queue = uniqueName('loss')
  const channel = await protocol.channel({ publisherConfirms: true })
  await channel.queueDeclare(queue)
  using load = new PublishLoad(channel, queue, 1_000)
  const timer = setInterval(() => proxy.reset(), 2_000)
  await sleep(15_000)
  await node.kill()
  await node.start()
  await sleep(10_000)
  clearInterval(timer)
  await load.stop()
  const received = await drain(protocol, queue)
  const there = new Set(received)
  const missing = [...load.confirmed].filter(n => !there.has(n)).length
  const ghosts = [...load.notSent].filter(n => there.has(n)).length
  const inQueue = [...load.unknown].filter(n => there.has(n)).length
  const what = '1,000 publishes/s, reset every 2 s, broker killed at 15 s and started again'
  return [
    [
      what,
      `${load.offered} offered, ${load.confirmed.size} confirmed, ${missing} of these missing; ${load.unknown.size} unknown (${inQueue} of these in the queue), ` +
        `${load.notSent.size} not sent (${ghosts} in the queue); ${received.length - there.size} twice; ${load.pending} promises pending`,
    ],
  ]
}

async function frozen(): Promise<Row[]> {
  await using node = await startNode()
  await using protocol = await connect(node.url, { heartbeat: 5 })
  let losses = 0
  protocol.on('disconnected', () => losses++)
  node.freeze()
  await sleep(9_000)
  node.thaw()
  await (await protocol.channel()).close()
  const survived: Row = ['broker frozen for 9 s, heartbeat 5', losses === 0 ? 'survives' : `lost ${losses} times`]

  await using publisher = await connect(node.url)
  const channel = await publisher.channel({ publisherConfirms: true })
  await channel.queueDeclare('alarm')
  await node.ctl('set_vm_memory_high_watermark', '0.00001')
  const blocked = once(publisher, 'blocked')
  const before = process.memoryUsage().rss
  let most = 0
  const publishes: Promise<void>[] = []
  for (let n = 0; n < 30_000; n++) {
    // A payload of its own each, as a program has it.
    publishes.push(channel.publish(Buffer.alloc(100, 'x'), '', 'alarm'))
    if (n % 1_000 === 0) await sleep(10)
    most = Math.max(most, process.memoryUsage.rss())
  }
  await blocked
  await node.ctl('set_vm_memory_high_watermark', '0.4')
  const started = performance.now()
  await Promise.all(publishes)
  const grown = Math.round((most - before) / 2 ** 20)
  return [
    survived,
    [
      'memory alarm, 30,000 publishes of 100 B not awaited',
      `they wait, ${grown} MiB more memory; all confirmed ${seconds(performance.now() - started)} after the alarm ends`,
    ],
  ]
}

async function clusterKilled(): Promise<Row[]> {
  await using cluster = await startCluster(3)
  const servers = cluster.nodes.map(({ host, port }) => ({ host, port }))
  await using protocol = await connect({ servers, onError: () => {} })
  const channel = await protocol.channel({ publisherConfirms: true })
  const other = await connect({ servers: [...servers].reverse() })
  // Led by a node that stays.
  await (await other.channel()).queueDeclare('led', { arguments: { 'x-queue-type': 'quorum' } })
  await other.close()
  using load = new PublishLoad(channel, 'led', 500)
  await sleep(1_000)
  let lostAt = 0
  protocol.once('disconnected', () => {
    lostAt = performance.now()
  })
  const recovered = once(protocol, 'recovered').then(() => performance.now() - lostAt)
  await cluster.nodes[0]?.kill()
  const took = await recovered
  const { size } = load.confirmed
  await until('publishes are confirmed again', () => load.confirmed.size > size + 500)
  await load.stop()
  return [
    [
      'cluster of 3, the node of the client killed, 500 publishes/s',
      `recovered ${seconds(took)} after it noticed, no confirm for ${seconds(load.longestGap)}; ${load.unknown.size} unknown, ${load.refused.size} refused, ${load.notSent.size} not sent`,
    ],
  ]
}

// Those that need quiet come first, then those that only wait, at once.
const rows: Row[] = [
  await broken('reset (RST)', proxy => proxy.reset()),
  await broken('end of stream (FIN)', proxy => proxy.end()),
  await broken('half-close by the server', proxy => proxy.halfClose('toClient')),
  await corrupted(),
  ...(await closing()),
  await withoutListener(),
  ...(await Promise.all([
    swallowed('blackhole both ways, heartbeat 5', { heartbeat: 5 }),
    swallowed('blackhole from the broker only, heartbeat 5', { heartbeat: 5 }, 'toClient'),
    swallowed('blackhole, default settings', {}),
    unanswered(),
  ])),
  ...(await silentServers()),
  ...(await frozen()),
  ...(await loss()),
  ...(await clusterKilled()),
]
console.log(`RabbitMQ ${broker.version}, Node ${process.versions.node}\n\n| Fault | Measured |\n| --- | --- |`)
for (const row of rows) console.log(`| ${row.join(' | ')} |`)
