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
  const { value } = entry
  if (value === 'first' || value === 'last' || value === 'next') return { at: value }
  if (value instanceof Date) return { milliseconds: value.getTime() }
  if (isInteger(entry)) return { offset: Number(value) }
  if (typeof value !== 'string') throw breakage()
  return { milliseconds: date() - (ageOf(value, release) ?? 0) }
}

/** Which messages a consumer of a stream wants. */
export class StreamFilter {
  readonly #values: ReadonlySet<unknown> | undefined
  readonly #unfiltered: boolean

  constructor(table: FieldTable, { name }: Release) {
    const isKnown = CONSUMER_ARGUMENTS[name].stream.includes('x-stream-filter')
    const filter = isKnown ? table['x-stream-filter'] : undefined
    const values = Array.isArray(filter) ? filter : typeof filter === 'string' ? [filter] : undefined
    this.#values = values === undefined ? undefined : new Set(values)
    this.#unfiltered = table['x-stream-match-unfiltered'] === true
  }

  matches(value: unknown): boolean {
    if (this.#values === undefined) return true
    return typeof value === 'string' ? this.#values.has(value) : this.#unfiltered
  }
}
