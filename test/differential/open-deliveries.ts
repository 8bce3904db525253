import * as methods from '../../src/protocol/methods.ts'

/** Delivery tags of a connection that are not settled, by channel, so that steps can settle what there is. */
export class OpenDeliveries {
  readonly #tags = new Map<number, Set<number>>()
  /** Channels that have had a consumer. */
  readonly #consuming = new Set<number>()
  /** Consumers whose messages need no settling, with their channels. */
  readonly #noAck = new Set<string>()
  /** Whether the next basic.get-ok of a channel, or its next consumer without a name, needs none. */
  readonly #nextNoAck = new Map<string, boolean>()

  /** Whether what one channel gives back may go to another one, or between what that gives back, if both end together. */
  get mix(): boolean {
    const having = [...this.#tags].flatMap(([channel, tags]) => (tags.size > 0 ? [channel] : []))
    return having.length > 0 && new Set([...having, ...this.#consuming]).size > 1
  }

  of(channel: number): readonly number[] {
    return [...(this.#tags.get(channel) ?? [])]
  }

  sent(channel: number, method: methods.AnyMethod, args: Readonly<Record<string, unknown>>): void {
    const tags = this.#tags.get(channel)
    const { deliveryTag, multiple, noAck, consumerTag } = args
    if (method === methods.BasicGet) this.#nextNoAck.set(`get ${channel}`, noAck === true)
    else if (method === methods.BasicConsume) {
      this.#consuming.add(channel)
      if (consumerTag === '') this.#nextNoAck.set(`consume ${channel}`, noAck === true)
      else if (noAck === true) this.#noAck.add(`${channel} ${consumerTag}`)
    } else if (method === methods.BasicRecover || method === methods.BasicRecoverAsync) tags?.clear()
    else if (method === methods.ChannelClose) this.channelGone(channel)
    else if (deliveryTag === 0 && multiple === true) tags?.clear()
    else if (typeof deliveryTag === 'number') {
      for (const tag of tags ?? []) if (tag === deliveryTag || (multiple && tag < deliveryTag)) tags?.delete(tag)
    }
  }

  received(channel: number, method: methods.AnyMethod, args: Readonly<Record<string, unknown>>): void {
    const noAck =
      method === methods.BasicGetOk
        ? this.#nextNoAck.get(`get ${channel}`) === true
        : this.#noAck.has(`${channel} ${args['consumerTag']}`)
    if (method === methods.BasicConsumeOk) {
      const named = this.#nextNoAck.get(`consume ${channel}`) === true && String(args['consumerTag']).startsWith('amq.')
      if (named) this.#noAck.add(`${channel} ${args['consumerTag']}`)
    } else if ((method === methods.BasicDeliver || method === methods.BasicGetOk) && !noAck) {
      const tags = this.#tags.get(channel) ?? new Set()
      this.#tags.set(channel, tags.add(Number(args['deliveryTag'])))
    }
  }

  channelGone(channel: number): void {
    this.#tags.delete(channel)
    this.#consuming.delete(channel)
    for (const one of this.#noAck) if (one.startsWith(`${channel} `)) this.#noAck.delete(one)
  }
}
