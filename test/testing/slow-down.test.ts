import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ClientPort } from '../../src/broker/connection-host.ts'
import { SlowDown } from '../../src/testing/slow-down.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

describe('a broker that is slowed down', () => {
  function slowed() {
    const clock = new VirtualClock()
    const slowDown = new SlowDown(clock)
    const written: string[] = []
    const port: ClientPort = {
      peer: 'client',
      write: bytes => {
        written.push(bytes.toString())
        return false
      },
      end: () => void written.push('end'),
      destroy: () => {},
      reset: () => {},
      pause: () => {},
      resume: () => {},
    }
    return { clock, slowDown, written, port: slowDown.slowed(port) }
  }

  it('writes at once without a delay, and says whether the stream takes more', () => {
    const { port, written } = slowed()
    assert.equal(port.write(Buffer.from('one')), false)
    assert.deepEqual(written, ['one'])
  })

  it('writes each thing after its own delay, in order', async () => {
    const { clock, slowDown, port, written } = slowed()
    slowDown.by(10)
    assert.equal(port.write(Buffer.from('one')), true)
    await clock.advance(6)
    port.end()
    await clock.advance(9)
    assert.deepEqual(written, ['one'])
    await clock.advance(1)
    assert.deepEqual(written, ['one', 'end'])
  })

  it('writes what waits at once when the delay changes, and what follows after the new one', async () => {
    const { clock, slowDown, port, written } = slowed()
    slowDown.by(10)
    port.write(Buffer.from('one'))
    await clock.advance(6)
    slowDown.by(20)
    assert.deepEqual(written, ['one'])
    port.write(Buffer.from('two'))
    await clock.advance(19)
    assert.deepEqual(written, ['one'])
    slowDown.by(0)
    port.end()
    assert.deepEqual(written, ['one', 'two', 'end'])
    assert.equal(clock.pending, 0)
  })

  it('writes nothing while it is frozen, and then what is due, in order', async () => {
    const { clock, slowDown, port, written } = slowed()
    slowDown.by(10)
    port.write(Buffer.from('one'))
    await clock.advance(6)
    port.write(Buffer.from('two'))
    slowDown.freeze(true)
    await clock.advance(5)
    assert.deepEqual(written, [])
    slowDown.freeze(false)
    assert.deepEqual(written, ['one'])
    await clock.advance(5)
    assert.deepEqual(written, ['one', 'two'])
  })

  it('writes what waits by an earlier delay once it is no longer frozen, before what follows', async () => {
    const { clock, slowDown, port, written } = slowed()
    slowDown.by(10)
    port.write(Buffer.from('one'))
    slowDown.freeze(true)
    slowDown.by(0)
    port.write(Buffer.from('two'))
    assert.deepEqual(written, [])
    slowDown.freeze(false)
    assert.deepEqual(written, ['one', 'two'])
    port.write(Buffer.from('three'))
    assert.deepEqual(written, ['one', 'two', 'three'])
    assert.equal(clock.pending, 0)
  })

  it('writes nothing more when it is stopped', async () => {
    const { clock, slowDown, port, written } = slowed()
    slowDown.by(10)
    port.write(Buffer.from('one'))
    slowDown.stop()
    await clock.advance(100)
    assert.deepEqual(written, [])
  })
})
