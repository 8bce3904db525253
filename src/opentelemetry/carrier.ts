import type { TextMapGetter, TextMapSetter } from '@opentelemetry/api'
import type { FieldTable } from '../protocol/values.ts'

/** The headers of a message, as a propagator reads and writes them. */
export const CARRIER: TextMapGetter<Readonly<FieldTable>> & TextMapSetter<FieldTable> = {
  keys: headers => Object.keys(headers),
  get(headers, key) {
    const value = headers[key]
    // Some clients send text as bytes.
    return value instanceof Uint8Array ? Buffer.from(value).toString() : typeof value === 'string' ? value : undefined
  },
  set(headers, key, value) {
    headers[key] = value
  },
}

export function isEmpty(headers: Readonly<FieldTable>): boolean {
  for (const _ in headers) return false
  return true
}
