import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { startBroker } from '../../src/testing/index.ts'
import { ConsumerProject, packageRoot } from './consumer-project.ts'

const [, ...sections] = readFileSync(join(packageRoot, 'docs/amqplib-programs.md'), 'utf8').split(/^## /m)

/** The program of a section in a fence of this language, with the address of the broker, and for Node 20 without `await using`. */
function programOf(section: string, language: string, url: string): string {
  const [, program = ''] = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(section) ?? []
  assert.ok(program.includes("'amqp://localhost'"))
  return program.replace('amqp://localhost', url).replace('await using ', 'const ')
}

describe('The programs of amqplib and those that take their place', { timeout: 120_000 }, () => {
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
    await symlink(join(packageRoot, 'node_modules/amqplib'), join(project.folder, 'node_modules/amqplib'))
  })
  after(() => project[Symbol.asyncDispose]())

  it('are ten', () => assert.equal(sections.length, 10))

  for (const section of sections) {
    const [title = ''] = section.split('\n', 1)
    it(`do the same: ${title}`, async () => {
      await using broker = await startBroker()
      const printed: string[] = []
      for (const [language, file] of [
        ['mjs', 'before.mjs'],
        ['js', 'after.mjs'],
      ] as const) {
        await project.write(file, programOf(section, language, broker.url))
        const { exitCode, stdout, stderr } = await project.node([file])
        assert.equal(exitCode, 0, stderr)
        printed.push(stdout)
      }
      assert.equal(printed[1], printed[0])
      assert.notEqual(printed[0], '')
    })
  }
})
