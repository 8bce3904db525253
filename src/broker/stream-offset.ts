import type { FieldTable } from '../protocol/values.ts'
import { CONSUMER_ARGUMENTS } from './argument-tables.ts'
import { entryOf, isInteger } from './field-kinds.ts'
import type { QueueHost } from './queue.ts'
import { ageOf } from './queue-arguments.ts'
import { breakage } from './refusals.ts'
import type { Release } from './release.ts'

/** Where in a stream a consumer starts: at an offset, at a time, or at one end. */
export type StreamStart =
  | { readonly at: 'first' | 'last' | 'next' }
  | { readonly offset: number }
  | { readonly milliseconds: number }

/** The value of `x-stream-offset`, which has been checked. @throws Refusal (541) if RabbitMQ breaks on it. */
export function streamStart(table: FieldTable, { release, date }: Pick<QueueHost, 'release' | 'date'>): StreamStart {
  const entry = entryOf(table, 'x-stream-offset')
  if (entry === undefined) return { at: 'next' }
  const value = entry.value instanceof Uint8Array ? Buffer.from(entry.value).toString() : entry.value
  if (value === 'first' || value === 'last' || value === 'next') return { at: value }
  if (value instanceof Date) return { milliseconds: value.getTime() }
  if (isInteger(entry)) return { offset: Number(value) }
  if (typeof entry.value !== 'string' || typeof value !== 'string') throw breakage()
  return { milliseconds: date() - (ageOf(value, release) ?? 0) }
}

/** Which messages a consumer of a stream wants. */
export class StreamFilter {
  readonly #values: ReadonlySet<unknown> | undefined
  readonly #unfiltered: boolean

  /** @throws Refusal (541) if RabbitMQ breaks on it. */
  constructor(table: FieldTable, release: Release) {
    const filter = knowsFilters(release) ? table['x-stream-filter'] : undefined
    const texts = Array.isArray(filter) ? filter.filter(value => typeof value === 'string') : undefined
    if (texts?.length === 0) throw breakage()
    const values = typeof filter === 'string' ? [filter] : texts
    this.#values = values === undefined ? undefined : new Set(values)
    this.#unfiltered = table['x-stream-match-unfiltered'] === true
  }

  matches(value: unknown): boolean {
    if (this.#values === undefined) return true
    return hasFilterValue(value) ? this.#values.has(value) : this.#unfiltered || this.#values.has('')
  }
}

function knowsFilters({ name }: Release): boolean {
  return CONSUMER_ARGUMENTS[name].stream.includes('x-stream-filter')
}

/** An empty text is none. */
function hasFilterValue(value: unknown): boolean {
  return typeof value === 'string' && value !== ''
}

/** @throws Refusal (541) if RabbitMQ breaks on what a publisher gave as `x-stream-filter-value`. */
export function checkFilterValue(headers: FieldTable, release: Release): void {
  const value = headers['x-stream-filter-value']
  if (value !== undefined && typeof value !== 'string' && knowsFilters(release)) throw breakage()
}
