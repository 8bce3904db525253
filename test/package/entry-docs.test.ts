import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { codeBlocks } from './code-blocks.ts'
import { ConsumerProject, packageRoot } from './consumer-project.ts'

/** Those of Vitest and Jest are run with the programs that load the package. */
function testsOf(document: string): readonly string[] {
  const text = readFileSync(join(packageRoot, document), 'utf8')
  return codeBlocks(text).filter(block => block.includes("from 'node:test'"))
}

describe('The documents of the other entries', () => {
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
  })
  after(() => project[Symbol.asyncDispose]())

  for (const document of ['docs/testing.md', 'docs/codec.md']) {
    it(`show tests that compile in a strict program and pass, in ${document}`, async () => {
      const blocks = testsOf(document)
      const names = blocks.map((_, i) => `${basename(document, '.md')}-${i + 1}`)
      assert.ok(names.length > 2)
      for (const [i, name] of names.entries()) await project.write(`${name}.ts`, blocks[i] ?? '')
      const files = names.map(name => `${name}.ts`)
      assert.equal(await project.compile('nodenext', files, { noUnusedLocals: false }), '')
      for (const name of names) {
        // A test of its own, as the one that a reader runs.
        const { exitCode, stdout } = await project.node(['--test-reporter=tap', `${name}.js`], {
          NODE_TEST_CONTEXT: '',
        })
        assert.equal(exitCode, 0, stdout)
        assert.match(stdout, /^# pass 1$/m)
      }
    })
  }
})
