import { type AmqpError, EncodeError, MessageReturnedError, PublishFailedError } from '../errors.ts'
import type { BasicProperties } from '../protocol/properties.ts'
import { Operation } from './operation.ts'
import { OutgoingContext } from './outgoing.ts'
import type { EndpointSource } from './server-context.ts'

/**
 * How a publish ended:
 *
 * - `'confirmed'`: the broker has it.
 * - `'sent'`: it was written, and no caller waited for a confirm.
 * - `'returned'`: it was mandatory, and no queue took it.
 * - `'nacked'`: the broker refused it.
 * - `'refused'`: the broker closed the channel over it.
 * - `'notSent'`: it was never written.
 * - `'unknown'`: it was written, and the broker may have it.
 */
export type PublishResult = 'confirmed' | 'sent' | 'returned' | 'nacked' | 'refused' | 'notSent' | 'unknown'

/** @internal A message on its way, as far as its context speaks of it. */
export interface TracedPublish {
  readonly writes: number
  readonly tag: number
}

/** @internal One without a record was written once. */
export const WRITTEN_ONCE: TracedPublish = { writes: 1, tag: 0 }

/** @internal */
export interface PublishSource extends EndpointSource {
  /** The channel to which messages are written, or were written last. */
  readonly channelId: number | undefined
}

/** What subscribers to `asyncamqp:publish` get: one message, from the call to its confirm, return, nack or error. */
export class PublishContext extends OutgoingContext {
  readonly mandatory: boolean
  /** It waits for the broker's confirm. */
  readonly confirmed: boolean
  /** The number of the channel that it was written to last; undefined until it has ended. */
  channelId: number | undefined = undefined
  /** Undefined until it has ended. */
  outcome: PublishResult | undefined = undefined
  /** A private field, since it has the body: a tool may print all fields of a context. */
  #message: TracedPublish | undefined = undefined

  /** @internal */
  constructor(
    source: PublishSource,
    payload: Uint8Array | string,
    exchangeName: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    confirmed: boolean,
  ) {
    super(source, payload, exchangeName, routingKey, properties)
    this.mandatory = mandatory
    this.confirmed = confirmed
  }

  /** @internal */
  isSentAs(message: TracedPublish): void {
    this.#message ??= message
  }

  /** How often it was written: more than once after a lost connection or a closed channel. */
  get attempts(): number {
    return this.#message?.writes ?? 0
  }

  /** Its number on the channel on which it was written last; undefined if the broker does not confirm it. */
  get deliveryTag(): number | undefined {
    return this.#message?.tag || undefined
  }

  /** @internal */
  succeeded(): void {
    ended(this, this.confirmed ? 'confirmed' : 'sent')
  }

  /** @internal */
  override failed(error: unknown): void {
    this.error = error
    ended(this, resultOf(error, this.attempts))
    if (error instanceof EncodeError && Object.isExtensible(error)) error.outcome ??= 'notSent'
  }
}

/** Not a method: a private one costs each object that is made. */
function ended(context: PublishContext, outcome: PublishResult): void {
  context.outcome = outcome
  if (context.attempts > 0) context.channelId = (context.source as PublishSource).channelId
}

/** @internal What the error of a publish says about its message. */
export function resultOf(error: unknown, attempts: number): Exclude<PublishResult, 'confirmed' | 'sent'> {
  if (error instanceof MessageReturnedError) return 'returned'
  if (error instanceof PublishFailedError) return 'nacked'
  const { outcome } = error as Partial<AmqpError>
  return outcome ?? (attempts === 0 ? 'notSent' : 'unknown')
}

/** @internal */
export const PUBLISH = new Operation<PublishContext>('publish')

/**
 * @internal Whether a publish is traced. A publish whose names are not strings rejects before it starts: subscribers rely
 * on them.
 */
export function tracesPublish(exchange: unknown, routingKey: unknown): boolean {
  return PUBLISH.active && typeof exchange === 'string' && typeof routingKey === 'string'
}
