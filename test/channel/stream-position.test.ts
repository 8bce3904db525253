import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { StreamPosition } from '../../src/channel/stream-position.ts'

function seen(...offsets: number[]): StreamPosition {
  const position = new StreamPosition()
  for (const offset of offsets) position.delivered(offset - 99, offset)
  return position
}

describe('The position of a stream consumer', () => {
  it('is what the program asked for while nothing has come', () => {
    assert.equal(new StreamPosition().resumeOffset, undefined)
  })

  it('is the first message that is not settled', () => {
    const position = seen(100, 101, 102)
    position.settled(2, false)
    assert.equal(position.resumeOffset, 100n)
    position.settled(1, false)
    assert.equal(position.resumeOffset, 102n)
  })

  it('is behind the last message once all are settled', () => {
    const position = seen(100, 101, 102)
    position.settled(2, true)
    assert.equal(position.resumeOffset, 102n)
    position.settled(0, true)
    assert.equal(position.resumeOffset, 103n)
  })

  it('stays over several losses in which nothing was settled', () => {
    const position = seen(100, 101)
    position.settled(1, false)
    position.restarted()
    position.restarted()
    assert.equal(position.resumeOffset, 101n)
    position.delivered(7, 101n)
    position.settled(2, false)
    assert.equal(position.resumeOffset, 101n, 'a tag from before settles nothing')
    position.settled(7, false)
    assert.equal(position.resumeOffset, 102n)
  })

  it('ignores messages without an offset', () => {
    const position = new StreamPosition()
    position.delivered(1, undefined)
    position.settled(1, false)
    assert.equal(position.resumeOffset, undefined)
  })
})
