import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { startNode } from './broker.ts'
import { Management } from './management.ts'

const node = await startNode()
after(() => node.destroy())
const management = new Management(node.managementUrl)

/** Whether the broker answers the protocol header within half a second. */
async function answers(): Promise<boolean> {
  const socket = connect(node.port, node.host)
  try {
    await once(socket, 'connect')
    socket.write('AMQP\0\0\x09\x01', 'latin1')
    return await Promise.race([once(socket, 'data').then(() => true), sleep(500, false)])
  } finally {
    socket.destroy()
  }
}

describe('a node to do with as a test likes', () => {
  it('keeps its ports and its durable queues when it is stopped, killed and started', async () => {
    const { port, pid } = node
    await management.request('PUT', 'queues/%2F/kept', { durable: true })
    // First in order: SIGKILL would lose a queue that RabbitMQ has not written to its disk yet.
    await node.stop()
    assert.equal(node.pid, undefined)
    await assert.rejects(answers(), { code: 'ECONNREFUSED' })
    await node.start()
    await node.kill()
    assert.equal(node.pid, undefined)
    await assert.rejects(answers(), { code: 'ECONNREFUSED' })
    await node.start()
    assert.equal(node.port, port)
    assert.notEqual(node.pid, pid)
    assert.equal((await management.queue('/', 'kept'))?.durable, true)
  })

  it('is silent while it is frozen, with its ports open, and goes on when it is thawed', async () => {
    node.freeze()
    assert.equal(await answers(), false)
    node.thaw()
    assert.equal(await answers(), true)
  })

  it('evaluates Erlang, and says which it cannot', async () => {
    assert.equal(await node.evaluate('lists:sum([1, 2])'), '3')
    await assert.rejects(() => node.evaluate('no:where()'), /does not evaluate no:where\(\): .*undef/s)
  })
})
