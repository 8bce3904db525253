import type { TransportFactory } from '../../../src/connection/wire/transport.ts'
import { connect } from '../../../src/index.ts'
import type { Errand, Outing } from './errand.ts'

/** What a server says first that is not an AMQP server, and a word of what an error makes of it. */
const STRANGERS: readonly (readonly [says: Buffer, word: string])[] = [
  [Buffer.alloc(0), 'before it said anything'],
  [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 'HTTP'],
  [Buffer.from('<!DOCTYPE html>'), 'HTTP'],
  [Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'), 'SSH'],
  [Buffer.from([0x15, 3, 1, 0, 2, 2, 70]), 'TLS'],
  [Buffer.from([...Buffer.from('AMQP'), 0, 1, 0, 0]), 'AMQP 1.0.0'],
  [Buffer.from([...Buffer.from('AMQP'), 3, 1, 0, 0]), 'protocol id 3'],
  [Buffer.from('220 mail.example.com ESMTP\r\n'), 'frame'],
]

/** It says this, in pieces of a size, and ends. */
function stranger(outing: Outing, bytes: Buffer, size: number): TransportFactory {
  return async ({ host, port }, handler) => {
    let isOver = false
    const close = (error?: Error): void => {
      if (isOver) return
      isOver = true
      outing.clock.after(1, () => handler.onClose(error))
    }
    let at = 0
    const say = (): void => {
      if (isOver) return
      const piece = bytes.subarray(at, at + size)
      at += size
      if (piece.length > 0) handler.onBytes(Buffer.from(piece), piece.length)
      if (isOver) return
      if (at < bytes.length) outing.clock.after(1, say)
      else {
        handler.onEnd()
        close()
      }
    }
    outing.clock.after(1, say)
    return {
      pending: 0,
      peer: { host, port, localPort: 1, encrypted: false },
      write: (_, sent) => {
        if (sent !== undefined) outing.clock.after(1, sent)
        return true
      },
      pause: () => {},
      resume: () => {},
      end: () => close(),
      destroy: close,
    }
  }
}

/** An error says what a server is that speaks another protocol. */
export const strangers: Errand = async outing => {
  for (const [bytes, word] of STRANGERS) {
    for (const size of [1_000, 5]) {
      const createTransport = stranger(outing, bytes, size)
      const connecting = connect({ clock: outing.clock, createTransport, recovery: false, host: 'stranger' })
      const what = `a server that says ${JSON.stringify(bytes.toString('latin1'))}`
      const { message = '' } = await outing.failure(connecting, 'ConnectionFailedError', what)
      outing.expect(
        message.includes(word) && message.includes('stranger:5672'),
        `${what} in pieces of ${size}: ${message}`,
      )
    }
  }
}
