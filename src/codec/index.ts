/// <reference types="node" preserve="true" />

/** `asyncamqp/codec`: AMQP 0-9-1 between bytes and what they mean, without a connection. */
export { EncodeError, FrameError } from '../errors.ts'
export {
  FRAME_END,
  FRAME_MIN_SIZE,
  FRAME_OVERHEAD,
  FrameType,
  ReplyCode,
  replyCodeName,
} from '../protocol/constants.ts'
export type { Field, FieldInputs, FieldKind, FieldOutputs, Presence } from '../protocol/fields.ts'
export * from '../protocol/methods.ts'
export type { BasicProperties } from '../protocol/properties.ts'
export { Properties } from '../protocol/received-properties.ts'
export type { FieldTable, FieldValue } from '../protocol/values.ts'
export {
  decodeTable,
  encodeBody,
  encodeContentHeader,
  encodeFrame,
  encodeHeartbeat,
  encodeMethod,
  encodeProtocolHeader,
  encodeTable,
} from './encode.ts'
export { FrameReader, type FrameReaderOptions } from './frame-reader.ts'
export type {
  BodyFrame,
  Frame,
  FrameBase,
  HeaderFrame,
  HeartbeatFrame,
  KnownMethod,
  MalformedFrame,
  MethodFrame,
  MethodFrameOf,
  ProtocolHeaderFrame,
} from './frames.ts'
