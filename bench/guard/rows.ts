import type { ours, prototypes } from './programs.ts'

/** One row of the hot path, with what it cost when this was written. */
export interface GuardedRow {
  readonly name: string
  readonly ours: keyof typeof ours
  /** What it is measured in: the prototype's work that is most like it. */
  readonly prototype: keyof typeof prototypes
  /** Messages in a slice. */
  readonly count: number
  /** Time of a message, in multiples of the prototype's. */
  readonly times: number
  /** Bytes that a message allocates. */
  readonly bytes: number
}

export const ROWS: readonly GuardedRow[] = [
  { name: 'publish', ours: 'publish', prototype: 'publish', count: 1000, times: 1.4, bytes: 205 },
  { name: 'publish, properties', ours: 'publishProperties', prototype: 'publish', count: 500, times: 7.45, bytes: 343 },
  { name: 'confirm', ours: 'confirm', prototype: 'confirm', count: 500, times: 1.5, bytes: 525 },
  { name: 'protocol.publish', ours: 'protocolPublish', prototype: 'confirm', count: 500, times: 1.75, bytes: 525 },
  { name: 'consume', ours: 'consume', prototype: 'consume', count: 500, times: 1.75, bytes: 387 },
  { name: 'consume, properties', ours: 'consumeProperties', prototype: 'consume', count: 200, times: 10.2, bytes: 845 },
  { name: 'consume and ack', ours: 'consumeAndAck', prototype: 'consumeAndAck', count: 500, times: 1.75, bytes: 388 },
  { name: 'handler', ours: 'handler', prototype: 'consumeAndAck', count: 500, times: 1.95, bytes: 460 },
]

/** A row fails above this multiple of what is written down: half-way, as a factor, to half as much again. */
export const ROOM = 1.22
