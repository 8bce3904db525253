import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  FRAME_END,
  FRAME_OVERHEAD,
  HEARTBEAT_FRAME,
  PROTOCOL_HEADER,
  ReplyCode,
  replyCodeName,
} from '../../src/protocol/constants.ts'
import {
  CONTENT_FLAGS_OFFSET,
  contentHeader,
  decimal,
  FRAME_CHANNEL_OFFSET,
  FRAME_HEADER_SIZE,
  FRAME_SIZE_OFFSET,
  frameHeader,
  protocolHeader,
} from '../../src/protocol/layouts.ts'

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex')
}

describe('the fixed layouts', () => {
  it('have the sizes and offsets of the specification (§4.2.3, §4.2.6.1)', () => {
    assert.deepStrictEqual([FRAME_HEADER_SIZE, FRAME_CHANNEL_OFFSET, FRAME_SIZE_OFFSET], [7, 1, 3])
    assert.equal(FRAME_OVERHEAD, 8)
    const fields = ['weight', 'bodySizeHigh', 'bodySizeLow'] as const
    assert.deepStrictEqual(
      [contentHeader.span, ...fields.map(field => contentHeader.offsetOf(field)), CONTENT_FLAGS_OFFSET],
      [14, 2, 4, 8, 12],
    )
    assert.equal(decimal.span, 5)
  })

  it('decode a frame header (§4.2.3)', () => {
    assert.deepStrictEqual(frameHeader.decode(bytes('ff 01 0203 00010000'), 1), {
      type: 1,
      channel: 0x0203,
      size: 65_536,
    })
  })

  it('decode a content header (§4.2.6.1)', () => {
    assert.deepStrictEqual(contentHeader.decode(bytes('003c 0000 00000001 00000002 8000')), {
      classId: 60,
      weight: 0,
      bodySizeHigh: 1,
      bodySizeLow: 2,
      flags: 0x8000,
    })
  })

  it('encode a frame header (§4.2.3)', () => {
    const buffer = Buffer.alloc(FRAME_HEADER_SIZE)
    assert.equal(frameHeader.encode({ type: 1, channel: 0x0203, size: 65_536 }, buffer), 7)
    assert.deepStrictEqual(buffer, bytes('01 0203 00010000'))
  })

  it('refuse the name of a member that they do not have', () => {
    assert.throws(() => frameHeader.offsetOf('weight' as 'type'), RangeError)
  })
})

describe('the constants', () => {
  it('name the protocol header of 0-9-1 (§4.2.2)', () => {
    assert.deepStrictEqual(Buffer.from(PROTOCOL_HEADER), bytes('414d5150 00 00 09 01'))
    const { protocolId, major, minor, revision } = protocolHeader.decode(Buffer.from(PROTOCOL_HEADER))
    assert.deepStrictEqual([protocolId, major, minor, revision], [0, 0, 9, 1])
  })

  it('hold a heartbeat that is empty and on channel 0 (§4.2.7)', () => {
    assert.deepStrictEqual(Buffer.from(HEARTBEAT_FRAME), bytes('08 0000 00000000 ce'))
    assert.equal(FRAME_END, 0xce)
  })

  it('name reply codes', () => {
    assert.equal(replyCodeName(404), 'NOT_FOUND')
    assert.equal(replyCodeName(ReplyCode.CONNECTION_FORCED), 'CONNECTION_FORCED')
    assert.equal(replyCodeName(999), 'UNKNOWN')
  })
})
