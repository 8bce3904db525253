import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EncodeError, ProtocolError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import {
  bodyFrame,
  contentFrames,
  converseOnChannel,
  deliverFrame,
  delivery,
  FakeBroker,
  methodFrame,
  rawFrame,
  startConsumer,
} from '../support/fake-broker.ts'
import { nestedTables } from '../support/property-lists.ts'
import { rejection } from '../support/rejection.ts'
import { turn } from '../support/settled.ts'

const METHOD = 1
const HEADER = 2
const GET_OK = { deliveryTag: 9, redelivered: false, exchangeName: '', routingKey: 'q', messageCount: 0 }

/** A content header whose property list is this. */
function header(bodySize: number, list: Buffer): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(60, 0)
  head.writeBigUInt64BE(BigInt(bodySize), 4)
  return rawFrame(HEADER, 1, Buffer.concat([head, list]))
}

const headers = (table: Buffer): Buffer => Buffer.concat([Buffer.from('2000', 'hex'), table])
const deep = (depth: number): Buffer => headers(nestedTables(depth))

/** A header of 17 MiB, which is more than is read if no frame size was agreed on. */
function large(): Buffer {
  const text = Buffer.alloc(17 * 1024 * 1024)
  const sizes = Buffer.alloc(11)
  sizes.writeUInt32BE(7 + text.length, 0)
  sizes.write('\x01aS', 4, 'latin1')
  sizes.writeUInt32BE(text.length, 7)
  return headers(Buffer.concat([sizes, text]))
}

const kinds: readonly (readonly [string, () => Buffer, RegExp])[] = [
  ['whose headers are nested 65 deep', () => Buffer.concat([header(5, deep(65)), bodyFrame(1, 'hello')]), /64 deep/],
  ['whose headers are nested 2,000 deep', () => Buffer.concat([header(0, deep(2_000))]), /64 deep/],
  [
    'whose header is larger than is read',
    () => Buffer.concat([header(5, large()), bodyFrame(1, 'hello')]),
    /a header of 178\d+ bytes/,
  ],
  [
    'whose body is larger than maxMessageSize',
    () => contentFrames(1, Buffer.alloc(2_000)),
    /of 2000 bytes .* maxMessageSize, 1000 bytes/,
  ],
]

const start = () => converseOnChannel({ maxMessageSize: 1_000 }, new FakeBroker({ frameMax: 0 }))

for (const [what, content, message] of kinds) {
  describe(`a message ${what}`, () => {
    it('is rejected, without requeue, and reported once; the next one comes', async () => {
      const conversation = await start()
      const { peer, protocol, errors } = conversation
      const seen: string[] = []
      await startConsumer(conversation, (_channel, body) => seen.push(String(body)), { consumerTag: 'c' })
      await turn()
      peer.frames.length = 0
      const bytes = Buffer.concat([deliverFrame(1, 'c', 1), content(), delivery(1, 'c', 2, 'next')])
      peer.send(bytes)
      await turn()
      assert.deepEqual(seen, ['next'])
      assert.equal(errors.length, 1)
      assert.ok(errors[0] instanceof ProtocolError)
      assert.match(errors[0].message, message)
      assert.match(errors[0].message, /on channel 1/)
      assert.deepEqual(
        peer.frames.map(({ name, args }) => [name, args]),
        [['1 basic.reject', { deliveryTag: 1, requeue: false }]],
      )
      assert.equal(protocol.state, 'open')
    })

    it('is not settled if it needs no ack', async () => {
      const conversation = await start()
      const { peer, protocol, errors } = conversation
      const seen: string[] = []
      await startConsumer(conversation, (_channel, body) => seen.push(String(body)), { consumerTag: 'c', noAck: true })
      await turn()
      peer.frames.length = 0
      const bytes = Buffer.concat([deliverFrame(1, 'c', 1), content(), delivery(1, 'c', 2, 'next')])
      // In pieces, too.
      for (let at = 0; at < bytes.length; at += 50_000) peer.send(bytes.subarray(at, at + 50_000))
      await turn()
      assert.deepEqual(seen, ['next'])
      assert.equal(errors.length, 1)
      assert.deepEqual(peer.frames, [])
      assert.equal(protocol.state, 'open')
    })

    for (const noAck of [false, true]) {
      it(`rejects the basic.get that it answers, and only that${noAck ? ', and is not settled if it needs no ack' : ''}`, async () => {
        const { peer, channel, errors } = await start()
        const getting = channel.basicGet('q', { noAck })
        const next = channel.basicGet('q', { noAck })
        await peer.took(2)
        peer.frames.length = 0
        peer.send(methodFrame(1, methods.BasicGetOk, GET_OK), content(), methodFrame(1, methods.BasicGetEmpty, {}))
        assert.match((await rejection(getting, ProtocolError)).message, message)
        assert.equal(await next, null)
        await turn()
        assert.deepEqual(
          peer.frames.map(({ name, args }) => [name, args]),
          noAck ? [] : [['1 basic.reject', { deliveryTag: 9, requeue: false }]],
        )
        assert.equal(channel.isOpen, true)
        assert.deepEqual(errors, [])
      })
    }

    it('is reported if the basic.get that it answers was given up', async () => {
      const { peer, channel, errors } = await start()
      const controller = new AbortController()
      const getting = channel.basicGet('q', { signal: controller.signal })
      await peer.took(1)
      controller.abort()
      await getting.catch(() => undefined)
      peer.send(methodFrame(1, methods.BasicGetOk, GET_OK), content())
      await turn()
      assert.equal(errors.length, 1)
      assert.equal(channel.isOpen, true)
      assert.equal(peer.names.at(-1), '1 basic.reject')
    })
  })
}

