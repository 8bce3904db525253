import type { IncomingSource } from './incoming.ts'
import { Operation } from './operation.ts'
import { ServerContext } from './server-context.ts'

/** What subscribers to `asyncamqp:settle` get: one settlement of a delivery, or of all up to it. */
export class SettleContext extends ServerContext {
  readonly method: 'basic.ack' | 'basic.nack' | 'basic.reject'
  readonly channelId: number
  /** 0 with `multiple` stands for all. */
  readonly deliveryTag: number
  /** All deliveries of the channel up to this one are settled. */
  readonly multiple: boolean
  /** Back to its queue; of an ack false. */
  readonly requeue: boolean
  /** It was written; false for a delivery of an earlier life of the channel, and while it has not ended. */
  sent = false

  /** @internal */
  constructor(
    source: IncomingSource,
    how: 'ack' | 'nack' | 'reject',
    deliveryTag: number,
    multiple: boolean,
    requeue: boolean,
  ) {
    super(source)
    this.method = `basic.${how}`
    this.channelId = source.channelId
    this.deliveryTag = deliveryTag
    this.multiple = multiple
    this.requeue = requeue
  }

  /** @internal */
  settle(run: () => boolean): boolean {
    return SETTLE.sync(this, () => {
      this.sent = run()
      return this.sent
    })
  }

  /** @internal */
  succeeded(): void {}
}

/** @internal */
export const SETTLE = new Operation<SettleContext>('settle')
