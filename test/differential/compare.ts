import type { ReleaseName } from '../../src/broker/release.ts'
import { startBroker } from '../../src/testing/index.ts'
import type { ControlClient } from './control-client.ts'
import { type Log, Run } from './run.ts'
import { type SequenceOptions, type Step, sequence } from './sequence.ts'

/** Where RabbitMQ and our broker do not answer alike. */
export interface Difference {
  readonly seed: number
  /** What was done up to there, and what came back the last time. */
  readonly report: string
}

/** What came of a sequence. */
export interface Comparison {
  readonly steps: number
  /** Steps that were answered alike: all of them, or those in front of a difference that is a matter of chance. */
  readonly compared: number
  readonly difference?: Difference
}

/** Runs the sequence of a seed on both. */
export async function compare(
  seed: number,
  rabbitUrl: string,
  release: ReleaseName,
  options: SequenceOptions,
  control: ControlClient,
): Promise<Comparison> {
  await using broker = await startBroker({ release })
  const steps = sequence(seed, options)
  const slow = options.types.some(type => type !== 'classic')
  const { prefix, expires } = options
  const [theirs, ours] = await Promise.all([
    new Run(rabbitUrl, prefix, { slow, expires, control }).run(steps),
    new Run(broker.url, prefix, { slow, expires }).run(steps),
  ])
  const at = steps.findIndex((_, index) => !same(theirs[index], ours[index]))
  // Which of two queues gives its message to a channel first is a matter of chance; from there on the tags differ.
  const compared = at === -1 ? steps.length : at
  if (at === -1 || same(inAnyOrder(theirs[at]), inAnyOrder(ours[at]))) return { steps: steps.length, compared }
  return { steps: steps.length, compared, difference: { seed, report: report(steps, theirs, ours, at) } }
}

function inAnyOrder(lines: readonly string[] = []): readonly string[] {
  return lines.map(line => line.replace(/"deliveryTag":\d+/, '')).sort()
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
