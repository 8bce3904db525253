import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as methods from '../../src/protocol/methods.ts'
import { converse, converseOnChannel, delivery, FakeBroker, methodFrame } from '../support/fake-broker.ts'
import { follow, turn } from '../support/settled.ts'

describe('methods on the wire', () => {
  it('opens a connection with the protocol header, start-ok, then tune-ok and open in one write', async () => {
    const { peer } = await converse()
    assert.deepEqual(peer.writes, [[], ['0 connection.start-ok'], ['0 connection.tune-ok', '0 connection.open']])
  })

  it('sends what one tick asks for, on all channels, in one write', async () => {
    const { peer, protocol } = await converse()
    const [a, b] = await Promise.all([protocol.channel(), protocol.channel()])
    assert.deepEqual(peer.writes.at(-1), ['1 channel.open', '2 channel.open'])
    void a.queueDeclare('one')
    void b.basicQos({ prefetchCount: 1 })
    void a.basicPublish('x', '', 'one')
    void b.basicPublish('', '', 'one')
    await turn()
    assert.deepEqual(peer.writes.at(-1), [
      '1 queue.declare',
      '2 basic.qos',
      '1 basic.publish',
      '1 header',
      '1 body',
      '2 basic.publish',
      '2 header',
    ])
  })

  it('pipelines 500 declares: all are written before any is answered', async () => {
    const { peer, channel } = await converseOnChannel()
    const declared = Array.from({ length: 500 }, (_, i) => channel.queueDeclare(`q${i}`))
    const names = await peer.took(500)
    assert.ok(names.every(name => name === '1 queue.declare'))
    assert.ok(peer.writes.length < 10)
    const replies = Array.from({ length: 500 }, (_, i) =>
      methodFrame(1, methods.QueueDeclareOk, { queue: `q${i}`, messageCount: i, consumerCount: 0 }),
    )
    peer.send(...replies)
    const results = await Promise.all(declared)
    assert.deepEqual(
      results.map(({ queue }) => queue),
      Array.from({ length: 500 }, (_, i) => `q${i}`),
    )
  })

  it('opens a channel, declares and closes it in one write for a method of the connection', async () => {
    const { peer, protocol } = await converse()
    const declared = follow(protocol.queueDeclare('q'))
    await turn()
    assert.deepEqual(peer.writes.at(-1), ['1 channel.open', '1 queue.declare', '1 channel.close'])
    peer.reply(2, methods.ChannelOpenOk, {})
    await turn()
    assert.equal(declared.state, 'rejected')
  })

  it('writes acks that callbacks make at the end of the read, in one', async () => {
    const { peer, channel } = await converseOnChannel()
    const consuming = channel.basicConsume((ch, _body, { deliveryTag }) => ch.basicClientAck(deliveryTag), 'q', {
      consumerTag: 'c',
    })
    await peer.expect(methods.BasicConsume)
    peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'c' })
    await consuming
    await turn()
    peer.send(...[1, 2, 3].map(tag => delivery(1, 'c', tag, 'x')))
    await turn()
    assert.deepEqual(peer.writes.at(-1), ['1 basic.ack', '1 basic.ack', '1 basic.ack'])
  })

  it('sends nothing of a method whose arguments cannot be encoded, and goes on', async () => {
    const { peer, channel } = await converseOnChannel()
    const before = peer.writes.length
    const wrong = follow(channel.queueDeclare('q', { arguments: { bad: (() => 1) as unknown as string } }))
    await turn()
    assert.equal(wrong.error?.name, 'EncodeError')
    assert.match(wrong.error?.message ?? '', /queue\.declare: arguments/)
    assert.equal(peer.writes.length, before)
    const right = channel.queueDeclare('q')
    await peer.expect(methods.QueueDeclare)
    peer.reply(1, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await right
  })

  it('keeps to the frame size agreed, for methods too', async () => {
    const { channel } = await converseOnChannel({}, new FakeBroker({ frameMax: 4096 }))
    const wrong = follow(channel.queueDeclare('q', { arguments: { big: 'x'.repeat(5000) } }))
    await turn()
    assert.match(wrong.error?.message ?? '', /queue\.declare takes a frame of \d+ bytes, more than the 4096 agreed/)
  })
})
