import type { AmqpProtocol, BasicProperties, Channel, GetEnvelope } from '../../../src/index.ts'
import type { VirtualClock } from '../../support/virtual-clock.ts'
import type { Journal } from '../journal.ts'
import type { Step } from '../steps.ts'
import type { Entities } from './entities.ts'
import type { Running } from './running.ts'

export type StepOf<D extends Step['do']> = Extract<Step, { do: D }>

/** What a program lends to its parts. */
export interface Desk {
  readonly number: number
  /** Undefined while it is closed. */
  readonly protocol: AmqpProtocol | undefined
  /** When its connection was lost last. */
  readonly lostAt: number
  /** When that for publishes was lost last, or the one that they wait for. */
  readonly publishesLostAt: number
  readonly clock: VirtualClock
  readonly journal: Journal
  readonly entities: Entities
  /** It outlives all that it bounds. */
  readonly longSignal: AbortSignal
  readonly running: Running[]
  /** It has so few channel numbers that it must keep none. */
  readonly isTight: boolean
  /** A consumer has begun, perhaps on a connection that was closed meanwhile. */
  runs(protocol: AmqpProtocol | undefined, running: Running): void
  /** A channel by its purpose; a new one if it was closed. */
  channel(name: string, publisherConfirms?: boolean): Promise<Channel>
  /** Its end is all that counts. */
  forget(what: string, promise: Promise<unknown>): void
  sleep(milliseconds: number): Promise<void>
  /** A signal that is aborted after so long; the long one if it is not to be. */
  signalAfter(milliseconds: number | undefined): AbortSignal
  /** The id of a message, whose body and properties must be its own. */
  idOf(body: Buffer, properties: BasicProperties, envelope: GetEnvelope): string
}
