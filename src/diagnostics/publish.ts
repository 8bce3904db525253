import { MessageReturnedError, PublishFailedError } from '../errors.ts'
import { plainProperties } from '../protocol/plain-properties.ts'
import type { BasicProperties } from '../protocol/properties.ts'
import type { FieldTable } from '../protocol/values.ts'
import { WireTypes } from '../protocol/wire-types.ts'
import { Operation } from './operation.ts'
import { type EndpointSource, ServerContext } from './server-context.ts'

/**
 * How a publish ended:
 *
 * - `'confirmed'`: the broker has it.
 * - `'sent'`: it was written, and nobody waited for a confirm.
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

/** @internal One that nobody keeps a record of was written once. */
export const WRITTEN_ONCE: TracedPublish = { writes: 1, tag: 0 }

/** @internal */
export interface PublishSource extends EndpointSource {
  /** Of the channel that messages are written to, or were written to last. */
  readonly channelId: number | undefined
}

/** What subscribers to `asyncamqp:publish` get: one message, from the call to its confirm, return, nack or error. */
export class PublishContext extends ServerContext {
  /** `''` is the default exchange. */
  readonly exchangeName: string
  readonly routingKey: string
  /** Bytes. */
  readonly bodySize: number
  readonly mandatory: boolean
  /** It waits for the broker's confirm. */
  readonly confirmed: boolean
  /** What the program gave, and nobody else's to change; headers are added to `headers`. */
  readonly properties: BasicProperties | undefined
  /** The number of the channel that it was written to last; undefined until it has ended. */
  channelId: number | undefined = undefined
  /** Undefined until it has ended. */
  outcome: PublishResult | undefined = undefined
  /** @internal */
  declare readonly source: PublishSource
  /** @internal */
  message: TracedPublish | undefined = undefined
  /** @internal */
  ownHeaders: FieldTable | undefined = undefined

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
    super(source)
    this.exchangeName = exchangeName
    this.routingKey = routingKey
    this.bodySize = sizeOf(payload)
    this.properties = properties
    this.mandatory = mandatory
    this.confirmed = confirmed
  }

  /**
   * The headers that are sent: a table of the message's own, made when it is first asked for. What a subscriber to `start`
   * adds or changes in it is sent with the message, and with each time that it is sent again.
   */
  get headers(): FieldTable {
    this.ownHeaders ??= headersOf(this.properties)
    // What cannot be copied is refused when the message is encoded.
    return this.ownHeaders ?? {}
  }

  get messageId(): string | undefined {
    return textOf(this.properties, 'messageId')
  }

  get correlationId(): string | undefined {
    return textOf(this.properties, 'correlationId')
  }

  get replyTo(): string | undefined {
    return textOf(this.properties, 'replyTo')
  }

  /** How often it was written: more than once after a lost connection or a closed channel. */
  get attempts(): number {
    return this.message?.writes ?? 0
  }

  /** Its number on its channel, where it was written last; undefined if the broker does not confirm it. */
  get deliveryTag(): number | undefined {
    return this.message?.tag || undefined
  }

  /** @internal What to send. */
  get sent(): BasicProperties | undefined {
    const { properties, ownHeaders } = this
    if (ownHeaders === undefined) return properties
    for (const _ in ownHeaders) return { ...plainProperties(properties ?? {}), headers: ownHeaders }
    return properties
  }

  /** @internal */
  succeeded(): void {
    this.#learnChannel()
    this.outcome = this.confirmed ? 'confirmed' : 'sent'
  }

  /** @internal */
  failed(error: unknown): void {
    this.#learnChannel()
    this.error = error
    this.outcome = resultOf(error, this.attempts)
  }

  #learnChannel(): void {
    this.channelId = this.attempts === 0 ? undefined : this.source.channelId
  }
}

function resultOf(error: unknown, attempts: number): PublishResult {
  if (error instanceof MessageReturnedError) return 'returned'
  if (error instanceof PublishFailedError) return 'nacked'
  const { outcome } = error as { readonly outcome?: PublishResult | undefined }
  return outcome ?? (attempts === 0 ? 'notSent' : 'unknown')
}

function sizeOf(payload: unknown): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload)
  return payload instanceof Uint8Array ? payload.length : 0
}

/** A copy; undefined where what was given is no table. The properties are the program's, and may have getters that throw. */
function headersOf(properties: unknown): FieldTable | undefined {
  if (properties === undefined) return {}
  try {
    const { headers } = properties as BasicProperties
    if (typeof properties !== 'object' || typeof (headers ?? {}) !== 'object') return undefined
    if (headers instanceof Map) return Object.fromEntries(headers)
    return WireTypes.copyOf(headers ?? {})
  } catch {
    return undefined
  }
}

function textOf(properties: BasicProperties | undefined, name: 'messageId' | 'correlationId' | 'replyTo') {
  try {
    const value: unknown = properties?.[name]
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}

/** @internal */
export const PUBLISH = new Operation<PublishContext>('publish')
