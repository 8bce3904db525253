import { RemoteError } from '../../errors.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import type { Message } from '../consume/message.ts'

const NAME = 'x-exception-name'
const MESSAGE = 'x-exception-message'
/** Characters that are kept, so that the header frame stays within the smallest frame size. */
const LENGTH = 1_000

/** What a handler threw, as a reply. Its stack stays here: it is nobody else's business. */
export function errorReply(thrown: unknown): { readonly payload: string; readonly properties: BasicProperties } {
  const [name, message] = thrown instanceof Error ? [thrown.name, thrown.message] : ['Error', String(thrown)]
  const headers = { [NAME]: name.slice(0, LENGTH), [MESSAGE]: message.slice(0, LENGTH) }
  return { payload: message, properties: { contentType: 'text/plain', headers } }
}

/** The error that a reply tells of, if it does. */
export function remoteError(reply: Message): RemoteError | undefined {
  const { headers } = reply.properties
  const name = headers?.[NAME]
  if (typeof name !== 'string') return undefined
  // The header holds a long message's beginning, the body all of it.
  const message = reply.body.length > 0 ? reply.body.toString() : String(headers?.[MESSAGE] ?? '')
  return new RemoteError(message, { remoteName: name })
}
