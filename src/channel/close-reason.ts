import { type AmqpError, ChannelClosedError, NoChannelAvailableError, type PublishOutcome } from '../errors.ts'
import { atNoCall } from '../lib/call-site.ts'
import { methodName } from '../protocol/methods.ts'
import { describeReply, replyHint } from './rabbitmq.ts'

/** The parts of a reason. */
export interface CloseReasonParts {
  /** What is over: the channel alone, or its connection. */
  readonly scope: 'channel' | 'connection'
  /** The reason of the end. Undefined if the program asked for the end. */
  readonly error: AmqpError | undefined
  /** Class and method number in one of the method that the server found at fault; 0 if none. */
  readonly methodKey?: number
  /** The server's words, undefined if it gave none. */
  readonly replyText?: string
  /** A fresh error for one operation; `atFault` if it is the one that the server found at fault. */
  makeError(what: string, atFault: boolean, outcome: PublishOutcome | undefined): AmqpError
}

/**
 * Why a channel or a connection is over, and the errors of pending operations. It knows whether it was reported: an end
 * that no promise rejects with must be reported in another way.
 */
export class CloseReason {
  readonly scope: 'channel' | 'connection'
  readonly error: AmqpError | undefined
  readonly methodKey: number
  readonly replyText: string | undefined
  readonly #makeError: CloseReasonParts['makeError']
  #isReported = false

  constructor({ scope, error, methodKey = 0, replyText, makeError }: CloseReasonParts) {
    this.scope = scope
    this.error = error
    this.methodKey = methodKey
    this.replyText = replyText
    this.#makeError = makeError
  }

  /** An operation has rejected with this reason, or another part takes care of it. */
  get isReported(): boolean {
    return this.#isReported
  }

  /** A fresh error for one operation that this end rejects. */
  errorFor(what: string, atFault: boolean, outcome?: PublishOutcome): AmqpError {
    this.#isReported = true
    return this.#makeError(what, atFault, outcome)
  }

  /** An error for an operation that the program need not have awaited: it does not count as a report. */
  errorForForgotten(what: string, outcome?: PublishOutcome): AmqpError {
    return this.#makeError(what, false, outcome)
  }

  /** Another part takes care of the pending operations, so that not each of them needs an error. */
  takenCareOf(): void {
    this.#isReported = true
  }
}

/** The server closed the channel. `classId` 0 if no method was at fault. */
export function closedByServer(
  channelId: number,
  replyCode: number,
  replyText: string,
  classId: number,
  methodId: number,
): CloseReason {
  const method = classId === 0 ? undefined : methodName(classId, methodId)
  const reason = `${describeReply(replyCode, replyText)}${replyHint(replyCode, replyText)}`
  const details = { replyCode, replyText, classId, methodId, method }
  const error = atNoCall(
    new ChannelClosedError(
      `channel ${channelId} was closed by the server${method === undefined ? '' : ` because of ${method}`}: ${reason}`,
      details,
    ),
  )
  return new CloseReason({
    scope: 'channel',
    error,
    methodKey: ((classId << 16) | methodId) >>> 0,
    replyText,
    makeError: (what, atFault, outcome) =>
      new ChannelClosedError(
        atFault ? `${what} failed: ${reason}; channel ${channelId} is closed` : `${what} failed: ${error.message}`,
        { ...details, outcome, cause: error },
      ),
  })
}

/** The connection that the channel was to go on with has no number for it. */
export function withoutNumber(channelId: number, server: string, channelMax: number): CloseReason {
  const error = new NoChannelAvailableError(
    `channel ${channelId} is closed: ${server}, to which the connection was recovered, allows ${channelMax} channels (channel_max), and the older ones have them`,
  )
  return new CloseReason({
    scope: 'channel',
    error,
    makeError: (what, _atFault, outcome) =>
      new NoChannelAvailableError(`${what} failed: ${error.message}`, { outcome, cause: error }),
  })
}

/** The client closed the channel: `why` is undefined if the program asked for it. */
export function closedByClient(channelId: number, why?: AmqpError): CloseReason {
  const reason = why === undefined ? 'it was closed by the program' : `it was closed because ${why.message}`
  return new CloseReason({
    scope: 'channel',
    error:
      why === undefined
        ? undefined
        : new ChannelClosedError(`channel ${channelId} is closed: ${reason}`, { cause: why }),
    makeError: (what, _atFault, outcome) =>
      new ChannelClosedError(`${what} failed: channel ${channelId} is closed: ${reason}`, { outcome, cause: why }),
  })
}
