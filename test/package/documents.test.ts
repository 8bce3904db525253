import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import { packageRoot } from './consumer-project.ts'

const ROOTS = ['docs', 'src', 'test', 'scripts', 'examples', 'bench']
const documents = [
  'README.md',
  'CONTRIBUTING.md',
  ...ROOTS.flatMap(root => under(root).filter(file => file.endsWith('.md'))),
]
const FILE = /^[\w./-]+\.(?:ts|mjs|json|md|txt|sh)$/
/** Files of the user's, of the build or of the package, which are not in the source. */
const ELSEWHERE = /^(?:asyncamqp|build|dist|node_modules)\//

/** All files below a folder, by their paths in the source. */
function under(folder: string): string[] {
  return readdirSync(join(packageRoot, folder), { recursive: true, encoding: 'utf8' }).map(file => join(folder, file))
}

/** What a document names in backticks. */
function named(document: string): string[] {
  const text = readFileSync(join(packageRoot, document), 'utf8').replaceAll(/^```.*?^```$/gms, '')
  return Array.from(text.matchAll(/`([^`\n]+)`/g), match => match[1] ?? '')
}

describe('The documents of the source', () => {
  for (const document of documents) {
    it(`name only files and folders that are there, in ${document}`, () => {
      const folder = dirname(document)
      const missing = named(document)
        .filter(
          name =>
            (FILE.test(name) || /^(?:src|test|scripts|docs|examples|bench)\/[\w./-]*$/.test(name)) &&
            !ELSEWHERE.test(name),
        )
        .filter(name => {
          const [first = ''] = name.split('/')
          if (ROOTS.includes(first) && name.includes('/')) return !existsSync(join(packageRoot, name))
          if (existsSync(join(packageRoot, name)) || existsSync(join(packageRoot, folder, name))) return false
          // A name alone may be that of a file in a folder below.
          return name.includes('/') || !under(folder).some(file => basename(file) === name)
        })
      assert.deepEqual(missing, [])
    })
  }

  it('name the versions of runtimes, loaders and compilers that are tested, in docs/runtimes.md', async () => {
    const text = readFileSync(join(packageRoot, 'docs/runtimes.md'), 'utf8')
    const { rows } = (await import(join(packageRoot, 'scripts/loaders/rows.mjs'))) as {
      rows: readonly { readonly packages: readonly string[] }[]
    }
    const tested = rows
      .flatMap(({ packages }) => packages)
      .map(each =>
        /^(?:@nestjs\/)?(jest|ts-jest|vitest|tsx|core|esbuild|rollup|webpack|bun|deno|typescript)@(.*)$/.exec(each),
      )
      .flatMap(match => (match === null ? [] : [{ name: match[1] ?? '', version: match[2] ?? '' }]))
    assert.ok(new Set(tested.map(({ name }) => name)).size === 11)
    const unnamed = tested.filter(({ name, version }) => {
      const parts = version.split('.')
      const shown = name === 'core' ? parts[0] : parts.slice(0, 2).join('.')
      return !new RegExp(`(?<![\\d.])${shown}(?!\\d)`).test(text)
    })
    assert.deepEqual(unnamed, [])
  })

  const readmes = under('src').filter(file => basename(file) === 'README.md')
  for (const readme of readmes) {
    it(`name every file of the folder, in ${readme}`, () => {
      const folder = dirname(readme)
      const others = readmes.map(dirname).filter(other => other !== folder && other.startsWith(`${folder}/`))
      const names = new Set(named(readme).map(name => basename(name).replace(/\.ts$/, '')))
      const unnamed = under(folder)
        .filter(file => file.endsWith('.ts') && !others.some(other => file.startsWith(`${other}/`)))
        .filter(file => !names.has(basename(file).replace(/\.ts$/, '')))
      assert.deepEqual(unnamed, [])
    })
  }
})
