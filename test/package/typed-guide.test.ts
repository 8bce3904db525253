import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { codeBlocks } from './code-blocks.ts'
import { ConsumerProject, packageRoot } from './consumer-project.ts'

const guide = readFileSync(join(packageRoot, 'docs/typed-messages.md'), 'utf8')
const schemas = /^```js zod\n(.*?)^```$/ms.exec(guide)?.[1] ?? ''

/** What each block prints, in their order, beside what it does by itself. */
const PRINTS = [
  /^order 1: tea\nrefused: id: .+\n$/,
  /^MILK\n$/,
  /^notSent \[ 'id', 'item' \]\n$/,
  /^7\n$/,
  /^(3018 \d\d\n4000 \d\d|4000 \d\d\n3018 \d\d)\n$/,
  /^\[ '1', '2' \]\n$/,
]

const BEFORE = `
import { connect } from 'asyncamqp'
import { startBroker } from 'asyncamqp/testing'

const broker = await startBroker()
const protocol = await connect({ ...broker.inMemory, onError: () => {} })
for (const name of ['orders', 'sums', 'tables']) await protocol.queueDeclare(name)
`

/** What has a consumer is handled. */
const AFTER = `
for (const name of ['orders', 'tables']) if (broker.queue(name).consumers.length > 0) await broker.queue(name).emptied()
await protocol.close()
await broker[Symbol.asyncDispose]()
`

describe('The guide to typed messages', () => {
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
    await symlink(join(packageRoot, 'node_modules/zod'), join(project.folder, 'node_modules/zod'))
    await project.write('schemas.js', schemas)
    await project.write('schemas.ts', schemas)
  })
  after(() => project[Symbol.asyncDispose]())

  it('shows code that compiles in a strict program, and does what it says', async () => {
    const blocks = codeBlocks(guide)
    assert.equal(blocks.length, PRINTS.length)
    for (const [i, block] of blocks.entries()) await project.write(`block-${i}.ts`, `${BEFORE}${block}${AFTER}`)
    const files = blocks.map((_, i) => `block-${i}.ts`)
    assert.equal(await project.compile('nodenext', [...files, 'schemas.ts'], { noUnusedLocals: false }), '')
    for (const [i, expected] of PRINTS.entries()) {
      const { exitCode, stdout, stderr } = await project.node([`block-${i}.js`])
      assert.equal(exitCode, 0, stderr)
      assert.match(stdout, expected)
    }
  })
})
