import type { AsyncScope } from '../../lib/platform.ts'
import type { Envelope } from '../../protocol/envelope.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { Acker } from './acker.ts'
import type { StreamPosition } from './stream-position.ts'

/** The figures of a sink whose owner gives none itself. */
export interface SinkFigures {
  readonly handlersRunning: number
  readonly concurrency: number
  readonly buffered: number
}

/**
 * Takes the deliveries of one consumer: the only place where they wait between the socket and the program's code. It
 * outlives the lives of its channel. `attach` begins one; `lost` or `cancelled` ends it.
 */
export interface DeliverySink {
  readonly queueName: string
  /** The broker has forgotten a message once it is sent: whatever arrived is run, also after a loss or a cancel. */
  readonly noAck: boolean
  /** The intent level has it: once cancelled, it is started again on another channel. */
  readonly isRestarted?: boolean
  /** The program's code runs in the asynchronous context in which it was registered: `deliver` is called in this one. */
  readonly context: AsyncScope
  /** Deliveries from now on are settled by `acker`, and come by its connection. */
  attach(acker: Acker): void
  /** `basicConsume` has resolved: the program's code may run. */
  start(): void
  deliver(body: Buffer, envelope: Envelope, properties: Properties): void
  /** A message was not taken into memory, for `error`. Returns whether it is reported. */
  refused?(error: Error, properties: Properties): boolean
  /** The broker sends nothing more: waiting deliveries are given back. Later deliveries are given back, too. */
  cancelled(): void
  /**
   * The life of the channel that `acker` settled for is over: the broker has its waiting deliveries back. `recovers` if
   * another life will consume for it.
   */
  lost(reason: Error, recovers: boolean, acker: Acker): void
  /** All waiting deliveries are dropped; no more code of the program is started. */
  discard(): void
  /** Resolves when none of the program's code runs, and none will. */
  idle(): Promise<void>
  readonly figures?: SinkFigures
}

/** One consumer of a channel. Its identity, and not its tag, distinguishes it from one that has the tag later. */
export interface Consumer {
  readonly tag: string
  readonly sink: DeliverySink
  /** How far it has come in its queue, if that is a stream. */
  readonly position: StreamPosition
}

/** What a waiting delivery costs beside its bytes. */
const DELIVERY_OVERHEAD = 256

/** The number of bytes for which a waiting delivery counts. */
export function heldBytes(body: Buffer, properties: Properties): number {
  return body.length + (properties.wireEnd - properties.wireStart) + DELIVERY_OVERHEAD
}
