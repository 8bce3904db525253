import type { ChannelSource } from '../../connection/channel-source.ts'
import type { FailedMessages } from '../consume/failed-messages.ts'
import type { HandOutBuffer } from '../consume/message-buffer.ts'
import { Codecs } from './codecs.ts'
import { Decoder } from './decoder.ts'
import { DecodingBuffer } from './decoding-buffer.ts'
import { Encoder } from './encoder.ts'
import { schemaOption, schemasOption } from './fit.ts'
import type { TypedOptions } from './is-typed.ts'

export { TypedPublisher } from './typed-publisher.ts'
export { TypedPublishing } from './typed-publishing.ts'

/**
 * What decodes the messages of a consumer; those that it cannot decode go to `failed`.
 *
 * @throws EncodeError if the options cannot be used.
 */
export function decoding(
  source: ChannelSource,
  what: string,
  { schema, codecs }: TypedOptions,
): (failed: FailedMessages) => HandOutBuffer {
  const decoder = new Decoder(schemaOption(what, schema), new Codecs(what, codecs), source.maxMessageSize)
  return failed => new DecodingBuffer(decoder, failed)
}

/** What encodes and decodes the messages of an RPC client or server. */
export interface Coding {
  readonly encoder: Encoder
  readonly decoder: Decoder
}

/** @throws EncodeError if the options cannot be used. */
export function coding(
  source: ChannelSource,
  what: 'rpcClient' | 'rpcServer',
  { schema, codecs }: TypedOptions,
): Coding {
  const [request, reply] = schemasOption(what, schema)
  const [sent, received] = what === 'rpcClient' ? [request, reply] : [reply, request]
  const checked = new Codecs(what, codecs)
  return { encoder: new Encoder(sent, checked), decoder: new Decoder(received, checked, source.maxMessageSize) }
}
