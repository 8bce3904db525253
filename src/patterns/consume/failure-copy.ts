import type { BasicProperties } from '../../protocol/properties.ts'
import type { FieldTable } from '../../protocol/values.ts'
import { WireTypes } from '../../protocol/wire-types.ts'
import type { Message } from './message.ts'

/** Characters that are kept, so that the header frame stays within the smallest frame size. */
const MESSAGE_LENGTH = 1_000
const STACK_LENGTH = 4_000

/** The properties of a failed message, with the failure in its headers. */
export function failureCopy(message: Message, error: unknown): BasicProperties {
  const { headers = {} } = message.properties
  // CC would route the copy to where the message went. (BCC does not arrive.)
  const { CC: _cc, ...kept } = headers
  const added: FieldTable = {
    'x-exception-message': (error instanceof Error ? error.message : String(error)).slice(0, MESSAGE_LENGTH),
    'x-exception-stacktrace': ((error instanceof Error ? error.stack : undefined) ?? '').slice(0, STACK_LENGTH),
    'x-original-exchange': message.envelope.exchangeName,
    'x-original-routingKey': message.envelope.routingKey,
  }
  const copied: FieldTable = { ...kept, ...added }
  const types = [...(WireTypes.of(headers)?.values() ?? [])].filter(({ key }) => !(key in added))
  if (types.length > 0) WireTypes.remember(copied, types)
  return { ...message.properties.toJSON(), headers: copied }
}
