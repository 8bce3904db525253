import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { connect } from '../../src/index.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const silent = () => {}

const bodies = (broker: Broker, name: string) => broker.queue(name).ready.map(({ body }) => body.toString())

describe('A broker for tests that was down', () => {
  it('has lost what it had not confirmed, whatever has become of it', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, recovery: false })
    await protocol.queueDeclare('stream', { durable: true, arguments: { 'x-queue-type': 'stream' } })
    await protocol.queueDeclare('dead', { durable: true })
    const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' }
    await protocol.queueDeclare('mortal', { durable: true, arguments: { ...toDead, 'x-max-length': 0 } })
    await protocol.publish('confirmed', '', 'stream')
    broker.withholdConfirms()
    const lost = ['stream', 'mortal'].map(name => assert.rejects(protocol.publish('not confirmed', '', name)))
    await broker.hasPublished(3)
    assert.deepEqual(bodies(broker, 'dead'), ['not confirmed'])

    await Promise.all([broker.kill(), ...lost])
    assert.deepEqual(bodies(broker, 'stream'), ['confirmed'])
    assert.deepEqual(bodies(broker, 'dead'), [])
  })

  it('counts the messages of a stream without a gap', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    await protocol.queueDeclare('stream', { durable: true, arguments: { 'x-queue-type': 'stream' } })
    broker.withholdConfirms()
    protocol.publish('not confirmed', '', 'stream').catch(silent)
    await broker.hasPublished(1)
    const channel = await protocol.channel()
    void channel.basicPublish('sent', '', 'stream')
    await broker.hasPublished(2)
    await broker.kill()
    await broker.start()
    await protocol.publish('later', '', 'stream')

    await using consumer = await protocol.consumer('stream', { arguments: { 'x-stream-offset': 'first' } })
    const offsets: number[] = []
    for await (const message of consumer) {
      offsets.push(Number(message.properties.headers?.['x-stream-offset']))
      message.ack()
      if (message.text() === 'later') break
    }
    assert.deepEqual(offsets, [...offsets.keys()])
    assert.notEqual(offsets.length, 0)
  })

  it('has its queues that expire when they are idle, and gives them their time again', async () => {
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock })
    const protocol = await connect({ ...broker.inMemory, recovery: false, onError: silent })
    for (const type of ['classic', 'quorum']) {
      await protocol.queueDeclare(type, { durable: true, arguments: { 'x-expires': 60_000, 'x-queue-type': type } })
    }
    const has = () => broker.queueNames()
    await broker.stop()
    await clock.advance(100_000)
    assert.deepEqual(has(), ['classic', 'quorum'])
    await broker.start()
    await clock.advance(59_000)
    assert.deepEqual(has(), ['classic', 'quorum'])
    await clock.advance(2_000)
    assert.deepEqual(has(), [])
  })

  it('has its auto-delete queues if it was killed, and not if it closed the connections of their consumers', async () => {
    for (const [end, kept] of [
      ['kill', ['work']],
      ['stop', []],
    ] as const) {
      await using broker = await startBroker()
      const protocol = await connect({ ...broker.inMemory, recovery: false, onError: silent })
      await protocol.queueDeclare('work', { durable: true, autoDelete: true })
      await protocol.publish('begun', '', 'work')
      const channel = await protocol.channel()
      await channel.basicConsume(() => {}, 'work')
      await broker.queue('work').hasUnacked(1)
      await broker[end]()
      await broker.start()
      assert.deepEqual(broker.queueNames(), kept, end)
      if (end === 'kill') assert.deepEqual(bodies(broker, 'work'), ['begun'])
    }
  })

  it('has an auto-delete exchange without its last binding only if it is like RabbitMQ 3.10', async () => {
    for (const [release, exists] of [
      ['3.10', true],
      ['4.3', false],
    ] as const) {
      await using broker = await startBroker({ release })
      const protocol = await connect({ ...broker.inMemory, recovery: false, onError: silent })
      await protocol.exchangeDeclare('news', 'fanout', { durable: true, autoDelete: true })
      await protocol.queueDeclare('reader', { durable: false })
      await protocol.queueBind('reader', 'news')
      await broker.restart()
      assert.equal(broker.exchange('news').exists, exists, release)
      if (exists) assert.deepEqual(broker.exchange('news').bindings, [])
    }
  })

  it('has its exchanges that are not durable, with their bindings, only if it is like RabbitMQ 4.3', async () => {
    for (const [release, kept] of [
      ['3.10', false],
      ['4.3', true],
    ] as const) {
      for (const end of ['stop', 'kill'] as const) {
        await using broker = await startBroker({ release })
        const protocol = await connect({ ...broker.inMemory, recovery: false, onError: silent })
        await protocol.exchangeDeclare('news', 'fanout', { durable: true, autoDelete: true })
        await protocol.exchangeDeclare('local', 'fanout', { durable: false })
        await protocol.queueDeclare('reader', { durable: true })
        await protocol.exchangeBind('local', 'news')
        await protocol.queueBind('reader', 'local')
        await broker[end]()
        await broker.start()
        assert.equal(broker.exchange('news').exists, true, `${release} ${end}`)
        assert.equal(broker.exchange('news').bindings.length, kept ? 1 : 0)
        assert.equal(broker.exchange('local').exists, kept)
        if (kept) assert.equal(broker.exchange('local').bindings[0]?.destination, 'reader')
      }
    }
  })

  it('gives what a classic queue had as redelivered after a kill, since the queue does not know', async () => {
    for (const [end, redelivered] of [
      ['stop', [false, false]],
      ['kill', [true, false]],
    ] as const) {
      await using broker = await startBroker()
      const protocol = await connect({ ...broker.inMemory, recovery: false, onError: silent })
      for (const type of ['classic', 'quorum']) {
        await protocol.queueDeclare(type, { durable: true, arguments: { 'x-queue-type': type } })
        await protocol.publish('never delivered', '', type)
      }
      await broker[end]()
      await broker.start()
      assert.deepEqual(
        ['classic', 'quorum'].map(name => broker.queue(name).ready[0]?.redelivered),
        redelivered,
      )
    }
  })

  it('knows what it has got back in order: a classic queue like that of RabbitMQ 4.3 only if the delivery failed', async () => {
    for (const [release, redelivered] of [
      ['3.10', [true, true, false]],
      ['4.3', [false, true, false]],
    ] as const) {
      await using broker = await startBroker({ release })
      const protocol = await connect({ ...broker.inMemory, recovery: false, onError: silent })
      await protocol.queueDeclare('work', { durable: true })
      for (const body of ['nacked', 'rejected', 'never delivered']) await protocol.publish(body, '', 'work')
      const channel = await protocol.channel()
      await channel.basicGet('work')
      await channel.basicGet('work')
      await channel.basicClientNack(1)
      await channel.basicReject(2, { requeue: true })
      await broker.queue('work').hasReady(3)
      await broker.restart()
      assert.deepEqual(
        broker.queue('work').ready.map(message => message.redelivered),
        redelivered,
        release,
      )
    }
  })

  it('gives first what a quorum queue had got back, in that order, whatever its priority', async () => {
    for (const end of ['stop', 'kill'] as const) {
      await using broker = await startBroker()
      const protocol = await connect({ ...broker.inMemory, recovery: false, onError: silent })
      await protocol.queueDeclare('work', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
      for (const priority of [1, 9, 9]) await protocol.publish(String(priority), '', 'work', { priority })
      const channel = await protocol.channel()
      for (let tag = 1; tag <= 3; tag++) await channel.basicGet('work')
      await channel.basicClientNack(3)
      await broker.queue('work').hasReady(1)
      await broker[end]()
      await broker.start()
      assert.deepEqual(bodies(broker, 'work'), ['1', '9', '9'], end)
    }
  })
})
