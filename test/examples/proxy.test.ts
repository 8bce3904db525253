import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import amqplib from 'amqplib'
import { connect } from '../../src/index.ts'
import { until } from '../support/until.ts'
import { ExampleProcess } from './example-process.ts'
import { inOwnVhost } from './own-vhost.ts'

/** Does `work` with the URL of a proxy in front of the broker. Returns what the proxy has printed, without numbers of connections. */
async function proxied(work: (url: string) => Promise<void>): Promise<readonly string[]> {
  const lines: string[] = []
  await inOwnVhost(async url => {
    await using proxy = new ExampleProcess('proxy', url, ['0'])
    const port = await until('it listens', () => /on port (\d+)/.exec(proxy.lines[0] ?? '')?.[1])
    const address = new URL(url)
    address.hostname = '127.0.0.1'
    address.port = port
    await work(address.href)
    await until('the end is printed', () => proxy.lines.at(-1)?.includes('connection.close-ok'))
    proxy.interrupt()
    const { exitCode, errors } = await proxy.exited()
    assert.deepEqual({ exitCode, errors }, { exitCode: 0, errors: '' })
    lines.push(...proxy.lines.slice(1).map(line => line.slice('[1] '.length)))
  })
  return lines
}

/** Methods, headers and bodies of channels in their order, without arguments. */
function spoken(lines: readonly string[]): string[] {
  return lines
    .filter(line => /^(?:-->|<--) [1-9]/.test(line) && !line.includes(' channel.') && !line.includes('confirm'))
    .map(line => line.replace(/ (?:\{.*|of .*)$/, ''))
}

describe('The proxy', () => {
  it('prints the conversation of amqplib, which notices nothing', async () => {
    const lines = await proxied(async url => {
      const connection = await amqplib.connect(url)
      const channel = await connection.createChannel()
      await channel.assertQueue('greetings')
      channel.sendToQueue('greetings', Buffer.from('hello'), { contentType: 'text/plain', headers: { n: 1 } })
      const message = await until('it is there', () => channel.get('greetings', { noAck: true }))
      assert.equal(message.content.toString(), 'hello')
      await connection.close()
    })
    assert.equal(lines[0], '--> AMQP 0-9-1')
    assert.match(lines.find(line => line.includes('connection.start-ok')) ?? '', /"response":"\(hidden\)"/)
    const text = lines.join('\n')
    assert.match(text, /^--> 1 queue\.declare \{"queueName":"greetings","passive":false,"durable":true,/m)
    assert.match(text, /^--> 1 content of 5 bytes \{"contentType":"text\/plain","headers":\{"n":1\}\}$/m)
    assert.doesNotMatch(text, /malformed|not AMQP/)
    const seen = spoken(lines).filter(line => !line.includes('get-empty'))
    assert.deepEqual(seen.slice(0, 5), [
      '--> 1 queue.declare',
      '<-- 1 queue.declare-ok',
      '--> 1 basic.publish',
      '--> 1 content',
      '--> 1 body',
    ])
    assert.deepEqual(seen.slice(-3), ['<-- 1 basic.get-ok', '<-- 1 content', '<-- 1 body'])
  })

  it('prints the conversation of this client, whose larger messages pass in pieces', async () => {
    const body = Buffer.alloc(300_000, 'x')
    const lines = await proxied(async url => {
      await using protocol = await connect(url)
      await protocol.queueDeclare('large')
      await protocol.publish(body, '', 'large')
      await using consumer = await protocol.consumer('large')
      const { value: message } = await consumer.next()
      assert.deepEqual(message?.body, body)
      message?.ack()
    })
    const text = lines.join('\n')
    assert.doesNotMatch(text, /malformed|not AMQP/)
    for (const way of ['-->', '<--']) {
      const pieces = lines.filter(line => line.startsWith(way) && line.includes(' body of '))
      const bytes = pieces.map(line => Number(/of (\d+) bytes/.exec(line)?.[1]))
      assert.ok(pieces.length > 1)
      assert.equal(
        bytes.reduce((sum, size) => sum + size, 0),
        body.length,
      )
    }
    assert.match(text, /^--> \d+ basic\.ack \{"deliveryTag":1,"multiple":false\}$/m)
  })
})
