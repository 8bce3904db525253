import {
  AuthenticationError,
  type ChannelClosedError,
  ConnectionClosedError,
  ConnectionFailedError,
  NoChannelAvailableError,
  TimeoutError,
} from 'asyncamqp'

/** Thrown for what is done with a channel or connection that is closed. */
export class IllegalOperationError extends Error {
  override readonly name = 'IllegalOperationError'
  readonly stackAtStateChange: string | undefined

  constructor(message: string, stackAtStateChange?: string) {
    super(message)
    this.stackAtStateChange = stackAtStateChange
  }
}

/** The members that amqplib gives to an error of the server. */
interface CloseDetails {
  readonly replyCode: number | undefined
  readonly replyText: string | undefined
  readonly classId?: number | undefined
  readonly methodId?: number | undefined
}

function closeMessage({ replyCode = 0, replyText = '' }: CloseDetails): string {
  // RabbitMQ's texts begin with the condition's name.
  const [condition = ''] = replyText.split(' ')
  return `${replyCode} (${condition.replaceAll('_', '-')}) with message "${replyText}"`
}

function closeError(text: string, details: CloseDetails): Error {
  const { replyCode: code, classId, methodId } = details
  return Object.assign(new Error(`${text} ${closeMessage(details)}`), { code, classId, methodId })
}

/** The channel was closed by the server: the error of its event. */
export function channelError(error: ChannelClosedError): Error {
  return closeError('Channel closed by server:', error)
}

/** The channel was closed by the server: the error of the call that waited for a reply, `method`. */
export function operationError(error: ChannelClosedError, method: string): Error {
  if (error.method !== method) return channelError(error)
  const name = method.replaceAll(/(?:^|\.)(\w)/g, (_, letter: string) => letter.toUpperCase())
  return closeError(`Operation failed: ${name};`, error)
}

/** Why the connection ended. */
export function connectionError(error: Error): Error {
  if (error instanceof ConnectionClosedError && error.replyCode !== undefined) {
    return closeError('Connection closed:', error)
  }
  return error.cause instanceof Error ? error.cause : error
}

/** An administrator closed it, or the server shuts down. */
export function isFatal(error: Error & { code?: unknown }): boolean {
  return error.code !== 320 && error.code !== 200
}

/** Why there is no connection. */
export function connectError(error: unknown, mechanism = ''): unknown {
  if (error instanceof AuthenticationError) {
    if (error.replyCode !== undefined) return closeError('Handshake terminated by server:', error)
    return new Error(`SASL mechanism ${mechanism} is not provided by the server`, { cause: error })
  }
  if (!(error instanceof ConnectionFailedError)) return error
  const cause = error.attempts.at(-1)?.cause
  if (cause instanceof TimeoutError) return new Error('connect ETIMEDOUT', { cause })
  return cause ?? error
}

/** Why there is no channel. */
export function openError(error: unknown): unknown {
  return error instanceof NoChannelAvailableError ? new Error('No channels left to allocate', { cause: error }) : error
}
