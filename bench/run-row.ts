import { readFileSync } from 'node:fs'
import { BrokerQueue } from './broker-queue.ts'
import type { ClientName } from './clients/client.ts'
import type { Budget } from './measure.ts'
import type { Workload } from './peer/workload.ts'
import { type Peer, type Runtime, runTask, startResponder } from './processes.ts'
import type { Row } from './rows.ts'
import { type Task, type TaskResult, warmUpQueue, warmUpShare } from './task.ts'

/** Where RabbitMQ is. */
export interface BrokerEnd {
  readonly url: string
  readonly tlsUrl?: string | undefined
  /** The certificate authority of its certificate (PEM). */
  readonly caFile?: string | undefined
}

export interface Surroundings {
  readonly peer: Peer
  readonly broker: BrokerEnd | undefined
  readonly budget: Budget
  readonly waiting: number
  /** What runs the clients; this Node.js if it is undefined. */
  readonly runtime?: Runtime | undefined
}

export interface RoundResult extends TaskResult {
  /** Share of the time in which the synthetic peer was busy. */
  readonly peerBusy?: number
}

let queues = 0

/** Measures one client at one row, once. */
export function runOnce(
  row: Row,
  client: ClientName,
  surroundings: Surroundings,
  countWrites = false,
): Promise<RoundResult> {
  const task = { client, row, budget: surroundings.budget, countWrites }
  return row.section === 'broker' ? againstBroker(task, surroundings) : againstPeer(task, surroundings)
}

type TaskStart = Omit<Task, 'url' | 'queueName' | 'waiting'>

async function againstPeer(task: TaskStart, { peer, runtime }: Surroundings): Promise<RoundResult> {
  const { row } = task
  const work: Workload = {
    confirm: row.confirm,
    confirmAfter: row.holdConfirms ? row.window : 1,
    bodySize: row.bodySize,
    json: row.json,
    withProperties: row.properties,
    deliveryFrameMax: row.frameMax,
    consumers: row.consumers,
  }
  await peer.prepare(work)
  const start = { ...task, url: peer.url, queueName: 'bench', waiting: 0 }
  const result = await runTask(start, count => peer.deliver(count), runtime)
  const stats = await peer.stats()
  if (result.total !== undefined && stats.published !== result.total) {
    throw new Error(`${task.client} at "${row.name}" published ${result.total}, and ${stats.published} came`)
  }
  return { ...result, peerBusy: stats.cpuMicros / stats.wallMicros }
}

async function againstBroker(task: TaskStart, { broker, waiting, runtime }: Surroundings): Promise<RoundResult> {
  if (broker === undefined) throw new Error('there is no broker')
  const { url: brokerUrl, tlsUrl, caFile } = broker
  const isTls = task.row.tls
  if (isTls && (tlsUrl === undefined || caFile === undefined)) throw new Error('the broker has no TLS')
  const end =
    isTls && tlsUrl !== undefined && caFile !== undefined
      ? { url: tlsUrl, ca: readFileSync(caFile, 'utf8') }
      : { url: brokerUrl }
  queues += 1
  const name = `asyncamqp-bench-${process.pid}-${queues}`
  const queue = await BrokerQueue.create(brokerUrl, name)
  const warmUp = await BrokerQueue.create(brokerUrl, warmUpQueue(name))
  const { work } = task.row
  const stopResponder = work === 'call' ? await startResponder(brokerUrl, queue.name) : undefined
  try {
    if (work === 'consume') {
      await queue.fill(task.row, waiting)
      await warmUp.fill(task.row, warmUpShare(waiting))
    }
    return await runTask({ ...task, ...end, queueName: queue.name, waiting }, () => undefined, runtime)
  } finally {
    stopResponder?.()
    await queue.delete()
    await warmUp.delete()
  }
}
