import { Calls, type CallsHost } from '../channel/calls.ts'
import type { CloseReason } from '../channel/close-reason.ts'
import type { ChannelPort, FrameReceiver } from '../channel/port.ts'
import { ProtocolError } from '../errors.ts'
import { follow } from '../lib/call-safely.ts'
import { ignore } from '../lib/ignore.ts'
import { decodeMethod, encodeMethod } from '../protocol/method-codec.ts'
import {
  type AnyMethod,
  type ArgumentsOf,
  ConnectionBlocked,
  ConnectionClose,
  ConnectionCloseOk,
  ConnectionUnblocked,
  ConnectionUpdateSecret,
  ConnectionUpdateSecretOk,
  type DecodedOf,
} from '../protocol/methods.ts'
import type { HandshakePort, Negotiated } from './settings/handshake.ts'

/** What the methods of channel 0 mean to their connection. */
export interface ChannelZeroEvents {
  tuned(negotiated: Negotiated): void
  /** The broker blocks publishers for this reason; undefined when it no longer does. */
  blocked(reason: string | undefined): void
  /** connection.close came, and was answered. */
  serverClosed(close: DecodedOf<typeof ConnectionClose>): void
  /** connection.close-ok came. */
  closeAgreed(): void
}

/**
 * Methods that may come while the handshake waits for the program: none is due, but the server may close, and what comes right
 * after open-ok waits here, too.
 */
const MOST_EARLY = 100

interface Received {
  readonly method: AnyMethod
  readonly args: Record<string, unknown>
}

/** Channel 0 (§2.2.4): the handshake first, then the methods that are about the connection as a whole. */
export class ChannelZero implements HandshakePort, FrameReceiver, CallsHost {
  readonly #port: ChannelPort
  readonly #events: ChannelZeroEvents
  /** Of the attempt to connect. */
  waitingFor: (step: string) => void
  /** Those for a new secret. */
  calls: Calls | undefined
  /** Methods that the handshake has not taken yet, and its waiter; undefined once it is done. */
  #handshake: Received[] | undefined = []
  #receiver: { resolve(method: Received): void; reject(error: Error): void } | undefined
  /** Ends the wait for an answer of the program's. */
  #asking: ((error: Error) => void) | undefined
  #ending: CloseReason | undefined

  /** `waitingFor` is called with the name of the next awaited method, for the error of a timeout. */
  constructor(port: ChannelPort, events: ChannelZeroEvents, waitingFor: (step: string) => void) {
    this.#port = port
    this.#events = events
    this.waitingFor = waitingFor
  }

  // ---- the handshake

  receive(): Promise<Received> {
    const next = this.#handshake?.shift()
    if (next !== undefined) return Promise.resolve(next)
    if (this.#ending !== undefined) return Promise.reject(endedBy(this.#ending))
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject }
    })
  }

  ask<T>(step: string, question: () => T | PromiseLike<T>): Promise<T> {
    this.waitingFor(step)
    return new Promise((resolve, reject) => {
      if (this.#ending !== undefined) throw endedBy(this.#ending)
      this.#asking = reject
      const answer = question()
      if (!follow(answer, value => resolve(value as T), reject)) resolve(answer)
    })
  }

  tuned(negotiated: Negotiated): void {
    // It ended just after connection.tune: heartbeats would begin with no end.
    if (this.#ending !== undefined) throw endedBy(this.#ending)
    this.#events.tuned(negotiated)
  }

  /** The handshake is done. Bytes after its last method are read now. */
  opened(): void {
    const rest = this.#handshake ?? []
    this.#handshake = undefined
    this.#asking = undefined
    this.waitingFor = ignore
    for (const { method, args } of rest) this.#method(method, args)
  }

  // ---- methods

  send<M extends AnyMethod>(method: M, args: ArgumentsOf<M>): number {
    const { writer, frameMax } = this.#port
    const before = writer.waiting
    encodeMethod(writer, 0, method, args, frameMax)
    const size = writer.waiting - before
    this.#port.outgoing.written()
    return size
  }

  methodFrame(buffer: Buffer, start: number, end: number): number {
    const received = decodeMethod(buffer, start, end)
    if (this.#handshake === undefined) this.#method(received.method, received.args)
    else if (this.#receiver === undefined) {
      if (this.#handshake.push(received) > MOST_EARLY) {
        throw new ProtocolError(`${received.method.name} came with more than ${MOST_EARLY} methods before their time`)
      }
    } else {
      this.#receiver.resolve(received)
      this.#receiver = undefined
    }
    return end + 1
  }

  headerFrame(): void {
    throw new ProtocolError('a content header came on channel 0, which has no contents', { replyCode: 504 })
  }

  bodyFrame(): void {
    throw new ProtocolError('a body came on channel 0, which has no contents', { replyCode: 504 })
  }

  #method(method: AnyMethod, args: Record<string, unknown>): void {
    switch (method.key) {
      case ConnectionClose.key:
        this.send(ConnectionCloseOk, {})
        this.#events.serverClosed(args as DecodedOf<typeof ConnectionClose>)
        return
      case ConnectionCloseOk.key:
        this.#events.closeAgreed()
        return
      case ConnectionBlocked.key:
        this.#events.blocked((args as DecodedOf<typeof ConnectionBlocked>).reason)
        return
      case ConnectionUnblocked.key:
        this.#events.blocked(undefined)
        return
      case ConnectionUpdateSecretOk.key:
        if (this.calls?.settle(method.key, undefined) === true) return
    }
    throw new ProtocolError(`${method.name} came on channel 0 when it was not due`)
  }

  /** Give the server a new secret before the old one expires (connection.update-secret). */
  updateSecret(secret: string, reason: string): Promise<void> {
    const context = { what: 'connection.update-secret', site: undefined }
    const { key } = ConnectionUpdateSecret
    const calls = this.calls ?? new Calls(this.#port, this, 'its outcome at the server is unknown')
    return calls.start(context, key, ConnectionUpdateSecretOk.key, () => {
      this.send(ConnectionUpdateSecret, { newSecret: Buffer.from(secret), reason })
      return undefined
    })
  }

  timedOut(): void {}

  blockedChanged(): void {
    this.calls?.blockedChanged()
  }

  /** The connection is over. */
  fail(ending: CloseReason): void {
    this.#ending = ending
    this.#receiver?.reject(endedBy(ending))
    this.#receiver = undefined
    this.#asking?.(endedBy(ending))
    this.#asking = undefined
    this.calls?.failAll(call => ending.errorFor(call.what, call.methodKey === ending.methodKey), 0)
  }
}

/** The error of a handshake that goes no further. */
function endedBy(ending: CloseReason): Error {
  return ending.error ?? ending.errorFor('connect', false)
}
