import { BrokerEngine } from '../../src/broker/broker.ts'
import type { ReleaseName } from '../../src/broker/release-name.ts'
import { systemClock } from '../../src/lib/clock.ts'
import * as methods from '../../src/protocol/methods.ts'
import { ControlClient } from './control-client.ts'
import { FrameClient } from './frame-client.ts'
import { differsByFirstQueue } from './limited-channels.ts'
import { firstAfterLostActive } from './lost-active.ts'
import { type Log, Run } from './run.ts'
import { type SequenceOptions, type Step, sequence } from './sequence.ts'

/** Kinds of sequences, with their share in all; `together` of them run at once: they do not meet, and mostly wait. */
export const KINDS = [
  { name: 'classic queues', types: ['classic'], expires: false, share: 0.6, together: 20 },
  { name: 'quorum queues', types: ['classic', 'quorum'], expires: false, share: 0.2, together: 20 },
  { name: 'streams', types: ['stream', 'classic'], expires: false, share: 0.15, together: 20 },
  { name: 'what expires', types: ['classic'], expires: true, share: 0.05, together: 20 },
] as const

const STEPS = 40
/** How much longer a sequence that differed waits when it runs again, without knowing what comes. */
const PATIENT = 10

/** Where RabbitMQ and our broker do not answer alike. */
export interface Difference {
  readonly seed: number
  /** What was done up to there, and what came back the last time. */
  readonly report: string
}

interface Comparison {
  readonly steps: number
  /** Steps that were answered alike: all of them, or those in front of a difference that is a matter of chance. */
  readonly compared: number
  readonly difference?: Difference
}

interface Comparing extends SequenceOptions {
  readonly seed: number
  readonly url: string
  readonly release: ReleaseName
  readonly control: ControlClient
}

/** What came of many sequences. */
export interface Comparisons {
  sequences: number
  steps: number
  compared: number
  /** Those that differed, but not when they ran again with more time: RabbitMQ had not done yet what it had answered. */
  late: number
  readonly differences: Difference[]
}

/** Runs sequences of one kind, those of `count` seeds from the `first` on, on the RabbitMQ of `url` and on our broker. */
export async function compareMany(
  { name, types, expires, together }: (typeof KINDS)[number],
  url: string,
  release: ReleaseName,
  first: number,
  count: number,
): Promise<Comparisons> {
  const all: Comparisons = { sequences: 0, steps: 0, compared: 0, late: 0, differences: [] }
  const inFront = `sequence-${process.pid}-${name[0]}-`
  let next = first
  const work = async (worker: number) => {
    const control = new ControlClient(url, `${inFront}control-${worker}`)
    while (next < first + count) {
      const seed = next++
      const comparing = { seed, url, release, control, steps: STEPS, prefix: `${inFront}${seed}-`, types, expires }
      const first = await compare(comparing, 1)
      const { steps, compared, difference } = first.difference === undefined ? first : await compare(comparing, PATIENT)
      all.sequences++
      if (first.difference !== undefined && difference === undefined) all.late++
      all.steps += steps
      all.compared += compared
      if (difference !== undefined) all.differences.push(difference)
    }
    await control.end()
  }
  await Promise.all(Array.from({ length: together }, (_, worker) => work(worker)))
  return all
}

/** Runs the sequence of a seed on both. */
async function compare({ seed, url, release, control, ...options }: Comparing, patience: number): Promise<Comparison> {
  const engine = new BrokerEngine({
    clock: systemClock,
    release,
    users: { guest: { password: 'guest' } },
    vhosts: ['/'],
    limits: { channelMax: 2047, frameMax: 131_072, heartbeat: 60 },
  })
  const steps = sequence(seed, options)
  const { prefix, expires, types } = options
  const kind = types.find(type => type !== 'classic') ?? 'classic'
  const own = new Run(() => FrameClient.enter(engine), prefix, { kind, expires, patience: 1 })
  const ours = await own.run(steps)
  engine.stop()
  // After the last step everything is waited for: what came late of those before it is seen at one of those after it.
  const expected = patience === 1 ? own.counts.slice(0, -1) : undefined
  const rabbit = new Run(() => FrameClient.connect(url), prefix, { kind, expires, patience, control, expected })
  const theirs = await rabbit.run(steps)
  const at = steps.findIndex((_, index) => !same(theirs[index], ours[index]))
  // Which of two queues gives its message to a channel first is a matter of chance; from there on the tags differ.
  const compared = at === -1 ? steps.length : at
  const isAnyOrder = same(inAnyOrder(theirs[at]), inAnyOrder(ours[at]))
  if (at === -1 || (isAnyOrder && same(undelivered(theirs[at]), undelivered(ours[at]))))
    return { steps: steps.length, compared }
  const isAnyQueues = release === '3.10' && differsByFirstQueue(steps, theirs, ours, at)
  const isChunk = release === '3.10' && kind === 'stream' && hasMoreOfStream(theirs[at], ours[at])
  const isLast =
    startsAtLastChunk(steps, at) && same(undelivered(inAnyOrder(theirs[at])), undelivered(inAnyOrder(ours[at])))
  const isCancelled = release === '4.3' && cancelsAtCommit(steps, theirs, ours, at)
  const isPushedOut = kind === 'quorum' && differsByPushedOut(steps, theirs, ours, at)
  const isLost = release === '4.3' && at >= firstAfterLostActive(steps, theirs)
  const isBroken = breaksOnType(steps, theirs, at) || (release === '3.10' && breaksOnTag(steps, theirs, at))
  if (isAnyQueues || isChunk || isLast || isCancelled || isPushedOut || isLost || isBroken || at >= rabbit.chanceFrom)
    return { steps: steps.length, compared }
  return { steps: steps.length, compared, difference: { seed, report: report(steps, theirs, ours, at) } }
}

