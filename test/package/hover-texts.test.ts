import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { packageRoot } from './consumer-project.ts'

const dist = join(packageRoot, 'dist')
/** Its members are the levels, which it says. */
const PLAIN = new Set(['Logger'])

const frozen = readdirSync(join(packageRoot, 'test/package')).filter(file => file.endsWith('exports.txt'))
const exported = frozen.flatMap(file =>
  readFileSync(join(packageRoot, 'test/package', file), 'utf8')
    .trimEnd()
    .split('\n'),
)
const publicNames = new Set(exported.map(name => name.replace('type ', '')))
/** Classes that only the client makes are exported as types. */
const typeNames = new Set(exported.filter(name => name.startsWith('type ')).map(name => name.replace('type ', '')))

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

interface Silent {
  /** Members without a doc comment: `Owner.name`. */
  readonly members: string[]
  /** Functions, classes and methods that show no code in their doc comment. */
  readonly callables: string[]
}

/** What of the public names of a declaration file the reference of the site has to add. */
function silentIn(text: string): Silent {
  const members: string[] = []
  const shown = new Map<string, boolean>()
  let owner: string | undefined
  let comment = ''
  for (const line of text.split('\n')) {
    if (/^\s*(?:\/\*\*|\*)/.test(line)) {
      comment += `${line}\n`
      continue
    }
    const [, kind, name] =
      /^export (?:declare )?(?:abstract )?(class|interface|function|type|const) (\w+)/.exec(line) ?? []
    const [, member = '', sign] = memberOf(line)
    if (name !== undefined) owner = publicNames.has(name) ? name : undefined
    else if (/^\w/.test(line)) owner = undefined
    const full = name ?? `${owner}.${member}`
    if (owner !== undefined && name === undefined && member !== '' && member !== 'constructor' && comment === '')
      members.push(full)
    const isCallable =
      (kind === 'class' && !typeNames.has(name ?? '')) || kind === 'function' || (member !== '' && sign !== ':')
    if (owner !== undefined && isCallable && member !== 'constructor') {
      shown.set(full, (shown.get(full) ?? false) || /^\s*\* {5,}\S/m.test(comment))
    }
    if (kind !== 'class' && kind !== 'interface' && name !== undefined) owner = undefined
    comment = ''
  }
  return { members, callables: [...shown].flatMap(([name, isShown]) => (isShown ? [] : [name])) }
}

/** Their members say what those of `AnyMethod` and `BasicProperties` say. */
const OVERRIDING = /^(?:(?:Sync)?Method|Properties)\./

/** The name of a member in its line, and `(` if it is a method. */
function memberOf(line: string): readonly string[] {
  return /^\t(?:readonly |get )?'?(\w[\w-]*)'?\??(?=[:(<])(.)/.exec(line.replace(/^\t(get \w+)\(.*/, '\t$1:')) ?? []
}

describe('The declarations', () => {
  it('say something of every public type, function and method, of each overload too', () => {
    const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.d.ts'))
    assert.ok(files.length > 30)
    const missing = files.flatMap(file => undocumented(readFileSync(join(dist, file), 'utf8')))
    assert.deepEqual(missing, [])
  })

  // `npm run docs` checks the same, and more, by TypeDoc, which is not installed here.
  it('leave nothing unsaid that the reference of the site does not say', () => {
    const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.d.ts'))
    const silent = files.map(file => silentIn(readFileSync(join(dist, file), 'utf8')))
    const reference = (file: string) => readFileSync(join(packageRoot, 'site/reference', file), 'utf8')
    const described = new Set(Array.from(reference('descriptions.md').matchAll(/`([^`]+)`/g), ([, name]) => name))
    const headings = Array.from(reference('examples.md').matchAll(/^## (.*)$/gm), ([, heading = '']) => heading)
    const shown = new Set(headings.flatMap(heading => heading.split(', ')))
    const members = silent.flatMap(each => each.members)
    const callables = silent.flatMap(each => each.callables)
    assert.ok(members.length > 100 && callables.length > 100, `${members.length} and ${callables.length}`)
    assert.deepEqual(
      members.filter(
        name => !OVERRIDING.test(name) && !described.has(name) && !described.has(name.replace(/^\w+/, '*')),
      ),
      [],
    )
    assert.deepEqual(
      callables.filter(name => !shown.has(name)),
      [],
    )
  })
})
