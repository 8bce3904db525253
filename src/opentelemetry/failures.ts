import { type Attributes, type Exception, type Span, SpanStatusCode } from '@opentelemetry/api'
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

/** What there is to read of a thrown value. */
interface Fields {
  readonly name: unknown
  readonly message: unknown
  readonly stack: unknown
  readonly code: unknown
  readonly replyCode: unknown
}

/**
 * A program may throw anything, also what throws when it is looked at: a span has to end all the same. The client describes
 * what was thrown by a function of its own, of which this entry loads nothing.
 */
function fieldsOf(error: unknown): Fields {
  const field = (name: keyof Fields): unknown => {
    try {
      return Object(error)[name]
    } catch {
      return undefined
    }
  }
  return {
    name: field('name'),
    message: field('message'),
    stack: field('stack'),
    code: field('code'),
    replyCode: field('replyCode'),
  }
}

/** The name of its class: of few different values. */
export function errorType(error: unknown): string {
  return typeOf(fieldsOf(error))
}

/** Errors have a stack, also those of another realm. */
function typeOf({ name, stack }: Fields): string {
  return typeof name === 'string' && name !== '' && typeof stack === 'string' ? name : '_OTHER'
}

/** What an error is, without its text. */
export function errorAttributes(error: unknown): Attributes {
  return attributesOf(fieldsOf(error))
}

function attributesOf(fields: Fields): Attributes {
  const { code, replyCode } = fields
  return {
    [ATTRIBUTES.errorType]: typeOf(fields),
    ...(typeof code === 'string' && { [ATTRIBUTES.errorCode]: code }),
    ...(typeof replyCode === 'number' && { [ATTRIBUTES.replyCode]: replyCode }),
  }
}

/** The operation of `span` has failed. */
export function recordFailure(span: Span, error: unknown, withException: boolean): void {
  const fields = fieldsOf(error)
  const { code, message } = fields
  const mayShow = withException || (typeof code === 'string' && OWN_TEXT.has(code))
  span.setAttributes(attributesOf(fields))
  span.setStatus({ code: SpanStatusCode.ERROR, ...(mayShow && typeof message === 'string' && { message }) })
  if (withException) span.recordException(exceptionOf(error, fields))
}

function exceptionOf(error: unknown, fields: Fields): Exception {
  const text = (field: unknown): string => (typeof field === 'string' ? field : '')
  const message = Object(error) === error ? text(fields.message) : String(error)
  if (typeof fields.stack !== 'string') return message
  const { name, stack, code } = fields
  const isCode = typeof code === 'string' || typeof code === 'number'
  return { name: text(name) || 'Error', message, stack, ...(isCode && { code }) }
}
