import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type AmqpProtocol, connect } from '../../src/index.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'

const CLIENTS = 4

/** Several clients that consume a queue, of which one has the only message. It may fail twice. */
async function consumed(broker: Broker): Promise<AmqpProtocol[]> {
  const clients: AmqpProtocol[] = []
  for (let i = 0; i < CLIENTS; i++) {
    const client = await connect({ ...broker.inMemory, recovery: false, onError: () => {} })
    await client.queueDeclare('work', { durable: true, arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 } })
    const channel = await client.channel()
    await channel.basicConsume(() => {}, 'work')
    clients.push(client)
  }
  await clients[0]?.publish('once', '', 'work')
  await broker.queue('work').hasUnacked(1)
  return clients
}

const ends: readonly (readonly [string, (broker: Broker) => unknown])[] = [
  ['cut', broker => broker.cutConnections()],
  ['reset', broker => broker.resetConnections()],
  ['closed', broker => broker.closeConnections()],
  ['closed with their channels', broker => broker.closeChannels()],
  ['cut off by a kill', broker => broker.kill()],
  ['closed by a restart', broker => broker.restart()],
  ['closed with their user', broker => broker.deleteUser('guest')],
]

describe('Clients of a broker for tests', () => {
  for (const [name, end] of ends) {
    it(`that are ${name} together fail with a message once`, async () => {
      await using broker = await startBroker()
      await consumed(broker)
      await end(broker)
      assert.equal(broker.queue('work').ready.length, 1)
    })
  }

  it('get no message of a consumer that is cancelled together with their own', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, recovery: false })
    await protocol.queueDeclare('work', { durable: true, arguments: { 'x-single-active-consumer': true } })
    const got: string[] = []
    for (const prefetchCount of [1, 2]) {
      const channel = await protocol.channel()
      await channel.basicQos({ prefetchCount })
      await channel.basicConsume((_channel, body) => void got.push(body.toString()), 'work')
    }
    for (const body of ['one', 'two', 'three']) await protocol.publish(body, '', 'work')
    await broker.queue('work').hasUnacked(1)

    broker.cancelConsumers('work')
    const { ready, unacked } = broker.queue('work')
    assert.deepEqual([ready.length, unacked.length, got], [2, 1, ['one']])
  })
})
