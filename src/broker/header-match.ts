import type { FieldTable } from '../protocol/values.ts'
import { entryOf, sameValue } from './field-kinds.ts'
import { preconditionFailed } from './refusals.ts'

const MATCH = 'x-match'
const KINDS: ReadonlySet<unknown> = new Set(['all', 'any', 'all-with-x', 'any-with-x'])

/** @throws Refusal (406) where the arguments of a binding say nothing that a headers exchange knows. */
export function checkHeaderMatch(table: FieldTable): void {
  const entry = entryOf(table, MATCH)
  if (entry === undefined) return
  if (entry.kind !== 'longstr') {
    throw preconditionFailed(
      `Invalid x-match field type ${entry.kind} (value ${String(entry.value)}); expected longstr`,
    )
  }
  if (KINDS.has(entry.value)) return
  throw preconditionFailed(
    `Invalid x-match field value <<"${String(entry.value)}">>; expected all, any, all-with-x, or any-with-x`,
  )
}

/** Whether headers match the arguments of a binding to a headers exchange. */
export function matchesHeaders(table: FieldTable, headers: FieldTable): boolean {
  const kind = String(table[MATCH] ?? 'all')
  const withX = kind.endsWith('-with-x')
  const tests = Object.entries(table)
    .filter(([name]) => name !== MATCH && (withX || !name.startsWith('x-')))
    .map(([name, value]) => {
      if (!Object.hasOwn(headers, name)) return false
      return value === null || sameValue(value, headers[name])
    })
  return kind.startsWith('any') ? tests.includes(true) : !tests.includes(false)
}
