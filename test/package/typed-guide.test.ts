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

/** The types of the libraries, in each place that takes a schema. */
const LIBRARIES = `
import type { AmqpProtocol, Message, SchemaInput } from 'asyncamqp'
import { type } from 'arktype'
import * as v from 'valibot'
import * as z from 'zod'

declare const protocol: AmqpProtocol
const zod = z.object({ id: z.number(), at: z.string().transform(at => new Date(at)), count: z.number().default(3) })
const valibot = v.object({ id: v.number(), at: v.pipe(v.string(), v.transform(at => new Date(at))) })
const arktype = type({ id: 'number', at: 'string.date.parse' })

await protocol.consumer('q', message => message.json().at.getTime() + message.json().count, { schema: zod })
await protocol.consumer('q', message => message.json().at.getTime(), { schema: valibot })
await protocol.consumer('q', message => message.json().at.getTime(), { schema: arktype, onFailure: 'drop' })
await protocol.publish({ id: 1, at: 'now' }, '', 'q', {}, { schema: zod })
await protocol.publish({ id: 1, at: 'now' }, '', 'q', {}, { schema: valibot })
await protocol.publish({ id: 1, at: 'now' }, '', 'q', {}, { schema: arktype })
// @ts-expect-error
await protocol.publish({ id: 1 }, '', 'q', {}, { schema: zod })
// @ts-expect-error
await protocol.publish({ id: 1 }, '', 'q', {}, { schema: valibot })
// @ts-expect-error
await protocol.publish({ id: 1 }, '', 'q', {}, { schema: arktype })
const publisher = await protocol.publisher({ schema: arktype })
// @ts-expect-error
await publisher.publish({ id: '1', at: 'now' }, 'q')
const client = await protocol.rpcClient({ schema: { request: valibot, reply: zod } })
const reply: Message<z.output<typeof zod>> = await client.call('q', { id: 1, at: 'now' })
await protocol.rpcServer('q', async request => ({ id: request.json().id, at: 'now' }), {
  schema: { request: valibot, reply: zod },
})
export const input: SchemaInput<typeof zod> = { id: reply.json().count, at: 'now' }
`

describe('The guide to typed messages', () => {
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
    for (const name of ['zod', 'valibot', 'arktype']) {
      await symlink(join(packageRoot, 'node_modules', name), join(project.folder, 'node_modules', name))
    }
    await project.write('schemas.js', schemas)
    await project.write('schemas.ts', schemas)
  })
  after(() => project[Symbol.asyncDispose]())

  it('shows code that compiles in a strict program, and does what it says', async () => {
    const blocks = codeBlocks(guide)
    assert.equal(blocks.length, PRINTS.length)
    for (const [i, block] of blocks.entries()) await project.write(`block-${i}.ts`, `${BEFORE}${block}${AFTER}`)
    await project.write('libraries.ts', LIBRARIES)
    const files = [...blocks.map((_, i) => `block-${i}.ts`), 'schemas.ts', 'libraries.ts']
    // Of the libraries, some ask for the types of browsers.
    const options = { noUnusedLocals: false, skipLibCheck: true }
    assert.equal(await project.compile('nodenext', files, options), '')
    for (const [i, expected] of PRINTS.entries()) {
      const { exitCode, stdout, stderr } = await project.node([`block-${i}.js`])
      assert.equal(exitCode, 0, stderr)
      assert.match(stdout, expected)
    }
  })
})
