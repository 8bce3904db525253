import { type Attributes, type Span, SpanStatusCode } from '@opentelemetry/api'
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

/** The name of its class: of few different values. */
export function errorType(error: unknown): string {
  return error instanceof Error ? error.name : '_OTHER'
}

/** What an error is, without its text. */
export function errorAttributes(error: unknown): Attributes {
  const { code, replyCode } = (error ?? {}) as { readonly code?: unknown; readonly replyCode?: unknown }
  return {
    [ATTRIBUTES.errorType]: errorType(error),
    ...(typeof code === 'string' && { [ATTRIBUTES.errorCode]: code }),
    ...(typeof replyCode === 'number' && { [ATTRIBUTES.replyCode]: replyCode }),
  }
}

/** The operation of `span` has failed. */
export function recordFailure(span: Span, error: unknown, withException: boolean): void {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown }
  const mayShow = withException || (typeof code === 'string' && OWN_TEXT.has(code))
  span.setAttributes(errorAttributes(error))
  span.setStatus({ code: SpanStatusCode.ERROR, ...(mayShow && typeof message === 'string' && { message }) })
  if (withException) span.recordException(error instanceof Error ? error : String(error))
}
