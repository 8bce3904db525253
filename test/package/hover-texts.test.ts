import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { packageRoot } from './consumer-project.ts'

const dist = join(packageRoot, 'dist')
/** Its members are the levels, which it says. */
const PLAIN = new Set(['Logger'])

const frozen = readdirSync(join(packageRoot, 'test/package')).filter(file => file.endsWith('exports.txt'))
const publicNames = new Set(
  frozen
    .flatMap(file =>
      readFileSync(join(packageRoot, 'test/package', file), 'utf8')
        .trimEnd()
        .split('\n'),
    )
    .map(name => name.replace('type ', '')),
)

/** Public classes, interfaces, types, functions and methods, each overload of them, that have no doc comment above them. */
function undocumented(text: string): string[] {
  const names: string[] = []
  let owner: string | undefined
  let isDocumented = false
  for (const line of text.split('\n')) {
    if (/^\s*(?:\/\*\*.*)?\*\/$/.test(line)) {
      isDocumented = true
      continue
    }
    if (/^\s*(?:\*|\/\*\*)/.test(line)) continue
    const [, name] = /^export (?:declare )?(?:abstract )?(?:class|interface|function|type) (\w+)/.exec(line) ?? []
    const [, method] = /^\t(\w+)\??(?:<.*>)?\(/.exec(line) ?? []
    if (name !== undefined) {
      owner = publicNames.has(name) && !PLAIN.has(name) ? name : undefined
      if (owner !== undefined && !isDocumented) names.push(owner)
    } else if (owner !== undefined && method !== undefined && method !== 'constructor' && !isDocumented) {
      names.push(`${owner}.${method}`)
    }
    if (line.startsWith('}')) owner = undefined
    isDocumented = false
  }
  return names
}

describe('The declarations', () => {
  it('say something of every public type, function and method, of each overload too', () => {
    const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.d.ts'))
    assert.ok(files.length > 30)
    const missing = files.flatMap(file => undocumented(readFileSync(join(dist, file), 'utf8')))
    assert.deepEqual(missing, [])
  })
})
