import * as methods from '../../src/protocol/methods.ts'
import type { Log } from './run.ts'
import type { Step } from './sequence.ts'

interface Asking {
  readonly queueName: string
  readonly noAck: boolean
}

/** What a step has sent, without the tag of its delivery. */
interface Sent {
  readonly channel: string
  readonly line: string
  /** The consumer that got it, if one did. */
  readonly consumer: Asking | undefined
}

/**
 * Whether a step differs only since other queues were the first to ask a channel for room that has a limit for all of its
 * consumers. A queue asks for each message: one that needs no ack takes no room, but goes out only while there is some. So
 * what needs an ack may come from any queue, and of the rest of a queue more or less.
 */
export function differsByFirstQueue(steps: readonly Step[], theirs: Log, ours: Log, at: number): boolean {
  const consumers = consumersBefore(steps, theirs, at)
  const [their, our] = [sent(theirs[at], consumers), sent(ours[at], consumers)]
  const both = [...their, ...our]
  const competed = new Set(
    [...limitedBefore(steps, theirs, at)].filter(channel => {
      const got = both.flatMap(one => (one.channel === channel ? (one.consumer ?? []) : []))
      return new Set(got.map(({ queueName }) => queueName)).size > 1 && got.some(({ noAck }) => !noAck)
    }),
  )
  const isFree = ({ channel, consumer }: Sent) => consumer?.noAck === true && competed.has(channel)
  const bound = (all: readonly Sent[]) =>
    all.flatMap(one => (isFree(one) ? [] : competed.has(one.channel) ? ofAnyConsumer(one.line) : one.line)).sort()
  const freeOf = (all: readonly Sent[], channel: string, queueName: string) =>
    all.flatMap(one => {
      const isIts = isFree(one) && one.channel === channel && one.consumer?.queueName === queueName
      return isIts ? ofAnyConsumer(one.line) : []
    })
  return (
    competed.size > 0 &&
    begins(bound(their), bound(our)) &&
    begins(bound(our), bound(their)) &&
    both.filter(isFree).every(({ channel, consumer }) => {
      const [one, other] = [their, our].map(all => freeOf(all, channel, consumer?.queueName ?? ''))
      return begins(one, other) || begins(other, one)
    })
  )
}

/** The consumers of channels, by channel and tag. A tag that the server made for one that did not ask for an answer is ''. */
function consumersBefore(steps: readonly Step[], log: Log, at: number): ReadonlyMap<string, Asking> {
  const consumers = new Map<string, Asking>()
  for (const [index, { method, connection, channel, text }] of steps.slice(0, at + 1).entries()) {
    if (method !== methods.BasicConsume) continue
    const receiver = `${connection}.${channel}`
    const answer = log[index]?.find(line => line.startsWith(`${receiver} basic.consume-ok`)) ?? text
    const [, tag = ''] = /"consumerTag":"([^"]*)"/.exec(answer) ?? []
    const [, queueName = ''] = /"queueName":"([^"]*)"/.exec(text) ?? []
    consumers.set(`${receiver} ${tag}`, { queueName, noAck: text.includes('"noAck":true') })
  }
  return consumers
}

/** Channels with a limit for all of their consumers. */
function limitedBefore(steps: readonly Step[], log: Log, at: number): ReadonlySet<string> {
  const limited = new Set<string>()
  for (const [index, { method, connection, channel, text }] of steps.slice(0, at + 1).entries()) {
    const receiver = `${connection}.${channel}`
    const isLimit = text.includes('"connectionGlobal":true') && !text.includes('"prefetchCount":0')
    if (method === methods.BasicQos && isLimit) limited.add(receiver)
    else if (method === methods.BasicQos) limited.delete(receiver)
    if (index === at) break
    for (const one of limited) {
      const ends = [`${one} channel.close`, `${one.split('.')[0]} has ended`]
      if (log[index]?.some(line => ends.some(end => line.startsWith(end)))) limited.delete(one)
    }
  }
  return limited
}

function sent(lines: readonly string[] = [], consumers: ReadonlyMap<string, Asking>): readonly Sent[] {
  return lines.map(line => {
    const [channel = ''] = line.split(' ')
    const [, tag] = / basic\.deliver {"consumerTag":"([^"]+)"/.exec(line) ?? []
    const consumer =
      tag === undefined ? undefined : (consumers.get(`${channel} ${tag}`) ?? consumers.get(`${channel} `))
    return { channel, line: line.replace(/"deliveryTag":\d+/, ''), consumer }
  })
}

function ofAnyConsumer(line: string): string {
  return line.replace(/"consumerTag":"[^"]+"/, '')
}

function begins(whole: readonly string[] = [], start: readonly string[] = []): boolean {
  return start.every((line, index) => whole[index] === line)
}
