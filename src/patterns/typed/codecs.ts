import { types } from '../../lib/platform.ts'
import { inspectShort } from '../../protocol/inspect-short.ts'
import { badValue } from '../../protocol/option-check.ts'
import type { Codec, ContentCodec, EncodingCodec } from './codec.ts'
import { isTooLarge, zlibCodec } from './zlib-codec.ts'

/** Content encodings of one body, each of which may cost the unpacking of `maxMessageSize`. */
const MOST_ENCODINGS = 3
/** What other clients say of bodies that are not packed; Celery names a character set. */
const NOT_PACKED = ['', 'identity', 'utf-8', 'binary']

/** The codecs of the program by content type and content encoding, and the built-in content encodings. */
export class Codecs {
  /** By content type or content encoding, neither of which is ever the name of the other. */
  readonly #codecs = new Map<string, Codec>()

  /** @throws EncodeError for anything but codecs and undefined. */
  constructor(what: string, codecs: unknown = []) {
    for (const codec of Array.isArray(codecs) ? codecs : [codecs]) {
      const { contentType, contentEncoding, encode, decode } = (codec ?? {}) as Partial<Codec>
      const name = contentType ?? contentEncoding
      if (typeof name !== 'string' || typeof encode !== 'function' || typeof decode !== 'function') {
        throw badValue(what, 'codecs', '[{ contentType or contentEncoding, encode, decode }]', codec)
      }
      this.#codecs.set(`${contentType === undefined} ${plainName(name)}`, codec)
    }
  }

  /** The program's codec for a content type. */
  forType(contentType: string | undefined): ContentCodec | undefined {
    return this.#codecs.get(`false ${plainName(contentType)}`) as ContentCodec | undefined
  }

  /** Undo the content encodings of a body. May reject with anything, as codecs do. */
  async unpack(body: Buffer, contentEncoding: string | undefined, maxSize: number): Promise<Buffer> {
    let bytes = body
    for (const codec of this.#listed(contentEncoding).reverse()) {
      // A copy: a message may be given back or copied later, as it came.
      const packed = bytes === body ? Buffer.from(body) : bytes
      let unpacked: Buffer | undefined
      try {
        unpacked = bytesOf(codec.contentEncoding, await kept(codec.decode(packed, maxSize)))
      } catch (error) {
        if (!isTooLarge(error)) throw error
      }
      if (unpacked === undefined || unpacked.length > maxSize) {
        throw new RangeError(
          `unpacked by "${codec.contentEncoding}", it has more than maxMessageSize, ${maxSize} bytes`,
        )
      }
      bytes = unpacked
    }
    return bytes
  }

  /** Apply content encodings to a body, in their order. */
  async pack(body: Uint8Array | string, contentEncoding: string | undefined): Promise<Uint8Array | string> {
    let packed = body
    for (const codec of this.#listed(contentEncoding)) {
      packed = bytesOf(codec.contentEncoding, await kept(codec.encode(Buffer.from(packed as string))))
    }
    return packed
  }

  /** The codecs of `gzip, br`, in the order in which they were applied. */
  #listed(contentEncoding: unknown): EncodingCodec[] {
    const names = String(contentEncoding ?? '')
      .split(',')
      .map(plainName)
    const codecs = names.flatMap(name => {
      const codec = this.#codecs.get(`true ${name}`) ?? zlibCodec(name)
      if (codec === undefined && !NOT_PACKED.includes(name)) throw noCodec('encoding', name)
      return (codec ?? []) as EncodingCodec[] | EncodingCodec
    })
    if (codecs.length <= MOST_ENCODINGS) return codecs
    throw new TypeError(`it has ${codecs.length} content encodings, more than ${MOST_ENCODINGS}`)
  }
}

export function noCodec(what: 'type' | 'encoding', name: unknown): TypeError {
  return new TypeError(`there is no codec for content ${what} ${inspectShort(name)}`)
}

/** A content type without its parameters, or a content encoding, in lower case. */
export function plainName(name: unknown): string {
  return String(name ?? '')
    .replace(/;.*/s, '')
    .trim()
    .toLowerCase()
}

/** What a codec returns at once, as a copy if it is bytes: it may make the next ones in the same buffer. */
export function kept<T>(returned: T): T | Buffer {
  return types.isUint8Array(returned) ? Buffer.from(returned) : returned
}

/** What a codec returned, if it is bytes. */
export function bytesOf(name: string, returned: unknown): Buffer {
  if (types.isUint8Array(returned)) return Buffer.from(returned.buffer, returned.byteOffset, returned.byteLength)
  throw new TypeError(`the codec for "${name}" returned ${inspectShort(returned)}, not a Uint8Array`)
}
