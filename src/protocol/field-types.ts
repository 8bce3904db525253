import type { NumericType } from './values.ts'

// Type octets as RabbitMQ and its clients use them, which is not as §4.2.1 has them (see the errata, section 3): `s`
// and `U` are signed 16-bit integers, `l` and `L` signed 64-bit ones, and nothing is an unsigned 64-bit one.
export const BOOLEAN = 0x74 // t
export const INT8 = 0x62 // b
export const UINT8 = 0x42 // B
export const INT16 = 0x73 // s
export const SPEC_INT16 = 0x55 // U
export const UINT16 = 0x75 // u
export const INT32 = 0x49 // I
export const UINT32 = 0x69 // i
export const INT64 = 0x6c // l
export const SPEC_INT64 = 0x4c // L
export const FLOAT = 0x66 // f
export const DOUBLE = 0x64 // d
export const DECIMAL = 0x44 // D
export const LONG_STRING = 0x53 // S
export const ARRAY = 0x41 // A
export const TIMESTAMP = 0x54 // T
export const TABLE = 0x46 // F
export const VOID = 0x56 // V
export const BYTES = 0x78 // x

/** Tables and arrays in one another, the outermost counted: more would be an attack, or a cycle. */
export const MAX_DEPTH = 64

/** Type octets of the values that name a type. */
export const NUMERIC_TYPES: Readonly<Record<NumericType, number>> = {
  int8: INT8,
  uint8: UINT8,
  int16: INT16,
  uint16: UINT16,
  int32: INT32,
  uint32: UINT32,
  int64: INT64,
  float: FLOAT,
  double: DOUBLE,
  timestamp: TIMESTAMP,
}
