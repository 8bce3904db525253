import { type Attributes, type Exception, type Span, SpanStatusCode } from '@opentelemetry/api'
import { describeThrown, fieldOf, isError } from '../lib/thrown.ts'
import { ATTRIBUTES } from './conventions.ts'

/**
 * The codes of errors whose text is this package's own or the broker's. The text of any other error may hold data of a
 * program or a message, so that it is left out.
 */
const OWN_TEXT = new Set([
  'ABORT_ERR',
  'AUTHENTICATION_FAILED',
  'BUFFER_FULL',
  'CHANNEL_CLOSED',
  'CONNECTION_CLOSED',
  'CONNECTION_FAILED',
  'CONNECTION_LOST',
  'CONSUMER_CANCELLED',
  'MESSAGE_RETURNED',
  'NO_CHANNEL_AVAILABLE',
  'PUBLISH_FAILED',
  'TIMEOUT_ERR',
])

// A program may throw anything, also what throws when it is looked at: a span has to end all the same.

/** The name of its class: of few different values. */
export function errorType(error: unknown): string {
  const name = fieldOf(error, 'name')
  return isError(error) && typeof name === 'string' && name !== '' ? name : '_OTHER'
}

/** What an error is, without its text. */
export function errorAttributes(error: unknown): Attributes {
  const code = fieldOf(error, 'code')
  const replyCode = fieldOf(error, 'replyCode')
  return {
    [ATTRIBUTES.errorType]: errorType(error),
    ...(typeof code === 'string' && { [ATTRIBUTES.errorCode]: code }),
    ...(typeof replyCode === 'number' && { [ATTRIBUTES.replyCode]: replyCode }),
  }
}

/** The operation of `span` has failed. */
export function recordFailure(span: Span, error: unknown, withException: boolean): void {
  const code = fieldOf(error, 'code')
  const message = fieldOf(error, 'message')
  const mayShow = withException || (typeof code === 'string' && OWN_TEXT.has(code))
  span.setAttributes(errorAttributes(error))
  span.setStatus({ code: SpanStatusCode.ERROR, ...(mayShow && typeof message === 'string' && { message }) })
  if (withException) span.recordException(exceptionOf(error))
}

function exceptionOf(error: unknown): Exception {
  const described = describeThrown(error)
  if (!isError(error)) return described.message
  const code = fieldOf(error, 'code')
  return typeof code === 'string' || typeof code === 'number' ? { ...described, code } : described
}
