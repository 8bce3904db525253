import { notSent } from '../../channel/publish/message.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import type { DefaultPublishers } from '../publish/default-publishers.ts'
import { Codecs } from './codecs.ts'
import { Encoder } from './encoder.ts'
import { EncodingQueue } from './encoding-queue.ts'
import { schemaOption } from './fit.ts'
import type { TypedPublishOptions } from './publish-options.ts'

/** `protocol.publish` with a `schema` or `codecs`. */
export class TypedPublishing {
  readonly #source: ChannelSource
  readonly #publishers: Pick<DefaultPublishers, 'publish' | 'publisherTo'>
  /** By exchange, while something waits. */
  readonly #queues = new Map<string, EncodingQueue>()

  constructor(source: ChannelSource, publishers: Pick<DefaultPublishers, 'publish' | 'publisherTo'>) {
    this.#source = source
    this.#publishers = publishers
  }

  async publish(
    payload: unknown,
    exchangeName: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    { schema, codecs, ...options }: TypedPublishOptions,
  ): Promise<void> {
    let encoder: Encoder
    try {
      encoder = new Encoder(schemaOption('publish', schema), new Codecs('publish', codecs))
    } catch (error) {
      throw notSent(error)
    }
    const queue = this.#queues.get(exchangeName) ?? new EncodingQueue(this.#source, this.#source.publishTimeout)
    this.#queues.set(exchangeName, queue)
    try {
      const message = { payload, exchange: exchangeName, routingKey, properties, options }
      const publisher = this.#publishers.publisherTo(exchangeName)
      await queue.publish(encoder, message, publisher, (encoded, bounded, timeLeft) =>
        this.#publishers.publish(encoded.payload, exchangeName, routingKey, encoded.properties, bounded, timeLeft),
      )
    } finally {
      // Another one may have taken its place, in which others wait.
      if (queue.waiting === 0 && this.#queues.get(exchangeName) === queue) this.#queues.delete(exchangeName)
    }
  }
}