/** A channel of RabbitMQ that got messages from a queue breaks on one of its name that has another type. */
function breaksOnType(steps: readonly Step[], theirs: Log, at: number): boolean {
  if (theirs[at]?.some(line => line.includes('connection.close {"replyCode":541,')) !== true) return false
  const name = /"(?:queueName|key)":"[^"]+"/.exec(steps[at]?.text ?? '')?.[0].split(':')[1]
  const isDeclared = ({ method, text }: Step, index: number) =>
    method === methods.QueueDeclare &&
    text.includes(`"queueName":${name},`) &&
    theirs[index]?.some(line => line.includes('channel.close')) === false
  const types = steps
    .slice(0, at)
    .filter(isDeclared)
    .map(({ text }) => /"x-queue-type":"\w+"/.exec(text)?.[0] ?? 'classic')
  return new Set(types.map(type => type.replace('"x-queue-type":"classic"', 'classic'))).size > 1
}

/** A channel of RabbitMQ 3.10 breaks on what a consumer of a quorum queue gets that has the tag of one with unacked messages. */
function breaksOnTag(steps: readonly Step[], theirs: Log, at: number): boolean {
  const [connection] = theirs[at]?.find(line => line.includes('connection.close {"replyCode":541,')) ?? ''
  const consumed = steps.slice(0, at + 1).flatMap(step => {
    const isIts = step.method === methods.BasicConsume && String(step.connection) === connection
    const named = /"queueName":"[^"]+","consumerTag":"[^"]+"/.exec(step.text)?.[0]
    return isIts && named !== undefined ? `${step.channel} ${named}` : []
  })
  return new Set(consumed).size < consumed.length
}

/** What was sent together is one chunk, if RabbitMQ had it together: the last one may begin before the last message. */
function startsAtLastChunk(steps: readonly Step[], at: number): boolean {
  return steps[at]?.text.includes('"x-stream-offset":"last"') === true
}

/** A chunk of a stream is given as a whole: what comes before the offset in it, and what is more than the consumer may have. */
function hasMoreOfStream(theirs: readonly string[] = [], ours: readonly string[] = []): boolean {
  const [untagged, own] = [inAnyOrder(theirs), inAnyOrder(ours)]
  const more = untagged.filter(line => !own.includes(line))
  return own.every(line => untagged.includes(line)) && more.every(line => line.includes('"x-stream-offset'))
}

/** A commit for a queue that was deleted and declared again cancels the consumers that the channel has of the new one. */
function cancelsAtCommit(steps: readonly Step[], theirs: Log, ours: Log, at: number): boolean {
  const others = theirs[at]?.filter(line => !line.includes(' basic.cancel {'))
  return steps[at]?.method === methods.TxCommit && same(others, ours[at])
}

/** What one of several messages that are sent together pushes out of a queue may come to another one before or after the rest. */
function differsByPushedOut(steps: readonly Step[], theirs: Log, ours: Log, at: number): boolean {
  const [their = [], our = []] = [theirs[at], ours[at]]
  const isDelivery = (line = '') => / basic\.(?:get-ok|deliver) /.test(line)
  const isPushedOut = (line = '') => line.includes('"reason":"maxlen"')
  const isEither = (line: string, index: number) =>
    line === our[index] || (isDelivery(line) && isDelivery(our[index]) && isPushedOut(line) !== isPushedOut(our[index]))
  const isTogether = steps.slice(0, at + 1).some(({ several }) => several === true)
  return isTogether && their.length === our.length && their.every(isEither)
}

function inAnyOrder(lines: readonly string[] = []): readonly string[] {
  return lines.map(line => line.replace(/"deliveryTag":\d+/, '')).sort()
}

/** Everything comes in a certain order but deliveries, and the ends of consumers that the server named: that of their names. */
function undelivered(lines: readonly string[] = []): readonly string[] {
  return lines.filter(line => !/ basic\.(?:deliver|cancel {"consumerTag":"server-named-)/.test(line))
}

function same(one: readonly string[] | undefined, other: readonly string[] | undefined): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function report(steps: readonly Step[], theirs: Log, ours: Log, at: number): string {
  const before = steps.slice(0, at + 1).map((step, index) => {
    const lines = index === at ? [] : (theirs[index] ?? []).map(line => `        ${line}`)
    return [`  ${step.connection}.${step.channel} ${step.text}`, ...lines].join('\n')
  })
  const shown = (log: Log) => (log[at] ?? []).map(line => `        ${line}`).join('\n')
  return `${before.join('\n')}\n    RabbitMQ:\n${shown(theirs)}\n    ours:\n${shown(ours)}`
}
