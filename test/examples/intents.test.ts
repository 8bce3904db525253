import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Channel, connect } from '../../src/index.ts'
import { until } from '../support/until.ts'
import { ExampleProcess } from './example-process.ts'
import { inOwnVhost } from './own-vhost.ts'

async function run(name: string, url: string, ...args: string[]): Promise<readonly string[]> {
  await using example = new ExampleProcess(name, url, args)
  return await ended(example)
}

async function ended(example: ExampleProcess): Promise<readonly string[]> {
  const { exitCode, signal, lines, errors } = await example.exited()
  assert.deepEqual({ exitCode, signal, errors }, { exitCode: 0, signal: null, errors: '' })
  return lines
}

async function stop(example: ExampleProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<readonly string[]> {
  example.interrupt(signal)
  return await ended(example)
}

async function withChannel(url: string, work: (channel: Channel) => Promise<void>): Promise<void> {
  await using protocol = await connect(url)
  await work(await protocol.channel({ publisherConfirms: true }))
}

describe('The examples of intents', { concurrency: 2 }, () => {
  it('try an invoice three times, and then put it aside', () =>
    inOwnVhost(async url => {
      await using worker = new ExampleProcess('retrying-worker', url)
      await worker.printed(' [*] Waiting for invoices. To exit press CTRL+C')
      await run('send-invoice', url, 'Bob', '0')
      await run('send-invoice', url, 'Carol', '7')
      await worker.printed(' [x] Charged Carol 7')
      for (const attempt of [1, 2, 3]) {
        await worker.printed(` [!] Attempt ${attempt} failed: RangeError: cannot charge Bob 0`)
      }
      await withChannel(url, async channel => {
        const dead = await until('it is aside', async () => (await channel.basicGet('invoices.dead')) ?? undefined)
        assert.deepEqual(JSON.parse(dead.body.toString()), { customer: 'Bob', amount: 0 })
      })
      worker.interrupt()
      const { exitCode, errors } = await worker.exited()
      assert.equal(exitCode, 0)
      // The first at once, and the other two as one at the end.
      assert.equal(errors.match(/cannot charge Bob 0/g)?.length, 2, errors)
      assert.match(errors, /cannot charge Bob 0.* \(and 1 more like it within a minute\)/)
    }))

  it('end the jobs in hand at SIGTERM, and leave the others to the next distributor', () =>
    inOwnVhost(async url => {
      await using first = new ExampleProcess('work-distributor', url, ['2'])
      await first.printed(' [*] 2 workers wait for jobs. To exit press CTRL+C')
      await run('send-jobs', url, '1000', '1000', '1', '1')
      await first.printed(' [x] worker 1 begins job 1')
      await first.printed(' [x] worker 2 begins job 2')
      const lines = await stop(first)
      assert.equal(lines.at(-1), ' [*] Done: 2 jobs')
      assert.deepEqual(lines.slice(3, 5).sort(), [' [x] worker 1 ends job 1', ' [x] worker 2 ends job 2'])

      await using next = new ExampleProcess('work-distributor', url, ['1'])
      await next.printed(' [x] worker 1 ends job 3')
      await next.printed(' [x] worker 1 ends job 4')
      assert.equal((await stop(next, 'SIGINT')).at(-1), ' [*] Done: 2 jobs')
    }))

  it('answer requests, with results and with errors', () =>
    inOwnVhost(async url => {
      await using service = new ExampleProcess('price-service', url)
      await service.printed(' [*] Waiting for requests. To exit press CTRL+C')
      assert.deepEqual([...(await run('ask-prices', url, 'apple', 'stone', 'melon'))].sort(), [
        ' [!] RangeError: there is no price for stone',
        ' [.] 10 x apple: 4',
        ' [.] 10 x melon: 29',
      ])
      await stop(service)
    }))

  it('send every line of a log to each of its followers', () =>
    inOwnVhost(async url => {
      await using first = new ExampleProcess('follow-log', url)
      await using second = new ExampleProcess('follow-log', url)
      await Promise.all([first, second].map(one => one.printed(' [*] Waiting for lines. To exit press CTRL+C')))
      await using publisher = new ExampleProcess('publish-log', url, ['shop'], 'opened\nclosed\n')
      assert.deepEqual(await ended(publisher), [' [x] Published 2 lines'])
      for (const one of [first, second]) {
        await one.printed(' [x] shop: closed')
        assert.deepEqual((await stop(one)).slice(1), [' [x] shop: opened', ' [x] shop: closed'])
      }
    }))

  it('transform messages, and put those aside that cannot be transformed', () =>
    inOwnVhost(async url => {
      await using transformer = new ExampleProcess('transformer', url)
      await transformer.printed(' [*] Waiting for messages. To exit press CTRL+C')
      await withChannel(url, async channel => {
        await channel.publish('{"count": 4}', '', 'test.in', { correlationId: 'c-4' })
        await channel.publish('{"count": "many"}', '', 'test.in', { headers: { source: 'shop' } })
        await transformer.printed(' [x] 4 -> 5')
        const result = await until('there is a result', async () => (await channel.basicGet('test.out')) ?? undefined)
        assert.deepEqual(JSON.parse(result.body.toString()), { count: 5 })
        assert.equal(result.properties.correlationId, 'c-4')
        const error = await until('there is an error', async () => (await channel.basicGet('test.error')) ?? undefined)
        assert.equal(error.body.toString(), '{"count": "many"}')
        const { headers = {} } = error.properties
        assert.equal(headers['source'], 'shop')
        assert.equal(headers['x-exception-message'], 'count must be a number')
        assert.equal(headers['x-original-routingKey'], 'test.in')
      })
      transformer.interrupt('SIGTERM')
      assert.equal((await transformer.exited()).exitCode, 0)
    }))
})
