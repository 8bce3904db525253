import type { PublishOptions } from '../../channel/options.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { showing } from '../../lib/await-site.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { Publisher, type PublisherOptions } from '../publish/publisher.ts'
import { Codecs } from './codecs.ts'
import { Encoder } from './encoder.ts'
import { EncodingQueue } from './encoding-queue.ts'
import { schemaOption } from './fit.ts'

/** A publisher with a `schema` or `codecs`. */
export class TypedPublisher<Content> extends Publisher<Content> {
  readonly #source: ChannelSource
  readonly #encoder: Encoder
  readonly #queue: EncodingQueue

  constructor(source: ChannelSource, options: PublisherOptions<Content>) {
    super(source, options)
    this.#source = source
    this.#encoder = new Encoder(schemaOption('publisher', options.schema), new Codecs('publisher', options.codecs))
    this.#queue = new EncodingQueue(source, options.publishTimeout ?? source.publishTimeout)
  }

  override async publish(
    payload: Content,
    routingKey: string,
    properties?: BasicProperties,
    options?: PublishOptions,
  ): Promise<void> {
    const { exchangeName: exchange } = this
    const message = { payload, exchange, routingKey, properties, options }
    try {
      await this.#queue.publish(this.#encoder, message, this.reliable, (encoded, bounded, timeLeft) =>
        this.publishEncoded(encoded.payload, routingKey, encoded.properties, bounded, timeLeft),
      )
    } catch (error) {
      throw showing(error, this.publish)
    }
  }

  protected override async closeWithin(timeout: number): Promise<void> {
    const { clock } = this.#source
    const start = clock.now()
    await this.#queue.close(timeout)
    await super.closeWithin(Math.max(0, timeout - (clock.now() - start)))
  }
}
