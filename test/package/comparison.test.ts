import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { AMQPClient } from '@cloudamqp/amqp-client'
import { connect as connectAmqplib } from 'amqplib'
import { Connection } from 'rabbitmq-client'
import { connect, MessageReturnedError } from '../../src/index.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { packageRoot } from './consumer-project.ts'

const text = readFileSync(join(packageRoot, 'docs/comparison.md'), 'utf8')
const OTHERS = ['amqplib', 'rabbitmq-client', '@cloudamqp/amqp-client'] as const
const HEADERS = { big: 3e9, bytes: Buffer.from([1, 2]), at: new Date(1e12) }

function manifestOf(name: string): { readonly version: string; readonly dependencies?: Record<string, string> } {
  return JSON.parse(readFileSync(join(packageRoot, 'node_modules', name, 'package.json'), 'utf8'))
}

function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}

/** The cells of a row of the comparison, by its first one. */
function row(title: string): string[] {
  const line = text.split('\n').find(each => each.startsWith(`| ${title} |`))
  assert.ok(line !== undefined, title)
  return line
    .split('|')
    .slice(2, -1)
    .map(cell => cell.trim())
}

/** The four clients on one broker in this process, each with a queue. */
async function openAll(broker: Broker) {
  const ours = await connect(broker.url)
  const amqplib = await connectAmqplib(broker.url)
  const amqplibChannel = await amqplib.createConfirmChannel()
  const rabbitmqClient = new Connection(broker.url)
  const rabbitmqChannel = await rabbitmqClient.acquire()
  const publisher = rabbitmqClient.createPublisher({ confirm: true })
  const amqpClient = new AMQPClient(broker.url)
  await amqpClient.connect()
  const amqpChannel = await amqpClient.channel()
  await amqpChannel.confirmSelect()
  for (const name of ['asyncamqp', ...OTHERS]) await ours.queueDeclare(name)
  return {
    ...{ ours, amqplib, amqplibChannel, rabbitmqClient, rabbitmqChannel, publisher, amqpClient, amqpChannel },
    async [Symbol.asyncDispose]() {
      await publisher.close()
      await rabbitmqChannel.close()
      await Promise.allSettled([ours.close(), amqplib.close(), rabbitmqClient.close(), amqpClient.close()])
    },
  }
}

