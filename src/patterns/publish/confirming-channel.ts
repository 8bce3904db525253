import type { Channel } from '../../channel/channel.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { ChannelClosedError, PublishFailedError } from '../../errors.ts'
import type { BasicProperties } from '../../protocol/properties.ts'

/** A channel in confirm mode that is opened when it is first needed, and again after the broker has closed it, or nacked. */
export class ConfirmingChannel {
  readonly #source: ChannelSource
  #channel: Promise<Channel> | undefined

  constructor(source: ChannelSource) {
    this.#source = source
  }

  /** Publish; resolves when the broker has confirmed it. */
  async publish(
    payload: Uint8Array | string,
    exchangeName: string,
    routingKey: string,
    properties: BasicProperties,
    options?: { readonly mandatory?: boolean },
  ): Promise<void> {
    const channel = await this.#open()
    try {
      await channel.publish(payload, exchangeName, routingKey, properties, options)
    } catch (error) {
      if (error instanceof PublishFailedError) void this.#leave(channel)
      throw error
    }
  }

  /**
   * Close the channel once nothing is pending on it, and open another for what comes: a quorum queue of RabbitMQ 3.10 that
   * nacked because it had no leader nacks all that this channel publishes to it.
   */
  async #leave(channel: Channel): Promise<void> {
    const opened = this.#channel
    if ((await opened?.catch(() => undefined)) !== channel || this.#channel !== opened) return
    this.#channel = undefined
    await channel.waitForConfirms().catch(() => {})
    await channel.close()
  }

  /**
   * Publish a copy of somebody else's message, which some queue must take. The broker closes the channel over a `userId`
   * that is not the login, and over a `replyTo` that stands for this channel: such a copy goes without.
   */
  async publishCopy(
    payload: Uint8Array,
    { exchangeName, routingKey }: { readonly exchangeName: string; readonly routingKey: string },
    properties: BasicProperties,
  ): Promise<void> {
    const options = { mandatory: true }
    try {
      await this.publish(payload, exchangeName, routingKey, properties, options)
    } catch (error) {
      const { userId, replyTo, ...others } = properties
      const without = userId !== undefined || replyTo !== undefined
      if (!without || !(error instanceof ChannelClosedError) || error.replyCode !== 406) throw error
      await this.publish(payload, exchangeName, routingKey, others, options)
    }
  }

  async #open(): Promise<Channel> {
    while (this.#channel !== undefined) {
      const known = this.#channel
      const channel = await known
      if (channel.isOpen) return channel
      if (this.#channel === known) this.#channel = undefined
    }
    const opening = this.#source.openingChannel({ publisherConfirms: true })
    this.#channel = opening
    opening.then(
      // Its publishes tell why it was closed.
      channel => channel.waitClosed().catch(() => {}),
      () => {
        if (this.#channel === opening) this.#channel = undefined
      },
    )
    return opening
  }

  /** Never rejects. */
  async close(): Promise<void> {
    const channel = await this.#channel?.catch(() => undefined)
    await channel?.close()
  }
}
