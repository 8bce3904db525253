import { ReplyCode } from '../protocol/constants.ts'
import type { FieldTable } from '../protocol/values.ts'
import { entryOf, isInteger } from './field-kinds.ts'
import type { QueueHost } from './queue.ts'
import { ageOf } from './queue-arguments.ts'
import { preconditionFailed, Refusal, resource } from './refusals.ts'

/** Where in a stream a consumer starts: at an offset, at a time, or at one end. */
export type StreamStart =
  | { readonly at: 'first' | 'last' | 'next' }
  | { readonly offset: number }
  | { readonly milliseconds: number }

type StreamHost = Pick<QueueHost, 'vhostName' | 'release' | 'date'>

/**
 * What `x-stream-offset` says.
 *
 * @throws Refusal (406, or 541 of releases that break on it) where it says nothing that a stream knows.
 */
export function streamStart(table: FieldTable, queue: string, { vhostName, release, date }: StreamHost): StreamStart {
  const entry = entryOf(table, 'x-stream-offset')
  if (entry === undefined) return { at: 'next' }
  const { value } = entry
  if (value === 'first' || value === 'last' || value === 'next') return { at: value }
  if (value instanceof Date) return { milliseconds: value.getTime() }
  if (isInteger(entry)) return { offset: Number(value) }
  const age = typeof value === 'string' ? ageOf(value) : undefined
  if (age !== undefined) return { milliseconds: date() - age }
  if (release.breaksOnOffset) throw new Refusal(ReplyCode.INTERNAL_ERROR, '')
  const shown = typeof value === 'string' ? `<<"${value}">>` : String(value)
  throw preconditionFailed(
    `invalid arg 'x-stream-offset' for ${resource('queue', queue, vhostName)}: {invalid_stream_offset_arg,{${entry.kind},${shown}}}`,
  )
}

/** Which messages a consumer of a stream wants. */
export class StreamFilter {
  readonly #values: ReadonlySet<unknown> | undefined
  readonly #unfiltered: boolean

  constructor(table: FieldTable) {
    const filter = table['x-stream-filter']
    const values = Array.isArray(filter) ? filter : typeof filter === 'string' ? [filter] : undefined
    this.#values = values === undefined ? undefined : new Set(values)
    this.#unfiltered = table['x-stream-match-unfiltered'] === true
  }

  matches(value: unknown): boolean {
    if (this.#values === undefined) return true
    return typeof value === 'string' ? this.#values.has(value) : this.#unfiltered
  }
}
