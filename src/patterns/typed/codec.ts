/** Turns values into bodies and back, for messages with one content type. */
export interface ContentCodec {
  /** The content type, such as `application/msgpack`; what follows a `;` in that of a message does not count. */
  readonly contentType: string
  readonly contentEncoding?: undefined
  /** The body of a value. A string is sent as UTF-8. */
  encode(value: unknown): Uint8Array | string | Promise<Uint8Array | string>
  /** The value of a body, which is the codec's own to keep and to change. */
  decode(body: Buffer): unknown
}

/** Packs bodies and unpacks them, for messages with one content encoding. */
export interface EncodingCodec {
  /** The content encoding, such as `zstd`. */
  readonly contentEncoding: string
  readonly contentType?: undefined
  /** Pack a body. */
  encode(body: Buffer): Uint8Array | Promise<Uint8Array>
  /** Unpack a body. More than `maxSize` bytes are refused: it need not make them. */
  decode(body: Buffer, maxSize: number): Uint8Array | Promise<Uint8Array>
}

/** How bodies are encoded and decoded that have its content type or its content encoding. */
export type Codec = ContentCodec | EncodingCodec

/** The option of how bodies are encoded. */
export interface CodecsOption {
  /**
   * How to encode and decode bodies, by the `contentType` and `contentEncoding` of each message. JSON, text, `gzip`, `deflate`
   * and `br` are built in, also with `[]`; a codec for one of these takes its place. Default: JSON and text alone, and bodies
   * with a content encoding are left as they are, unless there is a `schema`.
   */
  readonly codecs?: readonly Codec[] | undefined
}
