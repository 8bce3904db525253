import { Decimal, type FieldTable, type FieldValue, TypedValue } from '../protocol/values.ts'
import { deathsOf } from './dead-letter.ts'
import { changed, type Message } from './message.ts'
import type { Release } from './release.ts'

const PERSISTENT = 2
const TRANSIENT = 1

/**
 * A message as a stream keeps it: in the format of AMQP 1.0, which has no room for some of it. Arrays and
 * tables in headers are lost, and so is the cluster id. Later releases keep headers whose name starts with `x-`, and change
 * the type of a few values.
 */
export function streamMessage(message: Message, { streamsKeepExtensions }: Release): Message {
  const properties = changed(message.properties, headers => {
    for (const [name, value] of Object.entries(headers)) {
      const isKept = streamsKeepExtensions && (name.startsWith('x-') || name === 'CC')
      const isLost = streamsKeepExtensions && isReserved(name, message)
      if (isLost || (isCompound(value) && !isKept)) delete headers[name]
      else if (value instanceof Uint8Array && streamsKeepExtensions) headers[name] = Buffer.from(value).toString()
    }
  })
  const { clusterId: _, ...kept } = properties
  if (!streamsKeepExtensions) return message.withProperties(kept)
  const expiration = kept.expiration ?? firstExpiration(message)
  return message.withProperties({
    ...kept,
    ...(expiration === undefined ? {} : { expiration }),
    deliveryMode: kept.deliveryMode === PERSISTENT ? PERSISTENT : TRANSIENT,
  })
}

/** A message that died has no expiration, but streams find the one that it was published with. */
function firstExpiration({ died, headers }: Message): string | undefined {
  const expiration = died ? deathsOf(headers['x-death']).at(-1)?.['original-expiration'] : undefined
  return typeof expiration === 'string' ? expiration : undefined
}

/** Names that the later format uses itself: such a header of a publisher is lost. */
function isReserved(name: string, { died }: Message): boolean {
  return (
    (name === 'x-death' && !died) || name === 'x-exchange' || name === 'x-routing-key' || name.startsWith('x-basic-')
  )
}

function isCompound(value: FieldValue | undefined): value is FieldTable | readonly FieldValue[] {
  if (typeof value !== 'object' || value === null || value instanceof Date || value instanceof Uint8Array) return false
  return !(value instanceof TypedValue || value instanceof Decimal)
}
