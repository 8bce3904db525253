import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const DECLARATION = /^export (?:declare )?(?:abstract )?(?:class|function|const|let|interface|type|enum) (\w+)/gm
const LIST = /^export (?:type )?\{([^}]*)\}/gm
const STAR = /^export (?:type )?\* from '([^']+)'/gm

/** Every public name of a declaration file, of values and types, re-exports included. */
export function publicNames(declarationFile: string): Set<string> {
  const text = readFileSync(declarationFile, 'utf8')
  const names = new Set<string>()
  for (const [, name = ''] of text.matchAll(DECLARATION)) names.add(name)
  for (const [, list = ''] of text.matchAll(LIST)) {
    for (const item of list.split(',')) {
      const name = item.trim().split(/\s+/).at(-1) ?? ''
      if (name !== '') names.add(name)
    }
  }
  for (const [, specifier = ''] of text.matchAll(STAR)) {
    const file = join(dirname(declarationFile), specifier.replace(/\.[jt]s$/, '.d.ts'))
    for (const name of publicNames(file)) names.add(name)
  }
  return names
}
