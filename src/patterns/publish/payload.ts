import { EncodeError } from '../../errors.ts'
import { types } from '../../lib/platform.ts'
import { asError } from '../../lib/thrown.ts'
import { inspectShort } from '../../protocol/inspect-short.ts'
import { plainProperties } from '../../protocol/plain-properties.ts'
import { type BasicProperties, PERSISTENT } from '../../protocol/properties.ts'

/**
 * What the intent level publishes: a string (UTF-8) or a Uint8Array as it is, and any other object as JSON, as
 * JSON.stringify writes it, with the `contentType` application/json if the properties name none.
 */
export type Payload = Uint8Array | string | object

const JSON_TYPE = 'application/json'

/** Whether it is sent as it is. Bytes of another realm (Jest, `vm`) are bytes too. */
export function isEncoded(payload: Payload): payload is Uint8Array | string {
  return typeof payload === 'string' || types.isUint8Array(payload)
}

/**
 * An object as JSON, as JSON.stringify writes it: an instance of a class by its toJSON() or its properties.
 *
 * @param what the operation that the payload is for, which errors name. A function is asked only when there is one.
 * @param scalars whether strings, numbers, booleans and null are taken too.
 * @throws EncodeError for anything but an object, if JSON.stringify throws or returns nothing, and for what it would
 * write without its contents: a Map, a Promise, a typed array, and so on, wherever it stands.
 */
export function toJson(what: string | (() => string), payload: unknown, scalars = false): string {
  if (!scalars && (typeof payload !== 'object' || payload === null)) throw notJson(what, payload)
  let text: string | undefined
  try {
    text = JSON.stringify(payload, (key, value: unknown) => {
      if (!losesContents(value)) return value
      if (value === payload) throw notJson(what, payload)
      throw new TypeError(`"${key}" is ${inspectShort(value)}, which JSON cannot hold`)
    })
  } catch (error) {
    if (error instanceof EncodeError) throw error
    throw new EncodeError(`${nameOf(what)}: payload cannot be sent as JSON: ${asError(error).message}`, {
      cause: error,
    })
  }
  if (text !== undefined) return text
  throw new EncodeError(`${nameOf(what)}: payload cannot be sent as JSON: its toJSON() returned nothing`)
}

function nameOf(what: string | (() => string)): string {
  return typeof what === 'string' ? what : what()
}

function notJson(what: string | (() => string), payload: unknown): EncodeError {
  return new EncodeError(
    `${nameOf(what)}: payload must be a string, a Uint8Array, or an object that JSON can hold, not ${inspectShort(payload)}`,
  )
}

/** Whether JSON.stringify would write `{}`, or bytes by their index. */
function losesContents(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return (
    types.isMap(value) ||
    types.isSet(value) ||
    types.isWeakMap(value) ||
    types.isWeakSet(value) ||
    types.isPromise(value) ||
    types.isNativeError(value) ||
    types.isRegExp(value) ||
    types.isAnyArrayBuffer(value) ||
    ArrayBuffer.isView(value)
  )
}

/** The properties of a JSON message, unless they name another content type. */
export function withJsonType(properties: BasicProperties | undefined): BasicProperties {
  if (properties === undefined) return { contentType: JSON_TYPE }
  if (!isObject(properties)) return properties
  if (properties.contentType !== undefined) return properties
  const sent = { contentType: JSON_TYPE, ...plainProperties(properties) }
  return sent.contentType === undefined ? { ...sent, contentType: JSON_TYPE } : sent
}

/** The properties of a message that survives a restart of the broker, unless they say otherwise. */
export function withPersistence(properties: BasicProperties | undefined): BasicProperties {
  if (properties === undefined) return PERSISTENT
  if (!isObject(properties)) return properties
  if (properties.deliveryMode !== undefined) return properties
  // In this order the spread costs 70 ns, with the default after it 2,500.
  const sent = { deliveryMode: 2, ...plainProperties(properties) }
  return sent.deliveryMode === undefined ? { ...sent, deliveryMode: 2 } : sent
}

/** A value that is not an object is refused when it is encoded. */
function isObject(properties: unknown): boolean {
  return typeof properties === 'object' && properties !== null
}
