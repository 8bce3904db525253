import { notSent } from '../../channel/publish/message.ts'
import { showing } from '../../lib/await-site.ts'
import { booleanOption, checkOptions, durationOption, signalOption } from '../../protocol/option-check.ts'
import { type BasicProperties, PUBLISH_OPTIONS } from '../../protocol/properties.ts'
import { isTyped } from '../typed/is-typed.ts'
import type { TypedPublishOptions } from '../typed/publish-options.ts'
import { isEncoded, type Payload, toJson, withJsonType, withPersistence } from './payload.ts'
import type { ReliablePublisher } from './reliable-publisher.ts'

/** Publishes with options that ask for a schema or codecs. */
export type PublishTyped = (
  payload: unknown,
  exchangeName: string,
  routingKey: string,
  properties: BasicProperties | undefined,
  options: TypedPublishOptions,
) => Promise<void>

/** What holds for all messages of one kind. */
export interface PublishDefaults {
  readonly mandatory: boolean
  readonly persistent: boolean
  /** The public method: errors show the line that called it. */
  readonly entry: (...message: never) => unknown
  readonly typed?: PublishTyped
}

/**
 * Publish as the intent level does: objects as JSON, persistent, with what the options say. `timeLeft` is what is left of
 * their timeout, if not all. Never throws.
 */
export function publishTo(
  publisher: ReliablePublisher,
  payload: Payload,
  exchangeName: string,
  routingKey: string,
  properties: BasicProperties | undefined,
  options: TypedPublishOptions | undefined,
  defaults: PublishDefaults,
  timeLeft?: number,
): Promise<void> {
  try {
    const { mandatory, typed } = defaults
    let sent = defaults.persistent ? withPersistence(properties) : properties
    if (isEncoded(payload) && options === undefined) {
      return publisher.publish(payload, exchangeName, routingKey, sent, mandatory, undefined)
    }
    if (typed !== undefined && isTyped(options)) {
      return typed(payload, exchangeName, routingKey, properties, options)
    }
    const body = isEncoded(payload) ? payload : toJson('publish', payload)
    if (body !== payload) sent = withJsonType(sent)
    checkOptions('publish', options, PUBLISH_OPTIONS)
    const wanted = booleanOption('publish', 'mandatory', options?.mandatory) ?? mandatory
    const signal = signalOption('publish', 'signal', options?.signal)
    const timeout = durationOption('publish', 'timeout', options?.timeout)
    const bounds = signal === undefined && timeout === undefined ? undefined : { signal, timeout, timeLeft }
    return publisher.publish(body, exchangeName, routingKey, sent, wanted, bounds)
  } catch (error) {
    return Promise.reject(showing(notSent(error), defaults.entry))
  }
}
