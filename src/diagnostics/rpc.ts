import type { AmqpError } from '../errors.ts'
import { IncomingContext } from './incoming.ts'
import { Operation } from './operation.ts'
import { OutgoingContext, sizeOf } from './outgoing.ts'
import { type PublishResult, resultOf } from './publish.ts'

/**
 * How a call ended: `'replied'`; `'failed'`, the server's handler threw, or its reply could not be read; else what became of
 * its request, of which `'unknown'` says that it was sent and no reply came.
 */
export type RpcCallResult = 'replied' | 'failed' | Exclude<PublishResult, 'confirmed' | 'sent'>

/** What subscribers to `asyncamqp:rpc.call` get: one call of an RPC client, from its request to its reply. */
export class RpcCallContext extends OutgoingContext {
  /** Bytes of the reply; undefined before it has come, and if the call failed. */
  replySize: number | undefined = undefined
  /** Undefined until it has ended. */
  outcome: RpcCallResult | undefined = undefined

  /** @internal */
  succeeded(): void {
    this.outcome = 'replied'
  }

  /** @internal */
  override failed(error: unknown): void {
    this.error = error
    // Errors without an outcome say that a reply has come.
    this.outcome = (error as Partial<AmqpError>).outcome === undefined ? 'failed' : resultOf(error, 1)
  }
}

/**
 * How the handling of a request ended: `'replied'`; `'failed'`, the handler threw, and a caller that waits got its error;
 * `'noReply'`, the request asked for none; `'notReplied'`, no reply could be sent, or the request will be answered by others.
 */
export type RpcHandleResult = 'replied' | 'failed' | 'noReply' | 'notReplied'

/** What subscribers to `asyncamqp:rpc.handle` get: one request, from its handler's call until the broker has its reply. */
export class RpcHandleContext extends IncomingContext {
  /** Bytes; undefined while the broker has no reply. */
  replySize: number | undefined = undefined
  /** Undefined until it has ended. */
  outcome: RpcHandleResult | undefined = undefined

  /** @internal The broker has the reply. */
  replied(payload: Uint8Array | string): void {
    this.replySize = sizeOf(payload)
  }

  /** @internal The handler threw: the caller will get its error. */
  handlerFailed(error: unknown): void {
    super.failed(error)
    this.outcome = 'failed'
  }

  /** @internal */
  succeeded(): void {
    if (this.outcome === 'failed') RPC_HANDLE.error.publish(this)
    else if (this.replyTo === undefined) this.outcome = 'noReply'
    else this.outcome = this.replySize === undefined ? 'notReplied' : 'replied'
  }

  /** @internal */
  override failed(error: unknown): void {
    if (this.error === undefined) super.failed(error)
    this.outcome = this.replyTo === undefined ? 'failed' : 'notReplied'
  }
}

/** @internal */
export const RPC_CALL = new Operation<RpcCallContext>('rpc.call')
/** @internal */
export const RPC_HANDLE = new Operation<RpcHandleContext>('rpc.handle')
