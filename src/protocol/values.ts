import { EncodeError } from '../errors.ts'
import { inspectShort } from './inspect-short.ts'
import { secondsOf } from './late-date.ts'

/**
 * A value of a field table. Written by what it is:
 *
 * | value | type on the wire |
 * | --- | --- |
 * | boolean, string, `null` | `t`, `S`, `V` |
 * | whole number | `I` (32 bits) if it fits, else `l` (64 bits); past 2^53 - 1 and for -0 `d` |
 * | other number | `d` (64-bit float); NaN and infinities are an `EncodeError` |
 * | bigint | `l`, from -2^63 to 2^63 - 1 |
 * | `Date` | `T`, in whole seconds |
 * | `Uint8Array` | `x` |
 * | array, plain object or `Map` | `A`, `F` |
 * | what `int8()`, `float()`, `decimal()`, ... return | the type they name |
 */
export type FieldValue =
  | boolean
  | number
  | bigint
  | string
  | null
  | Date
  | Uint8Array
  | TypedValue
  | Decimal
  | readonly FieldValue[]
  | FieldTable
  | ReadonlyMap<string, FieldValue | undefined>

/** An AMQP field table (§4.2.5.5): headers and arguments. A member that is `undefined` is left out. */
export interface FieldTable {
  [name: string]: FieldValue | undefined
}

/** The wire types that a JavaScript number may have. */
export type NumericType =
  | 'int8'
  | 'uint8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'float'
  | 'double'
  | 'timestamp'

/** A number with its wire type, from `int8()` and its siblings. */
export class TypedValue {
  readonly type: NumericType
  /** A `bigint` only past 2^53 - 1. */
  readonly value: number | bigint

  /** @internal Use the functions, which check the range. */
  constructor(type: NumericType, value: number | bigint) {
    this.type = type
    this.value = value
    Object.freeze(this)
  }

  /** The number, for calculations. */
  valueOf(): number | bigint {
    return this.value
  }
}

/** A decimal: `value` divided by ten to the power of `scale`. From `decimal()`, or from a received table. */
export class Decimal {
  readonly value: number
  readonly scale: number

  /** @internal Use `decimal()`, which checks the range. */
  constructor(value: number, scale: number) {
    this.value = value
    this.scale = scale
    Object.freeze(this)
  }

