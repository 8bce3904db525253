import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../../src/index.ts'
import { type RabbitNode, startCluster, startNode } from '../../support/broker.ts'
import { openFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import { drain, PublishLoad } from '../load.ts'
import type { Account } from './client-process.ts'
import { alone, inTurn, type Line, seconds, together } from './line.ts'
import type { MeasuredClient } from './measured-client.ts'

/** Waits until every publish is settled, or until a limit. Returns the time that it took. */
async function untilSettled(client: MeasuredClient, limit: number): Promise<number> {
  const started = performance.now()
  const waited = (): number => performance.now() - started
  while ((await client.call('pending')) > 0 && waited() < limit) await sleep(50)
  return waited()
}

async function frozen(node: RabbitNode): Promise<Line> {
  return await inTurn('broker frozen for 9 s just after it was heard of, heartbeat 5', async client => {
    await client.call('connect', node.url, { heartbeat: 5 })
    node.freeze()
    await sleep(9_000)
    node.thaw()
    const again = await client.call('publishAgain', 5_000)
    if (client.losses === 0 && again) return 'survives'
    return `loses its connection, ${again ? 'publishes again' : 'does not publish within 5 s'}`
  })
}

async function alarm(node: RabbitNode): Promise<Line> {
  return await inTurn('memory alarm, 30,000 publishes of 100 B not awaited', async (client, name) => {
    await client.call('connect', node.url, {})
    const queue = `alarm of ${name}`
    await client.call('declare', queue)
    await node.raiseAlarm('memory')
    // The node looks at its memory once a second.
    await sleep(1_500)
    const grown = await client.call('flood', queue, 30_000)
    const waiting = await client.call('pending')
    await node.clearAlarms()
    const took = await untilSettled(client, 20_000)
    const { confirmed, rejected } = await client.call('account')
    const outcomes = Object.entries(rejected).map(([outcome, numbers]) => `, ${numbers.length} ${outcome}`)
    const pending = await client.call('pending')
    const grew = `${Math.round(grown / 2 ** 20)} MiB more memory, ${waiting} wait`
    const became = `${confirmed.length} confirmed${outcomes.join('')}${pending > 0 ? `, ${pending} pending` : ''}`
    return `${grew}; ${became}, the last one ${seconds(took)} after the alarm`
  })
}

/** What became of numbered publishes, against what came out of the queue. */
function balance({ offered, confirmed, rejected }: Account, pending: number, received: readonly number[]): string {
  const there = new Set(received)
  const missing = confirmed.filter(n => !there.has(n)).length
  const others = Object.entries(rejected).map(
    ([outcome, numbers]) =>
      `${numbers.length} ${outcome} (${numbers.filter(n => there.has(n)).length} of these in the queue)`,
  )
  return [
    `${offered} offered, ${confirmed.length} confirmed, ${missing} of these missing`,
    ...others,
    `${received.length - there.size} twice`,
    `${pending} pending`,
  ].join('; ')
}

/** Each client publishes 1,000 messages a second for 30 s, with a reset every 2 s; the broker is killed at 15 s. */
async function loss(node: RabbitNode): Promise<Line> {
  let killed: Promise<void> | undefined
  const kill = async (): Promise<void> => {
    await sleep(15_000)
    await node.kill()
    await node.start()
  }
  return await together(
    '1,000 publishes/s, reset every 2 s, broker killed at 15 s and started again',
    async (client, name) => {
      await using proxy = await openFaultProxy(node.host, node.port)
      await client.call('connect', proxy.url(node.url), {})
      const queue = `loss of ${name}`
      await client.call('declare', queue)
      killed ??= kill()
      await client.call('startLoad', queue, 1_000)
      const timer = setInterval(() => proxy.reset(), 2_000)
      await killed
      await sleep(10_000)
      clearInterval(timer)
      await client.call('stopLoad')
      await untilSettled(client, 30_000)
      const account = await client.call('account')
      const pending = await client.call('pending')
      await using protocol = await connect(node.url)
      return balance(account, pending, await drain(protocol, queue))
    },
  )
}

export async function brokerFaults(): Promise<Line[]> {
  await using node = await startNode()
  return [await frozen(node), await alarm(node), await loss(node)]
}

export async function clusterKilled(): Promise<Line> {
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
  return alone(
    'cluster of 3, the node of the client killed, 500 publishes/s',
    `recovered ${seconds(took)} after it noticed, no confirm for ${seconds(load.longestGap)}; ${load.unknown.size} unknown, ${load.refused.size} refused, ${load.notSent.size} not sent`,
  )
}
