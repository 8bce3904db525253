import { type AmqpError, ChannelClosedError, NoChannelAvailableError, type PublishOutcome } from '../errors.ts'
import { replyCodeName } from '../protocol/constants.ts'

/** Why a channel or a connection is over, and the errors that follow for those who waited. */
export interface CloseReason {
  /** For who asks why. Undefined where the program asked for the end. */
  readonly error: AmqpError | undefined
  /** Class and method number in one of the method that the server found at fault; 0 where none. */
  readonly methodKey: number
  /** The server's words, undefined where it gave none. */
  readonly replyText: string | undefined
  /** A fresh error for one operation; `guilty` where it is the one that the server found at fault. */
  errorFor(what: string, guilty: boolean, outcome?: PublishOutcome): AmqpError
}

/** `NOT_FOUND (404), no queue 'orders' in vhost '/'`, without the name that RabbitMQ puts in front of its text. */
export function describeReply(replyCode: number, replyText: string): string {
  const name = replyCodeName(replyCode)
  const text = replyText.startsWith(`${name} - `) ? replyText.slice(name.length + 3) : replyText
  return text === '' || text === name ? `${name} (${replyCode})` : `${name} (${replyCode}), ${text}`
}

/** What a reader of the error can do about it, where that is known. */
function hint(replyCode: number, replyText: string): string {
  if (replyCode === 406 && replyText.includes("inequivalent arg 'durable'")) {
    return ' (here queues are durable unless exclusive, and exchanges always, unless the program says otherwise)'
  }
  return ''
}

/** The server closed the channel. */
export function closedByServer(
  channelId: number,
  replyCode: number,
  replyText: string,
  method: string | undefined,
  methodKey: number,
): CloseReason {
  const reason = `${describeReply(replyCode, replyText)}${hint(replyCode, replyText)}`
  const error = new ChannelClosedError(
    `channel ${channelId} was closed by the server${method === undefined ? '' : ` because of ${method}`}: ${reason}`,
    { replyCode, replyText, method },
  )
  return {
    error,
    methodKey,
    replyText,
    errorFor: (what, guilty, outcome) =>
      new ChannelClosedError(
        guilty ? `${what} failed: ${reason}; channel ${channelId} is closed` : `${what} failed: ${error.message}`,
        { replyCode, replyText, method, outcome, cause: error },
      ),
  }
}

/** The connection that the channel was to go on with has no number for it. */
export function withoutNumber(channelId: number, server: string, channelMax: number): CloseReason {
  const error = new NoChannelAvailableError(
    `channel ${channelId} is closed: ${server}, where the connection was recovered, allows ${channelMax} channels (channel_max), and the older ones have them`,
  )
  return {
    error,
    methodKey: 0,
    replyText: undefined,
    errorFor: (what, _guilty, outcome) =>
      new NoChannelAvailableError(`${what} failed: ${error.message}`, { outcome, cause: error }),
  }
}

/** The client closed the channel: `why` is undefined where the program asked for it. */
export function closedByClient(channelId: number, why?: AmqpError): CloseReason {
  const reason = why === undefined ? 'it was closed by the program' : `it was closed because ${why.message}`
  return {
    error:
      why === undefined
        ? undefined
        : new ChannelClosedError(`channel ${channelId} is closed: ${reason}`, { cause: why }),
    methodKey: 0,
    replyText: undefined,
    errorFor: (what, _guilty, outcome) =>
      new ChannelClosedError(`${what} failed: channel ${channelId} is closed: ${reason}`, { outcome, cause: why }),
  }
}
