import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { MUTANTS } from './mutants.ts'

describe('The mutants', () => {
  it('each change a text that is in its file exactly once', () => {
    for (const { name, file, text, replacement } of MUTANTS) {
      // Seen from the compiled test.
      const source = readFileSync(new URL(`../../../../src/${file}`, import.meta.url), 'utf8')
      assert.equal(source.split(text).length - 1, 1, `${name}: src/${file}`)
      assert.notEqual(replacement, text, name)
    }
  })

  it('have names that differ', () => {
    assert.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length)
    assert.ok(MUTANTS.length >= 30)
  })

  it('each have a row in the table', () => {
    const readme = readFileSync(new URL('../../../../test/simulation/README.md', import.meta.url), 'utf8')
    const table = readme.slice(readme.indexOf('| mutant | found after')).split('\n').slice(2, -1)
    assert.deepEqual(table.map(row => row.split(' | ')[0]).sort(), MUTANTS.map(({ name }) => `| ${name}`).sort())
  })
})