describe('The comparison with other clients', { timeout: 60_000 }, () => {
  let broker: Broker
  let all: Awaited<ReturnType<typeof openAll>>
  before(async () => {
    broker = await startBroker()
    all = await openAll(broker)
  })
  after(async () => {
    await all[Symbol.asyncDispose]()
    await broker[Symbol.asyncDispose]()
  })

  it('names the versions that are compared, and no claim is without a proof that is there', () => {
    for (const name of OTHERS) assert.ok(text.includes(`${name} ${manifestOf(name).version}`), name)
    const rows = text.split('\n').filter(line => /^\| (?!---|what)/.test(line))
    assert.ok(rows.length > 15)
    for (const line of rows) {
      const proof = line.split('|').at(-2) ?? ''
      const [, file] = /`((?:test|bench|scripts)\/[\w./-]+)`/.exec(proof) ?? []
      assert.ok(file !== undefined, line)
      assert.ok(existsSync(join(packageRoot, file)), file)
    }
  })

  it('is right about sizes and dependencies', () => {
    const sizes = OTHERS.map(name => bytesOf(join(packageRoot, 'node_modules', name)))
    // Our own size is bounded by .ci/run.
    const [own, ...others] = row('installed size')
    assert.equal(own, 'at most 0.75 MB')
    assert.deepEqual(
      others.slice(0, 3),
      sizes.map(size => `${(size / 1e6).toFixed(2)} MB`),
    )
    const counts = ['asyncamqp', ...OTHERS].map(name => {
      const { dependencies } =
        name === 'asyncamqp' ? JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) : manifestOf(name)
      return String(Object.keys(dependencies ?? {}).length)
    })
    assert.deepEqual(row('packages installed with it').slice(0, 4), counts)
  })

  it('has the figures of the last published benchmark', () => {
    const { rows } = JSON.parse(readFileSync(join(packageRoot, 'bench/results/benchmark.json'), 'utf8')) as {
      rows: readonly {
        row: string
        clients: readonly { client: string; figures: { cpuMicros?: { median: number } } }[]
      }[]
    }
    const section = text.split('## What they cost')[1]?.split('\n## ')[0] ?? ''
    const titles = Array.from(section.matchAll(/^\| (?!---|what)([^|]+) \|/gm), ([, title = '']) => title)
    assert.ok(titles.length > 5)
    for (const title of titles) {
      const measured = rows.find(each => each.row === title)
      assert.ok(measured !== undefined, title)
      const figures = ['asyncamqp', ...OTHERS].map(name => {
        const { median } = measured.clients.find(({ client }) => client === name)?.figures.cpuMicros ?? {
          median: Number.NaN,
        }
        return String(Number(median.toPrecision(2)))
      })
      assert.deepEqual(row(title).slice(0, 4), figures, title)
    }
  })

  it('is right about a mandatory message that no queue takes', async () => {
    const confirmed = (error: unknown) => (error === null || error === undefined ? 'resolves' : 'rejects')
    const said = await Promise.all([
      all.ours
        .publish('x', '', 'nowhere')
        .then(confirmed, error => (error instanceof MessageReturnedError ? 'rejects' : error)),
      new Promise<string>(resolve =>
        all.amqplibChannel.publish('', 'nowhere', Buffer.from('x'), { mandatory: true }, (error: unknown) =>
          resolve(confirmed(error)),
        ),
      ),
      all.publisher.send({ routingKey: 'nowhere', mandatory: true }, 'x').then(confirmed),
      all.amqpChannel.basicPublish('', 'nowhere', 'x', {}, true).then(() => 'resolves'),
    ])
    assert.deepEqual(row('publish of a mandatory message that no queue takes').slice(0, 4), said)
  })

  it('is right about headers', async () => {
    await all.ours.publish('x', '', 'asyncamqp', { headers: HEADERS })
    await new Promise(resolve =>
      all.amqplibChannel.sendToQueue('amqplib', Buffer.from('x'), { headers: HEADERS }, resolve),
    )
    await all.publisher.send({ routingKey: 'rabbitmq-client', headers: HEADERS }, 'x')
    await all.amqpChannel.basicPublish('', '@cloudamqp/amqp-client', 'x', { headers: HEADERS as never })
    const sent = ['asyncamqp', ...OTHERS].map(name => broker.queue(name).ready[0]?.properties.headers)
    const cells = (name: keyof typeof HEADERS) =>
      sent.map(headers => {
        const value = headers?.[name]
        if (value instanceof Date || value instanceof Uint8Array) return 'kept'
        return typeof value === 'number' ? String(value) : `\`${JSON.stringify(value)}\``
      })
    assert.deepEqual(row('header `3e9` arrives as').slice(0, 4), cells('big'))
    assert.deepEqual(row('header `Buffer.from([1, 2])` arrives as').slice(0, 4), cells('bytes'))
    assert.deepEqual(row('header `new Date()` arrives as').slice(0, 4), cells('at'))
  })

  it('is right about transactions and await using', () => {
    const yes = (is: boolean) => (is ? 'yes' : 'no')
    const channels = [all.ours, all.amqplibChannel, all.rabbitmqChannel, all.amqpChannel]
    assert.deepEqual(
      row('transactions').slice(0, 4),
      channels.map(each => yes('txSelect' in each || 'transaction' in each)),
    )
    const connections = [all.ours, all.amqplib, all.rabbitmqClient, all.amqpClient]
    assert.deepEqual(
      row('`await using`').slice(0, 4),
      connections.map(each => yes(Symbol.asyncDispose in each)),
    )
  })
})