  /** The exact value in digits, such as `-1.20`. */
  toString(): string {
    const digits = String(Math.abs(this.value)).padStart(this.scale + 1, '0')
    const point = digits.length - this.scale
    const sign = this.value < 0 ? '-' : ''
    return this.scale === 0 ? sign + digits : `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
  }
}

const MAX_UINT64 = 2n ** 64n - 1n

function integer(type: NumericType, value: number, least: number, most: number): TypedValue {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new EncodeError(`${type} takes an integer from ${least} to ${most}, not ${inspectShort(value)}`)
  }
  return new TypedValue(type, value + 0)
}

/** A 64-bit integer, as a number if that is exact. */
function exact(type: NumericType, value: number | bigint, least: bigint, most: bigint): TypedValue {
  if (typeof value === 'number' ? !Number.isSafeInteger(value) : typeof value !== 'bigint') {
    throw new EncodeError(`${type} takes a safe integer or a bigint, not ${inspectShort(value)}`)
  }
  const big = BigInt(value)
  if (big < least || big > most) {
    throw new EncodeError(`${type} takes an integer from ${least} to ${most}, not ${inspectShort(value)}`)
  }
  const number = Number(big)
  return new TypedValue(type, Number.isSafeInteger(number) ? number : big)
}

/** A signed 8-bit integer (`b`). @throws EncodeError when `value` is not an integer from -128 to 127. */
export function int8(value: number): TypedValue {
  return integer('int8', value, -0x80, 0x7f)
}

/** An unsigned 8-bit integer (`B`). @throws EncodeError when `value` is not an integer from 0 to 255. */
export function uint8(value: number): TypedValue {
  return integer('uint8', value, 0, 0xff)
}

/** A signed 16-bit integer (`s`). @throws EncodeError when `value` is not an integer from -2^15 to 2^15 - 1. */
export function int16(value: number): TypedValue {
  return integer('int16', value, -0x8000, 0x7fff)
}

/** An unsigned 16-bit integer (`u`). @throws EncodeError when `value` is not an integer from 0 to 2^16 - 1. */
export function uint16(value: number): TypedValue {
  return integer('uint16', value, 0, 0xffff)
}

/** A signed 32-bit integer (`I`). @throws EncodeError when `value` is not an integer from -2^31 to 2^31 - 1. */
export function int32(value: number): TypedValue {
  return integer('int32', value, -0x8000_0000, 0x7fff_ffff)
}

/** An unsigned 32-bit integer (`i`). @throws EncodeError when `value` is not an integer from 0 to 2^32 - 1. */
export function uint32(value: number): TypedValue {
  return integer('uint32', value, 0, 0xffff_ffff)
}

/**
 * A signed 64-bit integer (`l`). There is no unsigned one: RabbitMQ reads both `l` and `L` as signed.
 *
 * @throws EncodeError when `value` is neither a safe integer nor a bigint from -2^63 to 2^63 - 1.
 */
export function int64(value: number | bigint): TypedValue {
  return exact('int64', value, -(2n ** 63n), 2n ** 63n - 1n)
}

/**
 * A 32-bit float (`f`): `value` is rounded to the nearest one.
 *
 * @throws EncodeError when `value`, or what it is rounded to, is NaN or infinite: RabbitMQ cannot read those.
 */
export function float(value: number): TypedValue {
  if (typeof value !== 'number' || !Number.isFinite(Math.fround(value))) {
    throw new EncodeError(`float takes a finite 32-bit number, not ${inspectShort(value)}`)
  }
  return new TypedValue('float', Math.fround(value))
}

/** A 64-bit float (`d`), also for a whole number. @throws EncodeError when `value` is NaN or infinite. */
export function double(value: number): TypedValue {
  if (!Number.isFinite(value)) throw new EncodeError(`double takes a finite number, not ${inspectShort(value)}`)
  return new TypedValue('double', value)
}

/**
 * A decimal (`D`), `value / 10 ** scale`: `decimal(1250, 2)` is 12.50. The value is signed, as §4.2.5.5 has it.
 *
 * @throws EncodeError when `value` is not an integer from -2^31 to 2^31 - 1, or `scale` not one from 0 to 255.
 */
export function decimal(value: number, scale: number): Decimal {
  if (!Number.isInteger(value) || value < -0x8000_0000 || value > 0x7fff_ffff) {
    throw new EncodeError(
      `decimal takes a value that is an integer from -2147483648 to 2147483647, not ${inspectShort(value)}`,
    )
  }
  if (!Number.isInteger(scale) || scale < 0 || scale > 255) {
    throw new EncodeError(`decimal takes a scale that is an integer from 0 to 255, not ${inspectShort(scale)}`)
  }
  return new Decimal(value + 0, scale + 0)
}

/**
 * A timestamp (`T`): seconds since 1970, or a `Date`, of which the whole seconds are taken.
 *
 * @throws EncodeError when `value` is an invalid `Date`, lies before 1970, or is not an integer up to 2^64 - 1.
 */
export function timestamp(value: number | bigint | Date): TypedValue {
  if (typeof value !== 'object') return exact('timestamp', value, 0n, MAX_UINT64)
  const seconds = secondsOf(value)
  if (seconds === undefined) {
    throw new EncodeError(`timestamp takes a valid Date from 1970 on, not ${inspectShort(value)}`)
  }
  return new TypedValue('timestamp', seconds)
}

/** Whether a table has it as an integer of 32 bits: -0 is none. */
export function isInt32(value: unknown): value is number {
  return typeof value === 'number' && (value | 0) === value && !Object.is(value, -0)
}

/** An object literal, or one without prototype, of this realm or another. */
export function isPlainObject(value: unknown): value is FieldTable {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}
