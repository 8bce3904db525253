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

  it('keeps the order, also of what is written after the delay has ended', async () => {
    const { clock, slowDown, port, written } = slowed()
    slowDown.milliseconds = 10
    assert.equal(port.write(Buffer.from('one')), true)
    slowDown.milliseconds = 0
    port.write(Buffer.from('two'))
    port.end()
    assert.deepEqual(written, [])
    await clock.advance(10)
    assert.deepEqual(written, ['one', 'two', 'end'])
  })

  it('writes nothing more when it is stopped', async () => {
    const { clock, slowDown, port, written } = slowed()
    slowDown.milliseconds = 10
    port.write(Buffer.from('one'))
    slowDown.stop()
    await clock.advance(100)
    assert.deepEqual(written, [])
  })
})
