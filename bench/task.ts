import type { ClientName, ConnectOptions } from './clients/client.ts'
import type { Budget } from './measure.ts'
import type { Row, Work } from './rows.ts'

/** The task of a client process, which gets it as one argument. */
export interface Task {
  readonly client: ClientName
  readonly row: Row
  readonly url: string
  /** The certificate authority of a server with TLS (PEM). */
  readonly ca?: string | undefined
  readonly queueName: string
  readonly budget: Budget
  /** Count socket writes instead of measuring time. */
  readonly countWrites: boolean
  /** Messages that wait in the broker's queue, or twice as many as are published to it; 0 for the synthetic peer. */
  readonly waiting: number
}

/** The broker's queue that a task warms up with. */
export const warmUpQueue = (queueName: string): string => `${queueName}-warm-up`
export const warmUpShare = (waiting: number): number => Math.ceil(waiting / 4)

/** What it reports; figures that a row has not are left out. */
export interface TaskResult {
  readonly cpuMicros?: number
  readonly wallMicros?: number
  readonly gcShare?: number
  readonly messages?: number
  readonly peakMiB?: number
  readonly writesPerThousand?: number
  readonly p50Micros?: number
  readonly p99Micros?: number
  readonly latenessP99Millis?: number
  readonly grownMiB?: number
  readonly grownRssMiB?: number
  /** Of what is held: heap and buffers, and memory of the process. */
  readonly bytesEach?: number
  readonly rssBytesEach?: number
  /** All messages, the warm-up's too, for comparing with what the other end counted. */
  readonly total?: number
}

/** What a client process sends while it runs: how many messages it is ready to be given, and at last its result. */
export type TaskMessage = { readonly deliver: number } | { readonly result: TaskResult }

const PROMPT_WORK = new Set<Work>(['call', 'declare', 'channel', 'connect', 'first confirm', 'short program', 'turns'])

const CONFIRMED_WORK = new Set<Work>(['confirm', 'connections', 'first confirm', 'short program', 'turns'])

export const connectOptions = ({ ca, row: { frameMax, bodySize, work, holdConfirms, of } }: Task): ConnectOptions => ({
  frameMax,
  bodySize,
  prompt: PROMPT_WORK.has(work) || holdConfirms,
  confirms: CONFIRMED_WORK.has(work) || of === 'pending publishes',
  ca,
})
