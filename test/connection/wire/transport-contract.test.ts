import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, it, type TestContext } from 'node:test'
import tls from 'node:tls'
import { connectSocket } from '../../../src/connection/wire/socket-transport.ts'
import type { Transport, TransportHandler } from '../../../src/connection/wire/transport.ts'
import { MemoryTransport } from '../../support/memory-transport.ts'
import { turn } from '../../support/settled.ts'
import { until } from '../../support/until.ts'
import { type Certificates, makeCertificates } from './certificates.ts'

/** A transport, and the network beyond it. */
interface Scene {
  readonly transport: Transport
  readonly events: string[]
  /** Let the network take no more than its buffers hold. */
  stall(): void
  flow(): void
}

function recorder(events: string[]): TransportHandler {
  return {
    onBytes: () => {},
    onDrain: () => events.push('drain'),
    onEnd: () => {},
    onClose: () => events.push('close'),
  }
}

async function inMemory(): Promise<Scene> {
  const events: string[] = []
  const transport = new MemoryTransport(recorder(events), { written: () => {}, closed: () => {} })
  return { transport, events, stall: () => transport.stall(), flow: () => transport.flow() }
}

let certificates: Certificates
before(() => {
  certificates = makeCertificates()
})
after(() => certificates.remove())

async function bySocket(t: TestContext, encrypted: boolean): Promise<Scene> {
  const { key, cert } = certificates
  const server = encrypted ? tls.createServer({ key, cert }) : net.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, encrypted ? 'secureConnection' : 'connection')
  const events: string[] = []
  const target = {
    host: '127.0.0.1',
    port: (server.address() as net.AddressInfo).port,
    tls: encrypted ? { rejectUnauthorized: false } : undefined,
  }
  const transport = await connectSocket(target, recorder(events), new AbortController().signal, () => {})
  const [peer] = (await accepted) as [net.Socket]
  peer.on('error', () => {})
  t.after(() => {
    transport.destroy()
    peer.destroy()
    server.close()
  })
  peer.resume()
  return { transport, events, stall: () => peer.pause(), flow: () => peer.resume() }
}

const SCENES: readonly (readonly [string, (t: TestContext) => Promise<Scene>])[] = [
  ['in memory', inMemory],
  ['by TCP', t => bySocket(t, false)],
  ['by TLS', t => bySocket(t, true)],
]

for (const [where, scene] of SCENES) {
  describe(`a transport ${where}`, () => {
    it('reports of each write that it has left, in their order, and never within the write', async t => {
      const { transport, flow, stall } = await scene(t)
      const sent: number[] = []
      let waiting = 0
      const write = (size: number): boolean => {
        const number = sent.length + waiting++
        const before = sent.length
        const more = transport.write([Buffer.alloc(size), Buffer.alloc(1)], () => {
          sent.push(number)
          waiting--
        })
        assert.equal(sent.length, before)
        return more
      }
      write(10)
      await until('the first write has left', () => sent.length === 1)
      stall()
      do {
        write(20_000)
        await turn()
      } while (transport.pending === 0)
      const gone = sent.length
      write(10)
      await turn()
      assert.equal(sent.length, gone, 'what waits for the network has not left')
      flow()
      await until('all writes have left', () => waiting === 0)
      assert.deepEqual(
        sent,
        sent.map((_, i) => i),
      )
      assert.equal(transport.pending, 0)
    })

    it('reports no drain if it never asked to wait', async t => {
      const { transport, events, flow, stall } = await scene(t)
      stall()
      let left = false
      do {
        left = false
        assert.equal(
          transport.write([Buffer.alloc(20_000)], () => {
            left = true
          }),
          true,
        )
        await turn()
      } while (transport.pending === 0)
      assert.equal(left, false)
      flow()
      await until('the last write has left', () => left)
      await turn()
      assert.equal(transport.pending, 0)
      assert.deepEqual(events, [])
    })

    it('asks to wait after much, and then reports when nothing is pending', async t => {
      const { transport, events, flow, stall } = await scene(t)
      stall()
      while (transport.write([Buffer.alloc(100_000)])) await turn()
      assert.ok(transport.pending > 0)
      assert.equal(transport.write([Buffer.alloc(1)]), false)
      assert.deepEqual(events, [])
      flow()
      await until('it tells', () => events.length > 0)
      assert.deepEqual(events, ['drain'])
      assert.equal(transport.pending, 0)
    })
  })
}
