import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

const examples = new URL('../../../examples/', import.meta.url)

describe("The examples' README", () => {
  it('gives the command of every tutorial, and of nothing that is not there', () => {
    const text = readFileSync(new URL('README.md', examples), 'utf8')
    const commanded = Array.from(text.matchAll(/node build\/examples\/([\w-]+)\.js/g), match => match[1])
    const present = readdirSync(examples)
      .filter(name => name.endsWith('.ts') && name !== 'demo.ts')
      .map(name => name.slice(0, -'.ts'.length))
    assert.deepEqual(commanded.sort(), present.sort())
  })
})
