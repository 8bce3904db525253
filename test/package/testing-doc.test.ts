import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { codeBlocks } from './code-blocks.ts'
import { ConsumerProject, packageRoot } from './consumer-project.ts'

/** Those of Vitest and Jest are run with the programs that load the package. */
const blocks = codeBlocks(readFileSync(join(packageRoot, 'docs/testing.md'), 'utf8')).filter(block =>
  block.includes("from 'node:test'"),
)

describe('docs/testing.md', () => {
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
  })
  after(() => project[Symbol.asyncDispose]())

  it('shows tests that compile in a strict program and pass', async () => {
    const names = blocks.map((_, i) => `doc-${i + 1}`)
    assert.ok(names.length > 2)
    for (const [i, name] of names.entries()) await project.write(`${name}.ts`, blocks[i] ?? '')
    assert.equal(
      await project.compile(
        'nodenext',
        names.map(name => `${name}.ts`),
        { noUnusedLocals: false },
      ),
      '',
    )
    for (const name of names) {
      // A test of its own, as the one that a reader runs.
      const { exitCode, stdout } = await project.node(['--test-reporter=tap', `${name}.js`], {
        NODE_TEST_CONTEXT: '',
      })
      assert.equal(exitCode, 0, stdout)
      assert.match(stdout, /^# pass 1$/m)
    }
  })
})
