import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ExampleProcess } from './example-process.ts'
import { inOwnVhost } from './own-vhost.ts'

async function send(name: string, url: string, ...args: string[]): Promise<readonly string[]> {
  await using example = new ExampleProcess(name, url, args)
  const { exitCode, signal, lines, errors } = await example.exited()
  assert.deepEqual({ exitCode, signal, errors }, { exitCode: 0, signal: null, errors: '' })
  return lines
}

async function stop(example: ExampleProcess, signal: NodeJS.Signals = 'SIGINT'): Promise<readonly string[]> {
  example.interrupt(signal)
  const exit = await example.exited()
  assert.deepEqual(
    { exitCode: exit.exitCode, signal: exit.signal, errors: exit.errors },
    { exitCode: 0, signal: null, errors: '' },
  )
  return exit.lines
}

describe('The tutorial examples', { concurrency: 2 }, () => {
  it('send and receive a hello', () =>
    inOwnVhost(async url => {
      await using receiver = new ExampleProcess('receive', url)
      await receiver.printed(' [*] Waiting for messages. To exit press CTRL+C')
      assert.deepEqual(await send('send', url), [" [x] Sent 'Hello World!'"])
      await receiver.printed(" [x] Received 'Hello World!'")
      assert.deepEqual(await stop(receiver), [
        ' [*] Waiting for messages. To exit press CTRL+C',
        " [x] Received 'Hello World!'",
      ])
    }))

  it('keep a hello for a receiver that comes later', () =>
    inOwnVhost(async url => {
      await send('send', url)
      await send('send', url)
      await using receiver = new ExampleProcess('receive', url)
      await receiver.printed(" [x] Received 'Hello World!'", 2)
      await stop(receiver, 'SIGTERM')
    }))

  it('give a free worker the next task', () =>
    inOwnVhost(async url => {
      const waiting = ' [*] Waiting for tasks. To exit press CTRL+C'
      await using first = new ExampleProcess('worker', url)
      await first.printed(waiting)
      // It is not done before all others are, also on a busy machine; nothing waits for its end.
      const long = `one${'.'.repeat(60)}`
      assert.deepEqual(await send('new-task', url, 'a', 'long', long), [` [x] Sent 'a long ${long}'`])
      await first.printed(` [x] Received 'a long ${long}'`)

      await using second = new ExampleProcess('worker', url)
      await second.printed(waiting)
      await send('new-task', url, 'quick')
      await send('new-task', url, 'quick too')
      await second.printed(" [x] Done 'quick too'")
      assert.deepEqual(await stop(second), [
        waiting,
        " [x] Received 'quick'",
        " [x] Done 'quick'",
        " [x] Received 'quick too'",
        " [x] Done 'quick too'",
      ])
    }))

  it('let a stopped worker end and ack the task in its hands', () =>
    inOwnVhost(async url => {
      await send('new-task', url, 'in hand...')
      await send('new-task', url, 'still waiting')
      await using stopped = new ExampleProcess('worker', url)
      await stopped.printed(" [x] Received 'in hand...'")
      const lines = await stop(stopped, 'SIGTERM')
      assert.deepEqual(lines.slice(1), [" [x] Received 'in hand...'", " [x] Done 'in hand...'"])

      await using next = new ExampleProcess('worker', url)
      await next.printed(" [x] Done 'still waiting'")
      assert.deepEqual((await stop(next)).slice(1), [" [x] Received 'still waiting'", " [x] Done 'still waiting'"])
    }))

  it('send a log line to everybody who listens', () =>
    inOwnVhost(async url => {
      await using first = new ExampleProcess('receive-logs', url)
      await using second = new ExampleProcess('receive-logs', url)
      await Promise.all([first, second].map(one => one.printed(' [*] Waiting for logs. To exit press CTRL+C')))
      assert.deepEqual(await send('emit-log', url), [" [x] Sent 'info: Hello World!'"])
      await send('emit-log', url, 'warning:', 'disk', 'nearly', 'full')
      for (const one of [first, second]) {
        await one.printed(' [x] warning: disk nearly full')
        const lines = await stop(one)
        assert.deepEqual(lines.slice(1), [' [x] info: Hello World!', ' [x] warning: disk nearly full'])
      }
    }))

  it('route a log line by its severity', () =>
    inOwnVhost(async url => {
      await using errors = new ExampleProcess('receive-logs-direct', url, ['error'])
      await using others = new ExampleProcess('receive-logs-direct', url, ['info', 'warning'])
      await Promise.all([errors, others].map(one => one.printed(' [*] Waiting for logs. To exit press CTRL+C')))
      assert.deepEqual(await send('emit-log-direct', url), [" [x] Sent 'info': 'Hello World!'"])
      await send('emit-log-direct', url, 'error', 'disk', 'full')
      await send('emit-log-direct', url, 'warning', 'disk nearly full')
      await errors.printed(" [x] 'error': 'disk full'")
      await others.printed(" [x] 'warning': 'disk nearly full'")
      assert.deepEqual((await stop(errors)).slice(1), [" [x] 'error': 'disk full'"])
      assert.deepEqual((await stop(others)).slice(1), [
        " [x] 'info': 'Hello World!'",
        " [x] 'warning': 'disk nearly full'",
      ])
    }))

  it('route a log line by patterns over its words', () =>
    inOwnVhost(async url => {
      await using kernel = new ExampleProcess('receive-logs-topic', url, ['kern.*'])
      await using critical = new ExampleProcess('receive-logs-topic', url, ['#.critical', 'cron.#'])
      await Promise.all([kernel, critical].map(one => one.printed(' [*] Waiting for logs. To exit press CTRL+C')))
      assert.deepEqual(await send('emit-log-topic', url, 'cron.critical', 'both patterns, one copy'), [
        " [x] Sent 'cron.critical': 'both patterns, one copy'",
      ])
      await send('emit-log-topic', url, 'kern.disk.full', 'nobody')
      await send('emit-log-topic', url, 'kern.critical', 'out of memory')
      await kernel.printed(" [x] 'kern.critical': 'out of memory'")
      await critical.printed(" [x] 'kern.critical': 'out of memory'")
      assert.deepEqual((await stop(kernel)).slice(1), [" [x] 'kern.critical': 'out of memory'"])
      assert.deepEqual((await stop(critical)).slice(1), [
        " [x] 'cron.critical': 'both patterns, one copy'",
        " [x] 'kern.critical': 'out of memory'",
      ])
    }))

  it('say how they are used when the keys are missing', async () => {
    for (const name of ['receive-logs-direct', 'receive-logs-topic']) {
      await using example = new ExampleProcess(name, 'amqp://localhost')
      const { exitCode, errors } = await example.exited()
      assert.equal(exitCode, 1)
      assert.match(errors, new RegExp(`^Usage: ${name} `))
    }
  })

  it('answer several requests made at once, each with its own answer', () =>
    inOwnVhost(async url => {
      await using server = new ExampleProcess('rpc-server', url)
      await server.printed(' [x] Awaiting RPC requests. To exit press CTRL+C')
      assert.deepEqual([...(await send('rpc-client', url, '10', '100', '0'))].sort(), [
        ' [.] fibonacci(0) = 0',
        ' [.] fibonacci(10) = 55',
        ' [.] fibonacci(100) = 354224848179261915075',
        ' [x] Requesting fibonacci(0)',
        ' [x] Requesting fibonacci(10)',
        ' [x] Requesting fibonacci(100)',
      ])
      await stop(server)
    }))

  it('reject an RPC call at once if no server is there', () =>
    inOwnVhost(async url => {
      await using client = new ExampleProcess('rpc-client', url)
      const { exitCode, errors } = await client.exited()
      assert.equal(exitCode, 1)
      assert.match(errors, /MessageReturnedError: .*rpc_queue/)
    }))

  it('confirm every message in each of the three ways', () =>
    inOwnVhost(async url => {
      const lines = await send('publisher-confirms', url, '250')
      assert.equal(lines.length, 3)
      for (const [i, way] of ['individually', 'inBatches', 'asynchronously'].entries()) {
        assert.match(lines[i] ?? '', new RegExp(`^ \\[x\\] Published 250 messages ${way} in \\d+ ms, 250 arrived$`))
      }
    }))

  it('show both ways in which a message comes back', () =>
    inOwnVhost(async url => {
      assert.deepEqual(await send('returned-message', url), [
        " [x] publish() rejected with 312 NO_ROUTE: 'Is anybody there?'",
        " [x] returnCallback was given 312 NO_ROUTE: 'Hello?'",
      ])
    }))
})
