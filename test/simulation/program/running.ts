import type { Consuming } from '../journal.ts'

/** A consumer that a program runs. */
export interface Running {
  readonly consuming: Consuming
  /** It takes every message, however long that lasts: its queue must run empty. */
  readonly takesAll: boolean
  pause?(): void
  resume?(): void
  stop(): Promise<void>
}
