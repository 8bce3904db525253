import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { broker } from './broker.ts'
import { management, withVhost } from './management.ts'
import { uniqueName } from './names.ts'

const vhost = await withVhost()

describe('the management API for tests', () => {
  it('has a vhost for one file, with its URL', async () => {
    const { pathname } = new URL(vhost.url)
    assert.equal(decodeURIComponent(pathname.slice(1)), vhost.name)
    assert.deepEqual(await management().queues(vhost.name), [])
    assert.equal((await management().exchange(vhost.name, 'amq.topic'))?.type, 'topic')
  })

  it('shows a queue that is not there as undefined, and of one that is by its figures', async () => {
    const name = uniqueName('queue')
    assert.equal(await management().queue(vhost.name, name), undefined)
    const path = `queues/${encodeURIComponent(vhost.name)}/${name}`
    await management().request('PUT', path, { durable: true })
    const queue = await management().queueUntil(vhost.name, name, ({ messages }) => messages === 0)
    assert.equal(queue.durable, true)
  })

  it('gives up waiting with what it saw last', async () => {
    await assert.rejects(
      management().queueUntil(vhost.name, 'missing', () => true, { timeout: 100 }),
      { message: 'The queue never became as the test wants it: undefined' },
    )
  })

  it('sees a broker whose version is given', () => {
    assert.match(broker.version, /^\d+\.\d+/)
    assert.equal(broker.isAtLeast(3), true)
    assert.equal(broker.isAtLeast(99), false)
  })
})
