import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConnectionLostError, type ConnectOptions } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { cutText } from '../../src/protocol/text.ts'
import { delivery, type FakePeer, methodFrame } from '../support/fake-broker.ts'
import { type BusySession, type Hostility, inMemory, overSocket, startBusySession } from '../support/hostile-session.ts'
import { turn, within } from '../support/settled.ts'
import { MALFORMED, type MalformedCase } from './malformed-cases.ts'

/** The next connection.close of the client. */
async function closeOf(peer: FakePeer): Promise<Readonly<Record<string, unknown>>> {
  for (;;) {
    const frame = await peer.receive()
    if (frame.name === '0 connection.close') return frame.args
  }
}

async function assertEnded(session: BusySession, { bytes, ends }: MalformedCase): Promise<void> {
  assert.ok(ends !== undefined)
  const { protocol, peer, closed, pending } = session
  peer.answers.delete(methods.ConnectionClose.name)
  peer.send(Buffer.concat(bytes))
  const sent = await within(1000, 'connection.close', closeOf(peer))
  const { error } = closed
  assert.ok(error instanceof ends.kind, `${error?.name}: ${error?.message}`)
  assert.equal(error.replyCode, ends.replyCode, error.message)
  assert.equal(sent['replyCode'], ends.replyCode)
  assert.equal(sent['replyText'], cutText(error.message))
  await peer.ended
  await turn()
  assert.equal(protocol.state, 'closed')
  const reject = (name: string, reason: Error | undefined): void => {
    assert.ok(reason instanceof ConnectionLostError, `${name}: ${reason}`)
    assert.equal(reason.reason, 'protocol')
    assert.equal(reason.cause, error)
  }
  for (const [name, { state, error: reason }] of Object.entries(pending)) {
    // What was answered before the fault, in the same bytes, has its answer.
    if (state !== 'resolved') reject(name, reason)
  }
  assert.ok(pending['publish']?.state === 'rejected' || pending['declare']?.state === 'rejected')
}

/** The session goes on: channel 1 gets a delivery, channel 2 its reply, and channel 0 another reply. */
async function assertGoesOn(session: BusySession, { name, bytes }: MalformedCase): Promise<void> {
  const { protocol, peer, closed, pending, received } = session
  peer.send(Buffer.concat(bytes))
  await until(() => peer.names.length >= 0)
  const open = !name.includes('only announced')
  peer.send(
    methodFrame(2, methods.BasicConsumeOk, { consumerTag: 'unanswered' }),
    methodFrame(0, methods.ConnectionUpdateSecretOk, {}),
    ...(open ? [delivery(1, 'c', 99, 'afterwards'), methodFrame(1, methods.BasicAck, { deliveryTag: 1 })] : []),
  )
  await until(() => pending['secret']?.state !== 'pending' && (!open || received.includes('afterwards')))
  assert.equal(closed.state, 'pending', closed.error?.message)
  assert.equal(protocol.state, 'open')
  assert.equal(pending['consume']?.state, 'resolved')
  assert.equal(pending['secret']?.state, 'resolved')
  if (open) assert.equal(pending['publish']?.state, 'resolved')
}

async function until(look: () => boolean): Promise<void> {
  const end = performance.now() + 1000
  while (!look()) {
    if (performance.now() > end) return
    await turn()
  }
}

async function play(
  hostility: Hostility,
  malformed: MalformedCase,
  options: ConnectOptions = {},
): Promise<BusySession> {
  const session = await startBusySession(hostility, options)
  if (malformed.ends === undefined) await assertGoesOn(session, malformed)
  else await assertEnded(session, malformed)
  if (session.protocol.state === 'open') {
    session.peer.mute()
    const closing = session.protocol.close({ timeout: 20 })
    await within(1000, 'close', closing)
  }
  return session
}

