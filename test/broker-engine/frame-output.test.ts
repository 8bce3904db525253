import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FrameOutput } from '../../src/broker/frame-output.ts'
import { Message } from '../../src/broker/message.ts'
import * as methods from '../../src/protocol/methods.ts'

const FRAME_MAX = 8192

function outputOf(body: Buffer): Buffer[] {
  const written: Buffer[] = []
  const output = new FrameOutput({
    peer: 'client',
    write: bytes => written.push(bytes) > 0,
    end: () => {},
    destroy: () => {},
    reset: () => {},
    pause: () => {},
    resume: () => {},
  })
  output.frameMax = FRAME_MAX
  const args = { deliveryTag: 1, redelivered: false, exchangeName: '', routingKey: 'q', messageCount: 0 }
  output.content(1, methods.BasicGetOk, args, new Message('', ['q'], [], {}, body))
  output.heartbeat()
  assert.equal(output.flush(), true)
  assert.equal(output.flush(), false)
  return written
}

describe('FrameOutput', () => {
  it('writes a body of any size in frames that are not too large', () => {
    for (const size of [0, 1, 4095, 4096, 8184, 8185, 30_000]) {
      const body = Buffer.alloc(size, 'abcdefg')
      const bytes = Buffer.concat(outputOf(body))
      const bodies: Buffer[] = []
      const types: number[] = []
      for (let at = 0; at < bytes.length; ) {
        const [type, length] = [bytes.readUInt8(at), bytes.readUInt32BE(at + 3)]
        assert.ok(length + 8 <= FRAME_MAX)
        assert.equal(bytes.readUInt8(at + 7 + length), 0xce)
        if (type === 3) bodies.push(bytes.subarray(at + 7, at + 7 + length))
        else types.push(type)
        at += length + 8
      }
      assert.deepEqual(types, [1, 2, 8], `${size} octets`)
      assert.ok(Buffer.concat(bodies).equals(body), `${size} octets`)
    }
  })

  it('copies no large body, so that a client which does not read it takes no memory', () => {
    const body = Buffer.alloc(300_000)
    const copied = outputOf(body).filter(bytes => bytes.buffer !== body.buffer)
    assert.ok(copied.reduce((sum, { length }) => sum + length, 0) < 2000)
  })
})
