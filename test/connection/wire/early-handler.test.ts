import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EarlyHandler } from '../../../src/connection/wire/early-handler.ts'
import type { TransportHandler } from '../../../src/connection/wire/transport.ts'

class Owner implements TransportHandler {
  readonly heard: unknown[] = []

  onBytes(_buffer: Buffer, length: number): void {
    this.heard.push(length)
  }
  onDrain(): void {
    this.heard.push('drain')
  }
  onEnd(): void {
    this.heard.push('end')
  }
  onClose(error: Error | undefined): void {
    this.heard.push(error?.message)
  }
}

describe('EarlyHandler', () => {
  it('gives its owner what it hears', () => {
    const [handler, owner] = [new EarlyHandler<Owner>(), new Owner()]
    handler.begin(owner)
    handler.onBytes(Buffer.alloc(8), 8)
    handler.onDrain()
    handler.onEnd()
    handler.onClose(new Error('gone'))
    assert.deepEqual(owner.heard, [8, 'drain', 'end', 'gone'])
  })

  it('says how the transport ended before it had an owner, once', () => {
    const [handler, owner] = [new EarlyHandler<Owner>(), new Owner()]
    handler.onBytes(Buffer.alloc(8), 8)
    handler.onDrain()
    handler.onEnd()
    handler.onClose(new Error('gone'))
    handler.begin(owner)
    handler.begin(owner)
    assert.deepEqual(owner.heard, ['gone'])
  })
})
