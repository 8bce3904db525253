/**
 * Finds the type declarations that a user's compiler reads.
 */
import { cpSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const relativeImport = /\b(?:from|import)\s*\(?\s*['"](\.[^'"]+)\.[jt]s['"]/g

/**
 * Copies a declaration file and those it leads to.
 *
 * @param {string} entry a file in `from`
 * @param {string} from
 * @param {string} to
 */
export function copyDeclarations(entry, from, to) {
  const files = new Set([entry])
  for (const file of files) {
    cpSync(join(from, file), join(to, file))
    const text = readFileSync(join(from, file), 'utf8')
    for (const [, stem] of text.matchAll(relativeImport)) files.add(join(dirname(file), `${stem}.d.ts`))
  }
}
