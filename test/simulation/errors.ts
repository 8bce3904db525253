import {
  AmqpError,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionFailedError,
  ConnectionLostError,
  ConsumerCancelledError,
  MessageReturnedError,
  PublishError,
  PublishFailedError,
} from '../../src/index.ts'

const OUTCOMES: ReadonlySet<unknown> = new Set(['notSent', 'refused', 'unknown'])
const REASONS: ReadonlySet<unknown> = new Set(['socket', 'end', 'heartbeat', 'protocol'])
/** What a value looks like in a text that should not have it. */
const NO_TEXT = /\b(undefined|NaN|null)\b|\[object |^$| {2}| $/
/** A client that tries for ever keeps the last ones. */
const MOST_ATTEMPTS = 20

/** Of the classes in the documents. */
const CODES: Readonly<Record<string, string>> = {
  ConnectionFailedError: 'CONNECTION_FAILED',
  ConnectionClosedError: 'CONNECTION_CLOSED',
  ConnectionLostError: 'CONNECTION_LOST',
  AuthenticationError: 'AUTHENTICATION_FAILED',
  ChannelClosedError: 'CHANNEL_CLOSED',
  NoChannelAvailableError: 'NO_CHANNEL_AVAILABLE',
  PublishFailedError: 'PUBLISH_FAILED',
  MessageReturnedError: 'MESSAGE_RETURNED',
  RemoteError: 'REMOTE_ERROR',
  BufferFullError: 'BUFFER_FULL',
  ConsumerCancelledError: 'CONSUMER_CANCELLED',
  DuplicateConsumerTagError: 'DUPLICATE_CONSUMER_TAG',
  FrameError: 'FRAME_ERROR',
  ProtocolError: 'PROTOCOL_ERROR',
  EncodeError: 'ENCODE_ERROR',
  DecodeError: 'DECODE_ERROR',
  TimeoutError: 'TIMEOUT_ERR',
  AbortError: 'ABORT_ERR',
  AmqpUriError: 'AMQP_URI_ERROR',
}

/** A close by the server has its code and text, in the message too. */
function wrongClose({ message, replyCode, replyText }: ChannelClosedError | ConnectionClosedError): string | undefined {
  if (replyCode === undefined) return undefined
  return message.includes(`(${replyCode})`) && typeof replyText === 'string'
    ? undefined
    : 'does not say what the server said'
}

function wrongOfClass(error: AmqpError): string | undefined {
  if (error instanceof ConnectionLostError) return REASONS.has(error.reason) ? undefined : 'has no reason'
  if (error instanceof ChannelClosedError || error instanceof ConnectionClosedError) return wrongClose(error)
  if (error instanceof ConnectionFailedError) {
    const { attempts } = error
    if (attempts.length === 0 || attempts.length > MOST_ATTEMPTS) return `has ${attempts.length} attempts`
    const isWhole = attempts.every(({ server, step, cause }) => server && step && cause instanceof Error)
    return isWhole ? undefined : 'has an attempt that does not say what failed'
  }
  if (error instanceof ConsumerCancelledError)
    return error.message.includes(error.queueName) && error.consumerTag !== ''
      ? undefined
      : 'does not name its consumer'
  if (error instanceof PublishFailedError) return error.deliveryTag > 0 ? undefined : 'has no delivery tag'
  if (error instanceof MessageReturnedError)
    return error.replyCode >= 300 && error.message.includes(error.replyText) ? undefined : 'does not say why'
  return undefined
}

/** What is wrong with an error of the client by itself, whatever it is about: nothing if it is as the documents have it. */
export function wrongError(error: unknown): string | undefined {
  if (!(error instanceof AmqpError)) return undefined
  const { name, code, message, outcome, cause } = error
  if (code !== CODES[name]) return `has the code ${code}, and not ${CODES[name]}`
  if (NO_TEXT.test(message)) return 'has a text that nobody understands'
  if (outcome !== undefined && !OUTCOMES.has(outcome)) return `has the outcome ${outcome}`
  if (error instanceof PublishError && outcome !== 'refused' && outcome !== 'unknown')
    return `has the outcome ${outcome}`
  if (cause === error) return 'is its own cause'
  return wrongOfClass(error) ?? (cause === undefined ? undefined : wrongError(cause))
}
