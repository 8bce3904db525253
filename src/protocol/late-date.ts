import { types } from '../lib/platform.ts'

/** Seconds of the last moment that a `Date` can hold. */
const MAX_DATE_SECONDS = 8_640_000_000_000

/**
 * A received timestamp past the range of `Date`, as programs send that count in microseconds. As a `Date` it is invalid,
 * but its `getTime()` is right, and it is sent again as it came.
 */
export class LateDate extends Date {
  /** Seconds since 1970; a `bigint` past 2^53 - 1. */
  readonly seconds: number | bigint

  constructor(seconds: number | bigint) {
    super(Number.NaN)
    this.seconds = seconds
  }

  /** Milliseconds since 1970, rounded past 2^53. */
  override getTime(): number {
    const changed = super.getTime()
    return Number.isNaN(changed) ? Number(this.seconds) * 1000 : changed
  }

  override valueOf(): number {
    return this.getTime()
  }

  /** The milliseconds: Such a time has no form in ISO 8601. */
  override toISOString(): string {
    return this.isLate ? String(this.getTime()) : super.toISOString()
  }

  /** @internal Whether the program has not set another time. */
  get isLate(): boolean {
    return Number.isNaN(super.getTime())
  }
}

/** @internal A received timestamp as a `Date`. */
export function dateOf(seconds: bigint): Date {
  const number = Number(seconds)
  if (number <= MAX_DATE_SECONDS) return new Date(number * 1000)
  return new LateDate(Number.isSafeInteger(number) ? number : seconds)
}

/** @internal Whole seconds since 1970 of a `Date`, of this realm or another; undefined if it is invalid or earlier. */
export function secondsOf(value: unknown): number | bigint | undefined {
  if (!types.isDate(value)) return undefined
  if (value instanceof LateDate && value.isLate) return value.seconds
  const milliseconds = value.getTime()
  return milliseconds >= 0 && milliseconds <= Number.MAX_SAFE_INTEGER ? Math.floor(milliseconds / 1000) : undefined
}
