import { EncodeError, MessageReturnedError, PublishFailedError } from 'asyncamqp'
import { Channel } from './channel.ts'
import { checked, mandatory, type PublishOptions } from './messages.ts'

type Confirmed = (error: Error | null) => void

/** A channel in confirm mode: publishes take a callback, which is called when the broker has confirmed or refused. */
export class ConfirmChannel extends Channel {
  readonly #unconfirmed = new Set<{ readonly confirmed: Confirmed | undefined; readonly settled: Promise<void> }>()
  /** Messages without a callback that were not confirmed when the channel was closed. */
  #lost = 0

  protected override get isConfirming(): boolean {
    return true
  }

  get unconfirmed(): readonly unknown[] {
    return Array.from(this.#unconfirmed)
  }

  override publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    options?: PublishOptions,
    confirmed?: Confirmed,
  ): boolean {
    const channel = this.opened()
    const properties = checked(content, options)
    const sent = channel.publish(content, exchange ?? '', routingKey ?? '', properties, mandatory(options))
    const settled = sent.catch(error => {
      // The broker confirms what it returns; the event `return` comes by another way.
      if (!(error instanceof MessageReturnedError)) throw confirmError(error)
    })
    const message = { confirmed, settled }
    this.#unconfirmed.add(message)
    return this.taken(settled, error => {
      // The end of the channel may have been first.
      if (this.#unconfirmed.delete(message)) callNow(confirmed, error as Error | null)
    })
  }

  override sendToQueue(queue: string, content: Buffer, options?: PublishOptions, confirmed?: Confirmed): boolean {
    return this.publish('', queue, content, options, confirmed)
  }

  async waitForConfirms(): Promise<void> {
    if (this.#lost > 0) throw new Error('channel closed')
    await Promise.all(Array.from(this.#unconfirmed, ({ settled }) => settled))
  }

  protected override lost(): void {
    const all = Array.from(this.#unconfirmed)
    this.#unconfirmed.clear()
    this.#lost = all.filter(({ confirmed }) => confirmed === undefined).length
    for (const { confirmed } of all) callNow(confirmed, new Error('channel closed'))
  }
}

function confirmError(error: unknown): unknown {
  if (error instanceof PublishFailedError) return new Error('message nacked')
  return error instanceof EncodeError ? error : new Error('channel closed')
}

/** An error of the program's is not this promise's to reject with. */
function callNow(callback: Confirmed | undefined, error: Error | null): void {
  try {
    callback?.(error)
  } catch (thrown) {
    process.nextTick(() => {
      throw thrown
    })
  }
}
