import type { FieldTable } from '../protocol/values.ts'
import { type Entry, entryOf, termOf } from './field-kinds.ts'
import { preconditionFailed } from './refusals.ts'
import type { Release } from './release.ts'

const MATCH = 'x-match'
const KINDS: ReadonlySet<unknown> = new Set(['all', 'any', 'all-with-x', 'any-with-x'])

/** @throws Refusal (406) where the arguments of a binding say nothing that a headers exchange knows. */
export function checkHeaderMatch(table: FieldTable): void {
  const entry = entryOf(table, MATCH)
  if (entry === undefined) return
  if (entry.kind !== 'longstr') {
    throw preconditionFailed(`Invalid x-match field type ${entry.kind} (value ${termOf(entry)}); expected longstr`)
  }
  if (KINDS.has(entry.value)) return
  throw preconditionFailed(`Invalid x-match field value ${termOf(entry)}; expected all, any, all-with-x, or any-with-x`)
}

/** Whether headers match the arguments of a binding to a headers exchange. */
export function matchesHeaders(table: FieldTable, headers: FieldTable, release: Release): boolean {
  const kind = String(table[MATCH] ?? 'all')
  const withX = kind.endsWith('-with-x')
  const tests = Object.entries(table)
    .filter(([name]) => name !== MATCH && (withX || !name.startsWith('x-')))
    .map(([name, value]) => {
      const [wanted, header] = [entryOf(table, name), entryOf(headers, name)]
      if (wanted === undefined || header === undefined) return false
      return value === null || sameTerms(termOf(wanted), headerTerm(header, release), release)
    })
  return kind.startsWith('any') ? tests.includes(true) : !tests.includes(false)
}

/** Later releases take a time for its milliseconds, but that of a binding for its seconds. */
function headerTerm(header: Entry, { headersMatchExactly }: Release): string {
  const term = termOf(header)
  return headersMatchExactly && header.kind === 'timestamp' ? `${term}000` : term
}

function sameTerms(one: string, other: string, { headersMatchExactly }: Release): boolean {
  if (one === other) return true
  return !headersMatchExactly && one.includes('.') !== other.includes('.') && Number(one) === Number(other)
}
