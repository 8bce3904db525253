import type { Release } from './release.ts'

const LINE = 79
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '\\"'],
  ['\\', '\\\\'],
  ['\b', '\\b'],
  ['\t', '\\t'],
  ['\n', '\\n'],
  ['\v', '\\v'],
  ['\f', '\\f'],
  ['\r', '\\r'],
  ['\x1b', '\\e'],
])
const isPrintable = (octet: number) =>
  (octet >= 0x20 && octet < 0x7f) || octet >= 0xa0 || (octet >= 8 && octet <= 13) || octet === 0x1b

/** Erlang begins a new line when it prints a term that would end after column 79. */
export function fits(column: number, text: string): boolean {
  return column + text.length < LINE
}

const escaped = (text: string) => [...text].map(one => ESCAPES.get(one) ?? one).join('')

/** Octets in quotes if all are printable in Latin-1. */
export function binaryTerm(bytes: Buffer): string {
  const isText = bytes.length > 0 && bytes.every(isPrintable)
  return isText ? `<<"${escaped(bytes.toString('latin1'))}">>` : `<<${bytes.join()}>>`
}

export function floatTerm(value: number): string {
  return Number.isInteger(value) ? `${BigInt(value)}.0` : String(value)
}

/** A text that is a list of octets: in quotes if all are printable in Latin-1. */
export function listTerm(text: string, { printsLatin1 }: Release): string {
  const octets = Buffer.from(text)
  if (!octets.every(isPrintable)) return `[${octets.join()}]`
  const printed = printsLatin1 ? octets.toString('latin1') : text
  return `"${escaped(printed)}"`
}

/** Two terms that come after `column` characters. */
export function pairTerm(name: string, value: bigint, column: number): string {
  const pair = `{${name},${value}}`
  return fits(column, pair) ? pair : `{${name},\n${' '.repeat(column + 1)}${value}}`
}
