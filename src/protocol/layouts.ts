import { blob, f32be, f64be, s8, s16be, s32be, struct, u8, u16be, u32be } from 'buffer-layout'

/** A layout of fixed size. Hot code takes `span` and `offsetOf` from it; cold code encodes and decodes with it. */
export interface FixedLayout<T> {
  /** Its size in bytes. */
  readonly span: number
  decode(buffer: Buffer, offset?: number): T
  encode(value: T, buffer: Buffer, offset?: number): number
}

/** A fixed layout with named members. */
export interface StructLayout<T> extends FixedLayout<T> {
  offsetOf(member: keyof T & string): number
}

/** The bytes that open a connection, and that a server of another version answers with (§4.2.2). */
export interface ProtocolHeader {
  /** The characters `AMQP`. */
  readonly literal: Buffer
  readonly protocolId: number
  readonly major: number
  readonly minor: number
  readonly revision: number
}

/** What every frame starts with (§4.2.3). */
export interface FrameHeader {
  readonly type: number
  readonly channel: number
  /** Bytes of the payload: without this header and the end octet. */
  readonly size: number
}

/** The fixed part of a content header's payload (§4.2.6.1). */
export interface ContentHeader {
  readonly classId: number
  /** Always 0. */
  readonly weight: number
  readonly bodySizeHigh: number
  readonly bodySizeLow: number
  /** The first, and for the basic class only, octets of property flags. */
  readonly flags: number
}

export interface DecimalLayout {
  readonly scale: number
  readonly value: number
}

/** A 64-bit integer in two halves: JavaScript's numbers are exact up to 2^53 only. */
export interface Halves {
  readonly high: number
  readonly low: number
}

function define<T>(...fields: readonly { readonly span: number }[]): StructLayout<T> {
  const layout = struct<T>(fields)
  return {
    span: layout.span,
    decode: (buffer, offset) => layout.decode(buffer, offset),
    encode: (value, buffer, offset) => layout.encode(value, buffer, offset),
    offsetOf(member) {
      const offset = layout.offsetOf(member)
      if (offset === undefined) throw new RangeError(`the layout has no member ${member}`)
      return offset
    },
  }
}

export const protocolHeader: StructLayout<ProtocolHeader> = define(
  blob(4, 'literal'),
  u8('protocolId'),
  u8('major'),
  u8('minor'),
  u8('revision'),
)

export const frameHeader: StructLayout<FrameHeader> = define(u8('type'), u16be('channel'), u32be('size'))

export const contentHeader: StructLayout<ContentHeader> = define(
  u16be('classId'),
  u16be('weight'),
  u32be('bodySizeHigh'),
  u32be('bodySizeLow'),
  u16be('flags'),
)

/** §4.2.5.5: the octet of decimal places is unsigned, the integer signed. */
export const decimal: StructLayout<DecimalLayout> = define(u8('scale'), s32be('value'))

/** Scalars of field tables, by their type octets, in the reading of RabbitMQ. */
export const tableScalars: {
  readonly [type in 't' | 'b' | 'B' | 's' | 'U' | 'u' | 'I' | 'i' | 'f' | 'd']: FixedLayout<number>
} & { readonly [type in 'l' | 'L' | 'T']: StructLayout<Halves> } = {
  t: u8(),
  b: s8(),
  B: u8(),
  s: s16be(),
  U: s16be(),
  u: u16be(),
  I: s32be(),
  i: u32be(),
  f: f32be(),
  d: f64be(),
  l: define(s32be('high'), u32be('low')),
  L: define(s32be('high'), u32be('low')),
  T: define(u32be('high'), u32be('low')),
}

export const PROTOCOL_HEADER_SIZE: number = protocolHeader.span

export const FRAME_HEADER_SIZE: number = frameHeader.span
export const FRAME_CHANNEL_OFFSET: number = frameHeader.offsetOf('channel')
export const FRAME_SIZE_OFFSET: number = frameHeader.offsetOf('size')

export const CONTENT_FLAGS_OFFSET: number = contentHeader.offsetOf('flags')
