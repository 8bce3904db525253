import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'

const examples = new URL('../../../examples/', import.meta.url)

/** What `npm start` runs, and what a program imports. */
const NO_PROGRAMS = ['demo.ts', 'websocket-transport.ts']

describe("The examples' README", () => {
  it('gives the command of every tutorial, and of nothing that is not there', () => {
    const text = readFileSync(new URL('README.md', examples), 'utf8')
    const commanded = Array.from(text.matchAll(/node build\/examples\/([\w-]+)\.js/g), match => match[1])
    const present = readdirSync(examples)
      .filter(name => name.endsWith('.ts') && !NO_PROGRAMS.includes(name))
      .map(name => name.slice(0, -'.ts'.length))
    assert.deepEqual(commanded.sort(), present.sort())
    assert.ok(text.includes('`websocket-transport.ts`'))
  })
})
