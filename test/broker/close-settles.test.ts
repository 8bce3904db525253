import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { uniqueName } from '../support/names.ts'

const MESSAGES = 500

describe('close() after a burst of acks', () => {
  it('leaves nothing that was acknowledged in a quorum queue', async () => {
    const queue = uniqueName('settles')
    const first = await connect(broker.url)
    const channel = await first.channel({ publisherConfirms: true })
    await channel.queueDeclare(queue, { arguments: { 'x-queue-type': 'quorum' } })
    await Promise.all(Array.from({ length: MESSAGES }, () => channel.publish('x', '', queue)))
    const seen = await new Promise<number>(resolve => {
      let count = 0
      void channel.basicConsume(async (on, _body, envelope) => {
        await on.basicClientAck(envelope.deliveryTag)
        count++
        if (count === MESSAGES) resolve(count)
      }, queue)
    })
    await first.close()

    await using second = await connect(broker.url)
    const other = await second.channel()
    const { messageCount } = await other.queueDelete(queue)
    assert.deepEqual({ seen, messageCount }, { seen: MESSAGES, messageCount: 0 })
  })
})
