import * as methods from '../../src/protocol/methods.ts'
import type { Log } from './run.ts'
import type { Step } from './sequence.ts'

interface Standing {
  readonly channel: string
  readonly queueName: string
  readonly priority: number
}

/**
 * The first step after which RabbitMQ 4.3 may give the messages of a quorum queue to no client: a channel was gone whose
 * consumer one of a higher priority waited for, and is taken for a consumer that waits.
 */
export function firstAfterLostActive(steps: readonly Step[], log: Log): number {
  const singleActive = new Set<string>()
  let standing: Standing[] = []
  for (const [index, { method, connection, channel, text }] of steps.entries()) {
    const [, queueName = ''] = /"queueName":"([^"]*)"/.exec(text) ?? []
    const [, priority = 0] = /"x-priority":(-?\d+)/.exec(text) ?? []
    const ofQuorum = text.includes('"x-queue-type":"quorum"') && text.includes('"x-single-active-consumer":true')
    if (method === methods.QueueDeclare && ofQuorum) singleActive.add(queueName)
    if (method === methods.BasicConsume && singleActive.has(queueName)) {
      standing.push({ channel: `${connection}.${channel}`, queueName, priority: Number(priority) })
    }
    const isGone = (one: Standing) =>
      log[index]?.some(line =>
        [`${one.channel} channel.close`, `${one.channel.split('.')[0]} has ended`].some(end => line.startsWith(end)),
      ) === true
    const isOutranked = (one: Standing) =>
      standing.some(({ queueName: name, priority: higher }) => name === one.queueName && higher > one.priority)
    if (standing.some(one => isGone(one) && isOutranked(one))) return index + 1
    standing = standing.filter(one => !isGone(one))
  }
  return Number.POSITIVE_INFINITY
}
