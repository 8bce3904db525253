import { RemoteError } from '../../errors.ts'
import { describeThrown } from '../../lib/thrown.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { cutText } from '../../protocol/text.ts'
import type { Message } from '../consume/message.ts'

const NAME = 'x-exception-name'
const MESSAGE = 'x-exception-message'
/** Bytes that are kept, so that the header frame stays within the smallest frame size, and the body within what every broker takes. */
const HEADER_BYTES = 1_000
const BODY_BYTES = 1_000_000

/** What a handler threw, as a reply that can always be sent. Its stack stays here: callers must not see it. */
export function errorReply(thrown: unknown): { readonly payload: string; readonly properties: BasicProperties } {
  const { name, message } = describeThrown(thrown)
  const headers = { [NAME]: cutText(name, HEADER_BYTES), [MESSAGE]: cutText(message, HEADER_BYTES) }
  return { payload: cutText(message, BODY_BYTES), properties: { contentType: 'text/plain', headers } }
}

/** The error that a reply reports, or undefined. */
export function remoteError(reply: Message): RemoteError | undefined {
  const { headers } = reply.properties
  const name = headers?.[NAME]
  if (typeof name !== 'string') return undefined
  // The header holds a long message's beginning, the body all of it.
  const message = reply.body.length > 0 ? reply.body.toString() : String(headers?.[MESSAGE] ?? '')
  return new RemoteError(message, { remoteName: name })
}
