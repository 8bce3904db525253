import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { connect } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { delivery, FakeBroker, type FakePeer, methodFrame } from '../support/fake-broker.ts'
import { FRAME_MAX } from '../support/hostile-session.ts'
import { turn, within } from '../support/settled.ts'
import { MALFORMED } from './malformed-cases.ts'

/** Agrees to everything that is asked. */
function agreeable(peer: FakePeer): void {
  const replies: readonly (readonly [
    methods.AnyMethod,
    (args: Readonly<Record<string, unknown>>, channel: number) => Buffer,
  ])[] = [
    [methods.ConfirmSelect, (_args, channel) => methodFrame(channel, methods.ConfirmSelectOk, {})],
    [
      methods.BasicConsume,
      ({ consumerTag }, channel) => methodFrame(channel, methods.BasicConsumeOk, { consumerTag: String(consumerTag) }),
    ],
    [
      methods.QueueDeclare,
      ({ queueName }, channel) =>
        methodFrame(channel, methods.QueueDeclareOk, { queue: String(queueName), messageCount: 0, consumerCount: 0 }),
    ],
    [methods.BasicQos, (_args, channel) => methodFrame(channel, methods.BasicQosOk, {})],
  ]
  for (const [{ name }, reply] of replies) peer.answers.set(name, ({ args, channel }) => reply(args, channel))
}

describe('a client that recovers', () => {
  const faults = MALFORMED.filter(({ ends }) => ends !== undefined).filter((_, i) => i % 6 === 0)
  it('goes on over a new connection after any fault of the server', async () => {
    for (const { name, bytes, ends } of faults) {
      const broker = new FakeBroker({ frameMax: FRAME_MAX })
      broker.prepare = agreeable
      const errors: Error[] = []
      const protocol = await connect({
        createTransport: broker.createTransport,
        heartbeat: 0,
        onError: error => errors.push(error),
      })
      const first = await broker.accept()
      const lost: Error[] = []
      protocol.on('disconnected', error => lost.push(error))
      const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
      const channel = await protocol.channel({ publisherConfirms: true })
      await channel.queueDeclare('q')
      const received: string[] = []
      await channel.basicConsume((_channel, body) => received.push(String(body)), 'q', { consumerTag: 'c' })
      // As in a busy session, channel 2 is there.
      await protocol.channel()
      first.send(Buffer.concat(bytes))
      await within(2_000, `recovery after ${name}`, recovered)
      assert.ok(ends !== undefined && lost[0] instanceof ends.kind, `${name}: ${String(lost[0])}`)
      const second = await broker.accept()
      assert.ok(second.names.includes('1 basic.consume'), second.names.join())
      second.send(delivery(1, 'c', 1, 'again'))
      await turn()
      assert.ok(received.includes('again'), name)
      const published = channel.publish('x', '', 'q')
      second.reply(1, methods.BasicAck, { deliveryTag: 1 })
      await published
      assert.deepEqual(first.transport.escaped, [])
      second.answers.set(methods.BasicCancel.name, ({ args, channel: id }) =>
        methodFrame(id, methods.BasicCancelOk, { consumerTag: String(args['consumerTag']) }),
      )
      await within(1_000, 'close', protocol.close())
      assert.equal(broker.peers.length, 2)
    }
  })
})
