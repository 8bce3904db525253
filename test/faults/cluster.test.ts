import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Channel, connect } from '../../src/index.ts'
import { type RabbitNode, startCluster } from '../support/broker.ts'
import { sized } from '../support/sizes.ts'
import { until } from '../support/until.ts'
import { ConsumeLoad, drain, PublishLoad } from './load.ts'
import { RecoveryWatch } from './recovery-watch.ts'

const cluster = await startCluster(3)
after(() => cluster.destroy())

const RATE = 500
/** Milliseconds in which two of three nodes are away. */
const WITHOUT_MAJORITY = sized(5_000, 20_000)
/** Milliseconds after which a channel is replaced on which the broker confirms nothing. */
const SILENT = 60_000
/** A queue on all three. */
const QUEUE = 'majority'

/** The node that a connection goes to. */
function nodeAt(port: number): RabbitNode {
  const node = cluster.nodes.find(each => each.port === port)
  if (node === undefined) throw new Error(`no node listens on port ${port}`)
  return node
}

describe('a cluster of three nodes with load on a quorum queue', { timeout: 480_000 }, () => {
  before(async () => {
    await using protocol = await connect({ servers: cluster.nodes.map(({ host, port }) => ({ host, port })) })
    await protocol.queueDeclare(QUEUE, { arguments: { 'x-queue-type': 'quorum' } })
  })

  it('loses a node, killed, and the clients go on at another at once; nothing confirmed is missing', async t => {
    const servers = cluster.nodes.map(({ host, port }) => ({ host, port }))
    const watch = new RecoveryWatch()
    await using publisher = await connect({
      servers,
      serverOrder: 'random',
      connectionName: 'publisher',
      ...watch.tracing,
    })
    const victim = nodeAt(publisher.peer.port)
    // The worker stays where it is, unless it is on the same node.
    await using worker = await connect({ servers: [...servers].reverse(), connectionName: 'worker' })
    const channel = await publisher.channel({ publisherConfirms: true })
    await channel.queueDeclare('load', { arguments: { 'x-queue-type': 'quorum' } })
    await channel.queueDeclare('work', { arguments: { 'x-queue-type': 'quorum' } })
    for (let n = 0; n < 1_000; n++) void channel.basicPublish(String(n), '', 'work', { deliveryMode: 2 })
    await channel.waitForConfirms()
    const consumes = new ConsumeLoad()
    const working = await worker.channel()
    await consumes.start(working, 'work')

    watch.follow(publisher)
    using publishes = new PublishLoad(publisher, 'load', RATE)
    await sleep(500)
    await victim.kill()
    await until('the publisher is at another node', () => watch.isOver, { interval: 5 })
    const { size } = publishes.confirmed
    // A quorum queue whose leader was killed elects another first. RabbitMQ 3.10 refuses messages to it meanwhile, and
    // then all messages of the same channel; 4.3 may leave these without an answer.
    await until('publishes are confirmed again', () => publishes.confirmed.size > size + 100, {
      timeout: SILENT + 60_000,
    })
    await publishes.stop()
    assert.notEqual(publisher.peer.port, victim.port)
    watch.checkQuick()
    const received = await drain(publisher, 'load')
    publishes.check(received)
    publishes.checkAllConfirmed()
    const firsts = [...new Set(received)]
    assert.deepEqual(
      firsts,
      Array.from({ length: publishes.offered }, (_, n) => n),
      'in order',
    )
    await consumes.untilAcked(1_000).catch(async (error: Error) => {
      // RabbitMQ 4.3 may lose deliveries to a channel, and its acks, when the queue changes its leader. It mostly has them again
      // when the channel is closed.
      if (!String(worker.serverProperties['version']).startsWith('4.')) throw error
      t.diagnostic(error.message)
      await working.close()
      await consumes.start(await worker.channel(), 'work')
      await consumes.untilAcked(1_000)
    })
    t.diagnostic(
      `${watch}; longest gap between confirms ${publishes.longestGap.toFixed(0)} ms; all ${publishes.offered} confirmed, ${received.length - firsts.length} of them there more than once`,
    )
  })

  it('has no majority for a while: a publisher that retries nacks waits for it, and none is refused', async t => {
    const [stays, victim] = cluster.nodes.filter(({ pid }) => pid !== undefined)
    assert.ok(stays !== undefined && victim !== undefined)
    await using protocol = await connect(stays.url)
    await using publisher = await protocol.publisher({ onNack: 'retry' })
    const to: Pick<Channel, 'publish'> = {
      publish: (payload, _exchange, routingKey, properties) => publisher.publish(payload, routingKey, properties),
    }
    using publishes = new PublishLoad(to, QUEUE, RATE)
    await sleep(500)
    await victim.kill()
    await sleep(WITHOUT_MAJORITY)
    const waiting = publishes.pending
    await victim.start()
    await until('publishes are confirmed as they are made', () => publishes.pending < RATE, {
      timeout: SILENT + 60_000,
    })
    await publishes.stop()
    const received = await drain(protocol, QUEUE)
    publishes.check(received)
    publishes.checkAllConfirmed()
    t.diagnostic(
      `${waiting} of ${publishes.offered} waited; longest gap between confirms ${publishes.longestGap.toFixed(0)} ms; ` +
        `${received.length - publishes.offered} there more than once`,
    )
  })
})
