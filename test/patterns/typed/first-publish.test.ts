import assert from 'node:assert/strict'
import { it } from 'node:test'
import { connect } from '../../../src/index.ts'
import { startBroker } from '../../../src/testing/index.ts'
import { ORDER } from './scene.ts'

// In a file of its own: the code for schemas is loaded once in a process.
it('The first message with a schema in a process is confirmed before a close that follows it in the same tick', async () => {
  await using broker = await startBroker()
  const protocol = await connect(broker.inMemory)
  await protocol.queueDeclare('q')
  const published = protocol.publish({ id: 1 }, '', 'q', {}, { schema: ORDER })
  await Promise.all([published, protocol.close()])
  assert.equal(broker.queue('q').ready.length, 1)
})
