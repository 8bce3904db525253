import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { broker, startNode } from './broker.ts'

/** Asks the broker script for RabbitMQ in a version. */
function ask(args: readonly string[], env: NodeJS.ProcessEnv = {}): { status: number | null; errors: string } {
  const { AMQP_URL, ASYNCAMQP_RABBITMQ, ...rest } = process.env
  const { status, stderr } = spawnSync(
    process.execPath,
    [broker.script, ...args, '--', process.execPath, '--version'],
    {
      encoding: 'utf8',
      env: { ...rest, ...env },
    },
  )
  return { status, errors: stderr }
}

describe('a version of RabbitMQ that is asked for', () => {
  it('is what the broker and every node of its own has', async t => {
    const { ASYNCAMQP_RABBITMQ: wanted } = process.env
    if (wanted === undefined || wanted === '') return t.skip('none is asked for')
    assert.ok(`${broker.version}.`.startsWith(`${wanted}.`), broker.version)
    await using node = await startNode()
    assert.equal(node.version, broker.version)
  })

  it('is refused where it is none', () => {
    for (const { status, errors } of [ask(['--rabbitmq', 'four']), ask([], { ASYNCAMQP_RABBITMQ: 'four' })]) {
      assert.equal(status, 1)
      assert.match(errors, /^"four" is no version of RabbitMQ: --rabbitmq and ASYNCAMQP_RABBITMQ take one such as 4, /)
    }
  })

  it('is refused if AMQP_URL names a broker of another one', () => {
    const { status, errors } = ask(['--rabbitmq', '1.0'], { AMQP_URL: broker.url })
    assert.equal(status, 1)
    assert.match(errors, /^AMQP_URL names a broker that is RabbitMQ [\d.]+, not 1\.0: unset one of the two\.\n$/)
  })

  it('is that of the broker that AMQP_URL names, if it is the same', () => {
    const [major = ''] = broker.version.split('.')
    assert.deepEqual(ask(['--rabbitmq', major], { AMQP_URL: broker.url }), { status: 0, errors: '' })
  })

  it('that nothing here has ends with what to do about it', async () => {
    // Without Docker, which would try to download it.
    const { status, errors } = ask(['--rabbitmq', '1.0'], { PATH: '' })
    assert.equal(status, 1)
    assert.match(
      errors,
      /^There is no RabbitMQ 1\.0 here to use: .* since\nthe Debian releases that this script knows have /,
    )
    assert.match(errors, /Any one of these helps:\n {2}- ask for a version that one of them has\n {2}- start Docker/)
    await assert.rejects(
      startNode({ rabbitmq: '1.0' }),
      /^Error: A node of one's own cannot come from Docker\. There is no/,
    )
  })
})
