import { EncodeError } from '../../errors.ts'
import { types } from '../../lib/platform.ts'
import { asError } from '../../lib/thrown.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { toJson, withJsonType } from '../publish/payload.ts'
import { bytesOf, type Codecs, kept, noCodec } from './codecs.ts'
import { isJson, isText } from './decoder.ts'
import { fit } from './fit.ts'
import type { StandardSchema } from './standard-schema.ts'

/** What goes on the wire. */
export interface Encoded {
  readonly payload: Uint8Array | string
  readonly properties: BasicProperties | undefined
}

/** Encodes payloads before they are published. */
export class Encoder {
  readonly #schema: StandardSchema | undefined
  readonly #codecs: Codecs

  constructor(schema: StandardSchema | undefined, codecs: Codecs) {
    this.#schema = schema
    this.#codecs = codecs
  }

  /**
   * The body of a payload, by the content type and content encoding of its properties. Without a schema, bytes are sent as they are.
   *
   * @param what the operation, for errors: it is asked only when there is one.
   * @throws EncodeError, with the `issues` if it does not fit its schema.
   */
  async encode(what: () => string, payload: unknown, properties: BasicProperties | undefined): Promise<Encoded> {
    const schema = this.#schema
    if (schema === undefined && types.isUint8Array(payload)) return { payload, properties }
    try {
      if (schema !== undefined) await fit(schema, payload, listed => new EncodeError(`${what()}: payload ${listed}`))
      return await this.#encode(what, payload, properties)
    } catch (error) {
      const why = asError(error)
      if (why instanceof EncodeError) throw why
      throw new EncodeError(`${what()}: payload was not encoded: ${why.message}`, { cause: error })
    }
  }

  async #encode(what: () => string, payload: unknown, properties: BasicProperties | undefined): Promise<Encoded> {
    const { contentType, contentEncoding } = properties ?? {}
    const codec = this.#codecs.forType(contentType)
    let sent = properties
    let body: Uint8Array | string
    if (codec !== undefined) {
      const encoded = await kept(codec.encode(payload))
      body = typeof encoded === 'string' ? encoded : bytesOf(codec.contentType, encoded)
    } else if (typeof payload === 'string' && (this.#schema === undefined || isText(contentType))) body = payload
    else if (isJson(contentType) && !types.isUint8Array(payload)) {
      body = toJson(what, payload, this.#schema !== undefined)
      sent = withJsonType(properties)
    } else throw noCodec('type', contentType)
    if (typeof body === 'string' && !body.isWellFormed())
      throw new TypeError('it has a lone surrogate, which has no UTF-8')
    return { payload: await this.#codecs.pack(body, contentEncoding), properties: sent }
  }

  /** A reply that is encoded as its request is. Nothing is an empty one; null is nothing, too, unless there is a schema. */
  reply(what: () => string, returned: unknown, { contentType, contentEncoding }: BasicProperties): Promise<Encoded> {
    const hasSchema = this.#schema !== undefined
    const reply = returned === null && hasSchema ? null : (returned ?? '')
    if (this.#codecs.forType(contentType) !== undefined) {
      return this.encode(what, reply, { contentType, contentEncoding })
    }
    if (!hasSchema && types.isUint8Array(reply)) return this.encode(what, reply, {})
    if (!hasSchema && typeof reply === 'string') {
      return this.encode(what, reply, { contentType: 'text/plain', contentEncoding })
    }
    return this.encode(what, reply, { contentEncoding })
  }
}
