import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FrameCutter } from '../../src/broker/frame-cutter.ts'
import { Refusal } from '../../src/broker/refusals.ts'
import { FrameType } from '../../src/protocol/constants.ts'

const FRAME_MAX = 4_096

function frame(type: number, channel: number, payload: string, last = 0xce): Buffer {
  const bytes = Buffer.alloc(8 + payload.length, last)
  bytes.writeUInt8(type, 0)
  bytes.writeUInt16BE(channel, 1)
  bytes.writeUInt32BE(payload.length, 3)
  bytes.write(payload, 7, 'latin1')
  return bytes
}

/** A cutter, with the frames that it has cut. */
function cutter() {
  const frames: string[] = []
  const cuts = new FrameCutter(FRAME_MAX, (type, channel, payload) => {
    frames.push(`${type} ${channel} ${payload.toString('latin1')}`)
  })
  return { cuts, frames }
}

describe('FrameCutter', () => {
  const long = 'x'.repeat(1_000)
  const bytes = Buffer.concat([
    frame(FrameType.METHOD, 1, 'method'),
    frame(FrameType.HEARTBEAT, 0, ''),
    frame(FrameType.BODY, 2, long),
    frame(FrameType.BODY, 3, 'short'),
  ])

  it('cuts the same frames from pieces of any size', () => {
    for (const size of [1, 2, 7, 8, 9, 500, bytes.length]) {
      const { cuts, frames } = cutter()
      for (let at = 0; at < bytes.length; at += size) cuts.push(bytes.subarray(at, at + size))
      assert.deepEqual(frames, ['1 1 method', '8 0 ', `3 2 ${long}`, '3 3 short'], `pieces of ${size}`)
    }
  })

  it('takes no frame twice after bytes that it refused', () => {
    const { cuts, frames } = cutter()
    const wrong = Buffer.concat([frame(FrameType.METHOD, 1, 'method'), frame(FrameType.METHOD, 1, 'wrong', 0)])
    cuts.push(wrong.subarray(0, 3))
    assert.throws(() => cuts.push(wrong.subarray(3)), Refusal)
    cuts.push(frame(FrameType.METHOD, 1, 'after'))
    assert.deepEqual(frames, ['1 1 method', '1 1 after'])
  })
})
