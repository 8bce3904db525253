import type { Channel, ReturnCallback } from '../../channel/channel.ts'
import type { CloseReason } from '../../channel/close-reason.ts'
import type { DeliverySink } from '../../channel/consume/delivery-sink.ts'
import { notSent, type Withdraw } from '../../channel/publish/message.ts'
import { DIRECT_REPLY_TO } from '../../channel/rabbitmq.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { type AmqpError, EncodeError, MessageReturnedError, ProtocolError } from '../../errors.ts'
import { ignore } from '../../lib/ignore.ts'
import { AsyncResource } from '../../lib/platform.ts'
import { asError } from '../../lib/thrown.ts'
import type { Envelope } from '../../protocol/envelope.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import { Message } from '../consume/message.ts'
import type { PendingCall } from './pending-call.ts'
import { remoteError } from './remote-error.ts'

/**
 * The calls of one life of a channel: replies come by the channel that the requests went by, so none can come when that
 * life is over.
 */
export class RpcChannel implements DeliverySink {
  readonly queueName = DIRECT_REPLY_TO
  readonly noAck = true
  readonly context = new AsyncResource('asyncamqp')
  /** Replies can come: one round trip. */
  readonly opened: Promise<void>
  readonly #calls = new Map<string, PendingCall>()
  readonly #over: () => void
  #channel: Channel | undefined
  #state: 'opening' | 'open' | 'over' = 'opening'

  /** `signal` ends the wait for a channel. `over` is called, never at once, when no call can be sent any more. */
  constructor(source: ChannelSource, signal: AbortSignal, over: () => void) {
    this.#over = over
    this.opened = this.#open(source, signal)
    // The first to learn of it: calls that have waited go before others.
    this.opened.then(() => {
      if (this.#state === 'opening') this.#state = 'open'
    }, ignore)
  }

  async #open(source: ChannelSource, signal: AbortSignal): Promise<void> {
    try {
      const channel = await source.openingChannel({
        what: 'rpcClient',
        publisherConfirms: true,
        recover: false,
        returnCallback: this.#returned,
        signal,
      })
      this.#channel = channel
      const consuming = channel.consumeInto(this, { noAck: true })
      const { session } = channel.recovering
      if (session !== undefined) session.onOver = ending => this.#ended(ending)
      // Its calls report why it was closed.
      channel.waitClosed().catch(ignore)
      await consuming
    } catch (error) {
      this.#end()
      void this.#channel?.close()
      throw error
    }
  }

  #end(): void {
    this.#state = 'over'
    this.#over()
  }

  /** Calls may be sent. */
  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get isOver(): boolean {
    return this.#state === 'over'
  }

  /** No caller waits for a reply. */
  get isIdle(): boolean {
    return this.#state === 'open' && this.#calls.size === 0
  }

  /** Publish the request of a call, once. */
  send(call: PendingCall): void {
    const { what, correlationId, exchangeName, routingKey, payload, properties } = call.request
    const channel = this.#channel
    if (channel === undefined) throw new Error('cannot send the call: its channel is not open yet')
    if (this.#calls.has(correlationId)) {
      const text = `${what}: correlationId "${correlationId}" is that of another call in flight`
      call.refuse(new EncodeError(text, { outcome: 'notSent' }))
      return
    }
    // First of all: the reply may come before the confirm.
    this.#calls.set(correlationId, call)
    call.sending()
    const failed = (thrown: unknown): void => {
      const error = notSent(thrown)
      // RabbitMQ changes the replyTo of a returned message, so that it may be matched to another publish with the same
      // content.
      if (isReturnOfAnother(error, correlationId)) call.confirmed()
      else call.publishFailed(error)
    }
    // Not with an AbortSignal, which costs as much as all the rest of a call.
    const withdrawnBy = (withdraw: Withdraw): void => call.withdrawnBy(withdraw)
    try {
      channel.recovering.publishing
        .publish(payload, exchangeName, routingKey, properties, true, { withdrawnBy })
        .then(() => call.confirmed(), failed)
    } catch (error) {
      failed(error)
    }
  }

  /** No caller waits for its reply any more. */
  forget(call: PendingCall): void {
    const { correlationId } = call.request
    if (this.#calls.get(correlationId) === call) this.#calls.delete(correlationId)
  }

  readonly #returned: ReturnCallback = (_channel, body, envelope, properties) => {
    const call = this.#calls.get(properties.correlationId ?? '')
    const { replyCode, replyText } = envelope
    const why = `no queue took the request: ${replyText} (${replyCode})`
    call?.refuse(
      new MessageReturnedError(`${call.request.what} failed: ${why}`, {
        replyCode,
        replyText,
        body,
        envelope,
        properties,
      }),
    )
  }

  // ---- replies, which are looked up by their correlation id: a late one is dropped

  deliver(body: Buffer, envelope: Envelope, properties: Properties): void {
    const call = this.#calls.get(properties.correlationId ?? '')
    if (call === undefined) return
    const reply = new Message(body, envelope, properties, undefined)
    try {
      const error = remoteError(reply)
      if (error !== undefined) call.refuse(error)
      else {
        // It is answered, whatever becomes of the channel while the reply is decoded.
        this.forget(call)
        call.answer(reply)
      }
    } catch (error) {
      call.refuse(asError(error))
    }
  }

  refused(error: Error, { correlationId = '' }: Properties): boolean {
    const call = this.#calls.get(correlationId)
    call?.refuse(
      new ProtocolError(`${call.request.what} failed: its reply was not taken: ${error.message}`, { cause: error }),
    )
    return call !== undefined
  }

  get isRestarted(): boolean {
    return true
  }

  attach(): void {}

  start(): void {}

  cancelled(): void {}

  lost(): void {}

  discard(): void {}

  idle(): Promise<void> {
    return Promise.resolve()
  }

  // ---- the end

  #ended(ending: CloseReason): void {
    this.#end()
    for (const call of [...this.#calls.values()]) {
      // Of several requests, only one that the broker is known to have refused is at fault.
      call.lost((what, outcome) => ending.errorFor(what, outcome === 'refused', outcome))
    }
  }

  /** Close the channel: no call waits for a reply by it any more. Never rejects. */
  async close(): Promise<void> {
    this.#state = 'over'
    await this.opened.catch(ignore)
    await this.#channel?.close()
  }
}

function isReturnOfAnother(error: AmqpError, correlationId: string): boolean {
  if (!(error instanceof MessageReturnedError)) return false
  const { correlationId: returned } = error.properties as BasicProperties
  return returned !== undefined && returned !== correlationId
}