describe('what a server must not send', () => {
  for (const malformed of MALFORMED) {
    const end = malformed.ends
    it(`${malformed.name} ${end === undefined ? 'is lived with' : `ends the connection with ${end.kind.name} ${end.replyCode}`}`, async () => {
      const { peer } = await play(inMemory(), malformed)
      assert.deepEqual(peer.transport.escaped, [])
    })
  }

  it('ends the connection in the same way byte by byte, in the read of the last one', async () => {
    for (const malformed of MALFORMED) {
      const size = malformed.bytes.reduce((sum, bytes) => sum + bytes.length, 0)
      if (malformed.ends === undefined || size > 3000) continue
      const session = await startBusySession(inMemory())
      session.peer.answers.delete(methods.ConnectionClose.name)
      for (const byte of Buffer.concat(malformed.bytes)) session.peer.send(Buffer.from([byte]))
      assert.equal(session.peer.names.at(-1), '0 connection.close', malformed.name)
      await turn()
      const { error } = session.closed
      assert.ok(error instanceof malformed.ends.kind, `${malformed.name}: ${error}`)
      assert.equal(error.replyCode, malformed.ends.replyCode, malformed.name)
      assert.deepEqual(session.peer.transport.escaped, [])
      assert.ok(Object.values(session.pending).every(({ state }) => state !== 'pending'))
    }
  })

  it('is traced for a logger without harm', async () => {
    let lines = 0
    const silent = (): void => {}
    const logger = { debug: () => void lines++, info: silent, warn: silent, error: silent }
    const before = process.memoryUsage().arrayBuffers
    let peak = 0
    for (const malformed of MALFORMED) {
      const { peer } = await play(inMemory(), malformed, { logger, traceFrames: true })
      assert.deepEqual(peer.transport.escaped, [])
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before)
    }
    assert.ok(lines > 5_000)
    assert.ok(peak < 100_000_000, `${peak} bytes of buffers`)
  })

  it('ends it, or is lived with, over a socket too', async () => {
    const hostility = await overSocket()
    try {
      for (const malformed of MALFORMED) await play(hostility, malformed)
    } finally {
      await hostility.close()
    }
  })

  it('takes no memory by what it only announces', async () => {
    const before = process.memoryUsage()
    for (const malformed of MALFORMED.filter(({ name }) => /GiB|bytes$|MiB/.test(name))) {
      for (let i = 0; i < 20; i++) {
        // One session only: the garbage of many waits for the collector, whose time is not known.
        const { arrayBuffers } = process.memoryUsage()
        await play(inMemory(), malformed)
        const grown = process.memoryUsage().arrayBuffers - arrayBuffers
        assert.ok(grown < 4_000_000, `${malformed.name}: ${grown} bytes of buffers`)
      }
    }
    const after = process.memoryUsage()
    assert.ok(after.rss - before.rss < 150_000_000, `${after.rss - before.rss} bytes`)
  })
})

describe('a stream that ends', () => {
  const ends: readonly (readonly [string, (peer: FakePeer) => void, string])[] = [
    ['between frames', peer => peer.finish(), 'end'],
    [
      'in the middle of a frame',
      peer => {
        peer.send(delivery(1, 'c', 1, 'hello').subarray(0, 30))
        peer.finish()
      },
      'end',
    ],
    [
      'in the header of a frame',
      peer => {
        peer.send(Buffer.from([1, 0, 1]))
        peer.finish()
      },
      'end',
    ],
    [
      'by a reset',
      peer => peer.transport.break(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })),
      'socket',
    ],
  ]
  for (const [where, end, reason] of ends) {
    it(`${where} loses the connection, with everything rejected`, async () => {
      const { peer, protocol, closed, pending } = await startBusySession(inMemory())
      end(peer)
      await turn()
      assert.equal(protocol.state, 'closed')
      assert.ok(closed.error instanceof ConnectionLostError)
      assert.equal(closed.error.reason, reason)
      for (const { error } of Object.values(pending)) assert.ok(error instanceof ConnectionLostError)
    })
  }
})
