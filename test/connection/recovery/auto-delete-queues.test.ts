import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type AmqpProtocol, type Channel, connect } from '../../../src/index.ts'
import { type Broker, startBroker } from '../../../src/testing/index.ts'
import { until } from '../../support/until.ts'

/** A consumer whose queue may be a stream, as far as the client knows: after a loss the broker refuses it once, and closes its channel. */
async function consumeWhatIsRefused(protocol: AmqpProtocol, channel: Channel): Promise<void> {
  await protocol.queueDeclare('refused once')
  await channel.basicQos({ prefetchCount: 5 })
  await channel.basicConsume(() => {}, 'refused once')
}

/** Lose the connection. Resolves when all consumers are back. */
async function lose(broker: Broker, protocol: AmqpProtocol): Promise<void> {
  const recovered = new Promise(resolve => protocol.once('recovered', resolve))
  broker.cutConnections()
  await recovered
  await until('all consumers are back', () => broker.queue('refused once').consumers.length === 1)
}

describe('An auto-delete queue that ends with the channel of its consumer, over another consumer', {
  timeout: 60_000,
}, () => {
  it('is made again with a new name if the server named it', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    const channel = await protocol.channel()
    const { queue } = await channel.queueDeclare('', { exclusive: false, autoDelete: true })
    await channel.queueBind(queue, 'amq.direct', 'key')
    const taken: string[] = []
    await channel.basicConsume((_channel, body) => void taken.push(String(body)), queue, { noAck: true })
    await consumeWhatIsRefused(protocol, channel)
    await lose(broker, protocol)
    await protocol.publish('by its first name', '', queue)
    await protocol.publish('by its binding', 'amq.direct', 'key')
    await until('both are taken', () => taken.length === 2)
    assert.equal(broker.queueNames().length, 2)
  })

  it('is made again once for the consumers of several channels', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    const channels = [await protocol.channel(), await protocol.channel()]
    const [first] = channels
    assert.ok(first !== undefined)
    const { queue } = await first.queueDeclare('', { exclusive: false, autoDelete: true })
    for (const channel of channels) await channel.basicConsume(() => {}, queue, { noAck: true })
    await protocol.queueDeclare('refused once')
    for (const channel of channels) {
      await channel.basicQos({ prefetchCount: 5 })
      await channel.basicConsume(() => {}, 'refused once')
    }
    broker.cutConnections()
    await until('all consumers are back', () => broker.queue('refused once').consumers.length === 2)
    const [name = ''] = broker.queueNames().filter(each => each !== 'refused once')
    assert.equal(broker.queueNames().length, 2)
    await until('both have their queue', () => broker.queue(name).consumers.length === 2)
  })

  it('is made again together with the others of that channel', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    const channel = await protocol.channel()
    for (const queue of ['one', 'two']) {
      await channel.queueDeclare(queue, { autoDelete: true })
      await channel.basicConsume(() => {}, queue, { noAck: true })
    }
    await consumeWhatIsRefused(protocol, channel)
    await lose(broker, protocol)
    for (const queue of ['one', 'two']) assert.equal(broker.queue(queue).consumers.length, 1)
  })

  it('takes its auto-delete exchange along, which is made again', async () => {
    // Later releases keep the exchange that is left out.
    await using broker = await startBroker({ release: '3.10' })
    await using protocol = await connect(broker.inMemory)
    const channel = await protocol.channel()
    await protocol.exchangeDeclare('passing', 'fanout', { autoDelete: true })
    await protocol.exchangeDeclare('left out', 'fanout', { durable: false, recover: false })
    await channel.queueDeclare('one', { autoDelete: true })
    await channel.queueBind('one', 'left out')
    await channel.queueBind('one', 'passing')
    await channel.basicConsume(() => {}, 'one', { noAck: true })
    await consumeWhatIsRefused(protocol, channel)
    await broker.restart()
    await until('all consumers are back', () => broker.queue('refused once').consumers.length === 1)
    assert.equal(broker.exchange('left out').exists, false)
    assert.deepEqual(
      broker.exchange('passing').bindings.map(({ destination }) => destination),
      ['one'],
    )
  })

  it('takes its auto-delete exchanges along, whose own bindings are made again too', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    const channel = await protocol.channel()
    await protocol.exchangeDeclare('first', 'fanout')
    for (const exchange of ['second', 'third']) await protocol.exchangeDeclare(exchange, 'fanout', { autoDelete: true })
    await channel.queueDeclare('one', { autoDelete: true })
    await channel.queueBind('one', 'third')
    await protocol.exchangeBind('third', 'second')
    await protocol.exchangeBind('second', 'first')
    await channel.basicConsume(() => {}, 'one', { noAck: true })
    await consumeWhatIsRefused(protocol, channel)
    await broker.restart()
    await until('all consumers are back', () => broker.queue('refused once').consumers.length === 1)
    for (const [source, destination] of [
      ['first', 'second'],
      ['second', 'third'],
      ['third', 'one'],
    ] as const) {
      assert.deepEqual(
        broker.exchange(source).bindings.map(binding => binding.destination),
        [destination],
      )
    }
  })

  it('keeps the bindings after one that is refused, which is tried on', async () => {
    await using broker = await startBroker()
    await using other = await connect(broker.inMemory)
    await using protocol = await connect({ ...broker.inMemory, connectionName: 'lost' })
    const channel = await protocol.channel()
    for (const exchange of ['gone', 'there']) await other.exchangeDeclare(exchange, 'fanout')
    await channel.queueDeclare('one', { autoDelete: true })
    for (const exchange of ['gone', 'there']) await channel.queueBind('one', exchange)
    await channel.basicConsume(() => {}, 'one', { noAck: true })
    await consumeWhatIsRefused(protocol, channel)
    await other.exchangeDelete('gone')
    broker.cutConnections('lost')
    await until('all consumers are back', () => broker.queue('refused once').consumers.length === 1)
    assert.equal(broker.queue('one').consumers.length, 1)
    await until('the binding is back', () => broker.exchange('there').bindings.length === 1)
    await other.exchangeDeclare('gone', 'fanout')
    await until('the binding that was refused is back', () => broker.exchange('gone').bindings.length === 1)
  })
})
