import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { broker } from './broker.ts'

/**
 * A stand-in for Docker, which notes how it is called. `up` starts the broker for tests, and a management API that agrees to
 * everything, on the ports that it is given.
 */
const program = (testing: string, folder: string) => `#!${process.execPath}
const { appendFileSync, readFileSync, writeFileSync } = require('node:fs')
const { spawn } = require('node:child_process')
const args = process.argv.slice(2)
const { DOCKER, AMQP_PORT, MANAGEMENT_PORT, RABBITMQ_VERSION } = process.env
const command = args[0] === 'compose' && args.length > 2 ? args[5] : args[0]
appendFileSync('${folder}/calls', command + (command === 'up' ? ' ' + RABBITMQ_VERSION : '') + '\\n')
function fail(words) {
  console.error(words)
  process.exit(1)
}
if (command === 'info') {
  if (DOCKER === 'absent') fail('Cannot connect to the Docker daemon')
  console.log(DOCKER === 'absent for old clients' ? '' : '28.0.1')
} else if (command === 'up') {
  if (DOCKER !== 'there') fail(DOCKER)
  const code = \`
    import { createServer } from 'node:http'
    import { startBroker } from '${testing}'
    await startBroker({ port: \${AMQP_PORT} })
    createServer((request, response) => {
      request.resume()
      response.end('{}')
    }).listen(\${MANAGEMENT_PORT}, '127.0.0.1')\`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', code], { detached: true, stdio: 'ignore' })
  child.unref()
  writeFileSync('${folder}/pid', String(child.pid))
} else if (command === 'down') {
  if (DOCKER.startsWith('absent')) fail('Cannot connect to the Docker daemon')
  if (DOCKER === 'there') process.kill(Number(readFileSync('${folder}/pid', 'utf8')))
}
`

describe('Docker', { skip: process.platform === 'win32' && 'the stand-in for it is a script' }, () => {
  let folder = ''
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'asyncamqp-docker-'))
    const testing = new URL('../../src/testing/index.js', import.meta.url).href
    writeFileSync(join(folder, 'docker'), program(testing, folder), { mode: 0o755 })
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  /** Asks for a RabbitMQ that nothing else has, and runs `code` with it. */
  function ask(docker: string, code: string) {
    const { AMQP_URL, ASYNCAMQP_RABBITMQ, PATH = '', ...env } = process.env
    const path = [folder, PATH].join(delimiter)
    const calls = join(folder, 'calls')
    rmSync(calls, { force: true })
    const { status, signal, stdout, stderr } = spawnSync(
      process.execPath,
      [broker.script, '--rabbitmq', '1.0', '--', process.execPath, '--eval', code],
      { encoding: 'utf8', env: { ...env, PATH: path, DOCKER: docker } },
    )
    const called = existsSync(calls) ? readFileSync(calls, 'utf8').trimEnd().split('\n') : []
    return { status: status ?? signal, output: stdout, errors: stderr, calls: called }
  }

  it('gives a RabbitMQ if none is installed, and takes it away again', () => {
    const { status, output, errors, calls } = ask(
      'there',
      'console.log(JSON.parse(process.env.ASYNCAMQP_TEST_BROKER).kind)',
    )
    assert.equal(status, 0, errors)
    assert.match(output, /starting RabbitMQ with Docker Compose .*\ndocker\nbroker: stopped\n$/)
    assert.deepEqual(calls, ['info', 'compose', 'up 1.0', 'down'])
  })

  it('is not asked for anything while its engine does not run', () => {
    for (const docker of ['absent', 'absent for old clients']) {
      const { status, errors, calls } = ask(docker, '')
      assert.equal(status, 1)
      assert.match(errors, /^There is no RabbitMQ 1\.0 here to use/)
      assert.deepEqual(calls, ['info'])
    }
  })

  it('says why it has no image or no port, and what helps', () => {
    for (const words of ['dial tcp: no such host', 'Bind for 127.0.0.1 failed: port is already allocated']) {
      const { status, errors, calls } = ask(words, '')
      assert.equal(status, 1)
      const [first, second] = errors.split('\n')
      assert.equal(first, words)
      assert.match(
        second ?? '',
        /^Docker could not start RabbitMQ, for the reason above\. Without Docker: -- --testing uses/,
      )
      assert.deepEqual(calls.slice(2), ['up 1.0', 'down'])
    }
  })

  it('may be away when a later run finds the containers of one that was killed', () => {
    const killed = ask('there', "process.kill(process.ppid, 'SIGKILL')")
    assert.deepEqual([killed.status, killed.calls.at(-1)], ['SIGKILL', 'up 1.0'])
    const without = ask('absent', '')
    const [, left = ''] = /left behind in (\S+)\n.*its containers cannot be removed now/.exec(without.output) ?? []
    assert.ok(existsSync(left), without.output)
    assert.match(without.errors, /There is no RabbitMQ 1\.0 here to use/)
    const later = ask('there', '')
    assert.equal(later.status, 0, later.errors)
    assert.equal(existsSync(left), false)
  })
})