describe('the memory of a body', () => {
  it('may be transferred or cannot be, and no other body and no delivery suffers', async () => {
    const conversation = await converseOnChannel()
    const { peer, protocol } = conversation
    const bodies: Buffer[] = []
    await startConsumer(conversation, (_channel, body) => bodies.push(body), { consumerTag: 'c' })
    await turn()
    const sizes = [0, 1, 5, 63, 64, 65, 200, 1_024, 4_095, 4_096, 70_000, 300_000]
    let tag = 0
    for (let round = 0; round < 3; round++) {
      for (const size of sizes) peer.send(delivery(1, 'c', ++tag, Buffer.alloc(size, size % 251)))
      await turn()
      for (const [i, body] of bodies.entries()) {
        if (i % 2 !== round % 2) continue
        try {
          structuredClone(body, { transfer: [body.buffer as ArrayBuffer] })
        } catch {
          // What is shared is refused, or copied.
        }
      }
      for (const [i, body] of bodies.entries()) {
        const size = sizes[i % sizes.length] ?? 0
        const given = i % 2 === round % 2
        if (given && body.length === 0) continue
        assert.equal(body.length, size)
        assert.ok(body.every(byte => byte === size % 251))
      }
      bodies.length = 0
      assert.equal(protocol.state, 'open')
    }
  })

  it('of up to 64 bytes, and from 4 KiB on, is that body’s alone', async () => {
    const conversation = await converseOnChannel()
    const bodies: Buffer[] = []
    await startConsumer(conversation, (_channel, body) => bodies.push(body), { consumerTag: 'c' })
    await turn()
    const sizes = [1, 16, 64, 4_096, 70_000]
    conversation.peer.send(...sizes.map((size, i) => delivery(1, 'c', i + 1, Buffer.alloc(size, 1))))
    await turn()
    assert.deepEqual(
      bodies.map(body => [body.length, body.byteOffset, body.buffer.byteLength]),
      sizes.map(size => [size, 0, size]),
    )
  })
})

describe('a cancel by the server', () => {
  it('is answered whatever its consumer tag is', async () => {
    const { peer, protocol } = await converseOnChannel()
    const payload = Buffer.concat([Buffer.from('003c001eff', 'hex'), Buffer.alloc(255, 0xff), Buffer.from([0])])
    peer.send(rawFrame(METHOD, 1, payload))
    await turn()
    assert.equal(peer.names.at(-1), '1 basic.cancel-ok')
    assert.deepEqual(peer.transport.escaped, [])
    assert.equal(protocol.state, 'open')
  })
})

describe('a payload that waits to be written', () => {
  for (const size of [10, 50_000]) {
    it(`rejects if its memory was transferred away meanwhile, and what waits after it goes: ${size} bytes`, async () => {
      const { peer, channel, protocol } = await converseOnChannel()
      peer.reply(0, methods.ConnectionBlocked, { reason: 'memory' })
      await turn()
      const payload = new Uint8Array(size)
      const publishing = channel.publish(payload, 'e', 'k')
      const next = channel.publish('next', 'e', 'k')
      structuredClone(payload, { transfer: [payload.buffer] })
      peer.reply(0, methods.ConnectionUnblocked, {})
      const error = await rejection(publishing, EncodeError)
      assert.match(error.message, /transferred away/)
      await next
      await turn()
      assert.deepEqual(peer.names.slice(1), ['1 basic.publish', '1 header', '1 body'])
      assert.equal(protocol.state, 'open')
    })
  }
})

describe('a server that asks without end, and reads no answers', () => {
  const asking: readonly (readonly [string, Buffer])[] = [
    ['channel.flow', methodFrame(1, methods.ChannelFlow, { active: true })],
    ['basic.cancel', methodFrame(1, methods.BasicCancel, { consumerTag: 'nobody' })],
  ]
  for (const [name, frame] of asking) {
    it(`is given up before ${name} takes all memory`, async () => {
      const { peer, protocol } = await converseOnChannel({ recovery: false })
      const lost = rejection(protocol.waitClosed(), ProtocolError)
      peer.transport.stall()
      const many = Buffer.concat(Array.from({ length: 1_000 }, () => frame))
      for (let i = 0; i < 20; i++) peer.send(many)
      assert.equal(protocol.state, 'open')
      peer.send(frame)
      assert.match((await lost).message, /asked more than 20000 times, and read none of the answers$/)
    })
  }
})
