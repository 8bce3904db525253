import { DecodeError } from '../../errors.ts'
import { atNoCall } from '../../lib/call-site.ts'
import { asError } from '../../lib/thrown.ts'
import { type Message, nameOf } from '../consume/message.ts'
import { type Codecs, noCodec, plainName } from './codecs.ts'
import { fit } from './fit.ts'
import type { StandardSchema } from './standard-schema.ts'

/** Decodes the bodies of messages before the program gets them. */
export class Decoder {
  readonly #schema: StandardSchema | undefined
  readonly #codecs: Codecs
  readonly #maxSize: number

  constructor(schema: StandardSchema | undefined, codecs: Codecs, maxSize: number) {
    this.#schema = schema
    this.#codecs = codecs
    this.#maxSize = maxSize
  }

  /**
   * Have `bytes()`, `text()` and `json()` of a message return what its body is decoded to.
   *
   * @throws DecodeError, with the `issues` if it does not fit its schema.
   */
  async decode(message: Message): Promise<void> {
    try {
      await this.#decode(message)
    } catch (error) {
      const why = asError(error)
      if (why instanceof DecodeError) throw atNoCall(why)
      throw atNoCall(
        new DecodeError(`the body of ${nameOf(message)} was not decoded: ${why.message}`, { cause: error }),
      )
    }
  }

  async #decode(message: Message): Promise<void> {
    const { contentType, contentEncoding } = message.properties
    const bytes = await this.#codecs.unpack(message.body, contentEncoding, this.#maxSize)
    if (bytes !== message.body) message.bytes = () => bytes
    const schema = this.#schema
    const codec = this.#codecs.forType(contentType)
    if (schema === undefined && codec === undefined) return
    let value: unknown
    if (codec !== undefined) value = await codec.decode(Buffer.from(bytes))
    else if (isJson(contentType)) value = message.json()
    else if (isText(contentType)) value = message.text()
    else throw noCodec('type', contentType)
    if (schema !== undefined) {
      value = await fit(schema, value, listed => new DecodeError(`the body of ${nameOf(message)} ${listed}`))
    }
    message.json = <T>() => value as T
  }
}

/** Also a body that does not say what it is. */
export function isJson(contentType: unknown): boolean {
  return /^$|[/+]json$/.test(plainName(contentType))
}

export function isText(contentType: unknown): boolean {
  return plainName(contentType).startsWith('text/')
}
