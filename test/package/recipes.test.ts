import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { codeBlocks } from './code-blocks.ts'
import { ConsumerProject, packageRoot } from './consumer-project.ts'

interface Run {
  /** What a program that uses the recipe does then. */
  readonly use?: string
  /** What it prints, at last. */
  readonly prints: RegExp
  readonly check?: (broker: Broker) => unknown
}

/** What is done with each recipe, by its heading. */
const RUNS: Readonly<Record<string, Run>> = {
  'Delayed messages': {
    use: `
      await publishLater({ to: 'bob@example.com' }, 'reminders', 50)
      await protocol.consumer('reminders', message => console.log(message.text()))`,
    prints: /^\{"to":"bob@example\.com"\}$/m,
    check: broker => assert.equal(broker.queue('reminders.delay.600000').ready.length, 1),
  },
  Priority: { prints: /^\{"job":"password reset"\}\n\{"job":"report"\}$/m },
  'Single active consumer': {
    use: "for (const line of ['first', 'second', 'third']) await protocol.publish(line, '', 'ledger')",
    prints: /^first\nsecond\nthird$/m,
  },
  'Idempotent consumer': {
    use: `
      for (let i = 0; i < 3; i++) await protocol.publish({ account: 1, amount: 7 }, '', 'payments', { messageId: 'same' })
      await protocol.publish({ account: 1, amount: 1_000 }, '', 'payments', { messageId: 'last' })`,
    prints: /^balance 1057 of 3 payments$/m,
  },
  'Outbox with PostgreSQL': {
    use: `
      const rowFor = (id: string, exchangeName: string) =>
        ({ id, exchange_name: exchangeName, routing_key: 'orders', payload: { id } })
      client.outbox.push(rowFor('1', ''), rowFor('2', ''))
      console.log(await relay(), 'relayed')
      client.outbox.push(rowFor('3', ''), rowFor('4', 'missing'))
      await relay().catch(error => console.log(error.replyCode, 'left:', client.outbox.length))`,
    prints: /^2 relayed\n404 left: 2$/m,
    check: broker =>
      assert.deepEqual(
        broker.queue('orders').ready.map(({ properties }) => properties.messageId),
        ['outbox-1', 'outbox-2', 'outbox-3'],
      ),
  },
  'Batch insert': {
    use: `
      await Promise.all(Array.from({ length: 600 }, (_, i) => protocol.publish({ sensor: 's', value: i }, '', 'readings')))`,
    prints: /^600 rows$/m,
    check: broker => broker.queue('readings').emptied(),
  },
  'Fan-out': {
    prints: /^\{"item":"apple","price":3\}$/m,
    check: broker => assert.equal(broker.queue('prices.shop').ready.length, 1),
  },
  'Request batching': { prints: /'\{"name":"item 1"\}',\s+'\{"name":"item 2"\}',\s+'\{"name":"item 3"\}'/ },
  'Large bodies': {
    prints: /^100000000 bytes$/m,
    check: broker => assert.ok(broker.published.every(({ body }) => body.length < 1_000)),
  },
}

const BEGIN = `
import { connect } from 'asyncamqp'
const protocol = await connect(process.argv[2] as string)
process.once('SIGTERM', () => protocol.close())
for (const queue of ['payments', 'orders', 'readings', 'lookups', 'scans']) await protocol.queueDeclare(queue)
`

const [, ...sections] = readFileSync(join(packageRoot, 'docs/recipes.md'), 'utf8').split(/^## /m)
const recipes = sections.map(section => {
  const text = codeBlocks(section).join('\n')
  const given = Array.from(text.matchAll(/^declare (?:const|function) (\w+)/gm), ([, name]) => name)
  const program = text.replaceAll(/^declare .*$/gm, '').replace('await using ', 'const ')
  return {
    title: section.split('\n', 1)[0] ?? '',
    program: `import { ${given} } from './given.js'\n${BEGIN}\n${program}`,
  }
})

describe('The recipes', { timeout: 120_000 }, () => {
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
    await project.copy(join(packageRoot, 'test/package/recipes/given.ts'), 'given.ts')
    const files = recipes.map((_, i) => `recipe-${i}.ts`)
    for (const [i, { title, program }] of recipes.entries()) {
      await project.write(`recipe-${i}.ts`, `${program}\n${RUNS[title]?.use ?? ''}\n`)
    }
    assert.equal(await project.compile('nodenext', ['given.ts', ...files], { noUnusedLocals: false }), '')
  })
  after(() => project[Symbol.asyncDispose]())

  for (const [i, { title }] of recipes.entries()) {
    it(`do what they say: ${title}`, async () => {
      const run = RUNS[title]
      assert.ok(run !== undefined)
      await using broker = await startBroker()
      const child = spawn(process.execPath, [`recipe-${i}.js`, broker.url], { cwd: project.folder })
      const ended = once(child, 'close')
      let printed = ''
      let errors = ''
      child.stderr.on('data', text => {
        errors += String(text)
      })
      for await (const text of child.stdout) {
        printed += String(text)
        if (!run.prints.test(printed)) continue
        await run.check?.(broker)
        child.kill('SIGTERM')
        break
      }
      const [exitCode] = await ended
      assert.match(printed, run.prints)
      assert.equal(errors, '')
      assert.equal(exitCode, 0)
    })
  }
})
