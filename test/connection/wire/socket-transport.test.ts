import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, it, type TestContext } from 'node:test'
import tls from 'node:tls'
import { connectSocket } from '../../../src/connection/wire/socket-transport.ts'
import type {
  TlsOptions,
  Transport,
  TransportHandler,
  TransportTarget,
} from '../../../src/connection/wire/transport.ts'
import { collectGarbage } from '../../support/heap.ts'
import { turn } from '../../support/settled.ts'
import { type Certificates, makeCertificates } from './certificates.ts'

const NEVER = new AbortController().signal

/** A handler that keeps what happens, and lets a test wait for it. */
class Recorder implements TransportHandler {
  readonly events: string[] = []
  readonly buffers = new Set<Buffer>()
  readonly steps: string[] = []
  received = Buffer.alloc(0)
  length = 0
  keep = true
  error: Error | undefined
  readonly #waiting: { readonly done: () => boolean; readonly resolve: () => void }[] = []

  onBytes(buffer: Buffer, length: number): void {
    this.buffers.add(buffer)
    this.length += length
    if (this.keep) this.received = Buffer.concat([this.received, buffer.subarray(0, length)])
    this.#wake()
  }

  onDrain(): void {
    this.#happened('drain')
  }

  onEnd(): void {
    this.#happened('end')
  }

  onClose(error: Error | undefined): void {
    this.error = error
    this.#happened('close')
  }

  until(done: () => boolean): Promise<void> {
    return new Promise(resolve => {
      this.#waiting.push({ done, resolve })
      this.#wake()
    })
  }

  untilEvent(event: string): Promise<void> {
    return this.until(() => this.events.includes(event))
  }

  #happened(event: string): void {
    this.events.push(event)
    this.#wake()
  }

  #wake(): void {
    for (const { done, resolve } of this.#waiting) if (done()) resolve()
  }

  async connect(target: TransportTarget, signal = NEVER): Promise<Transport> {
    return await connectSocket(target, this, signal, step => this.steps.push(step))
  }
}

interface Peer {
  readonly port: number
  /** The next connection that is accepted; with TLS, after its handshake. */
  accepted(): Promise<net.Socket>
}

async function listen(t: TestContext, server: net.Server, event: string): Promise<Peer> {
  const sockets: net.Socket[] = []
  const waiting: ((socket: net.Socket) => void)[] = []
  server.on('connection', (socket: net.Socket) => t.after(() => socket.destroy()))
  server.on(event, (socket: net.Socket) => {
    socket.on('error', () => {})
    const next = waiting.shift()
    if (next) next(socket)
    else sockets.push(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return {
    port: (server.address() as net.AddressInfo).port,
    accepted: async () => sockets.shift() ?? new Promise(resolve => waiting.push(resolve)),
  }
}

const listenPlain = (t: TestContext) => listen(t, net.createServer({ allowHalfOpen: true }), 'connection')

let files: Certificates
before(() => {
  files = makeCertificates()
})
after(() => files.remove())

function listenTls(t: TestContext, options: tls.TlsOptions = {}): Promise<Peer> {
  const { key, cert } = files
  const server = tls.createServer({ key, cert, ...options })
  server.on('tlsClientError', () => {})
  return listen(t, server, 'secureConnection')
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function rejectionOf(promise: Promise<unknown>): Promise<NodeJS.ErrnoException> {
  try {
    await promise
  } catch (error) {
    assert.ok(error instanceof Error)
    return error
  }
  assert.fail('it connected')
}

describe('connectSocket', { timeout: 60_000 }, () => {
  for (const encrypted of [false, true]) {
    const kind = encrypted ? 'TLS' : 'TCP'
    const listenHere = (t: TestContext) => (encrypted ? listenTls(t) : listenPlain(t))
    const targetOf = (port: number): TransportTarget => ({
      host: '127.0.0.1',
      port,
      tls: encrypted ? { ca: files.ca } : undefined,
    })

    describe(`over ${kind}`, () => {
      async function open(t: TestContext) {
        const peer = await listenHere(t)
        const handler = new Recorder()
        const transport = await handler.connect(targetOf(peer.port))
        t.after(() => transport.destroy())
        const other = await peer.accepted()
        return { handler, transport, other, port: peer.port }
      }

      it('knows its peer, and says its steps', async t => {
        const { handler, transport, other, port } = await open(t)
        assert.deepEqual(transport.peer, { host: '127.0.0.1', port, localPort: other.remotePort, encrypted })
        assert.deepEqual(handler.steps, encrypted ? ['connect', 'tls'] : ['connect'])
      })

      it('turns Nagle’s algorithm off and TCP keep-alive on', async t => {
        const noDelay = t.mock.method(net.Socket.prototype, 'setNoDelay')
        const keepAlive = t.mock.method(net.Socket.prototype, 'setKeepAlive')
        await open(t)
        assert.deepEqual(
          noDelay.mock.calls.map(call => call.arguments),
          [[true]],
        )
        assert.deepEqual(
          keepAlive.mock.calls.map(call => call.arguments),
          [[true, 60_000]],
        )
      })

      it('carries bytes both ways, reading into one buffer of 64 KiB', async t => {
        const { handler, transport, other } = await open(t)
        const bytes = Buffer.from(Array.from({ length: 2_000_003 }, (_, i) => (i * 7919) >> 3))
        other.write(bytes)
        await handler.until(() => handler.length === bytes.length)
        assert.ok(handler.received.equals(bytes))
        assert.deepEqual(
          [...handler.buffers].map(buffer => buffer.length),
          [65_536],
        )

        const parts: Buffer[] = []
        let length = 0
        const received = new Promise<void>(resolve => {
          other.on('data', part => {
            parts.push(part)
            length += part.length
            if (length === bytes.length) resolve()
          })
        })
        transport.write([bytes.subarray(0, 10), bytes.subarray(10, 1_000_000), bytes.subarray(1_000_000)])
        await received
        assert.ok(Buffer.concat(parts).equals(bytes))
        await handler.until(() => transport.pending === 0)
      })

      it('reads the bytes of many connections that come at once as those of each', async t => {
        const peer = await listenHere(t)
        const bytes = Array.from({ length: 4 }, (_, number) => Buffer.alloc(150_000, number + 1))
        const readers = await Promise.all(
          bytes.map(async own => {
            const recorder = new Recorder()
            const accepted = peer.accepted()
            const transport = await recorder.connect(targetOf(peer.port))
            t.after(() => transport.destroy())
            // Which of the sockets of the server it is, the client says.
            transport.write([Buffer.from([own[0] as number])])
            const socket = await accepted
            socket.once('data', ([number]: Buffer) => socket.write(bytes[(number as number) - 1] as Buffer))
            return recorder
          }),
        )
        for (const [number, recorder] of readers.entries()) {
          await recorder.until(() => recorder.length === 150_000)
          assert.ok(recorder.received.equals(bytes[number] as Buffer))
        }
      })

      it('gives several segments to the kernel in one call', async t => {
        const { transport, other } = await open(t)
        const writev = t.mock.method(net.Socket.prototype, '_writev' as never) as unknown as {
          mock: { callCount(): number }
        }
        const single = t.mock.method(net.Socket.prototype, '_write')
        const sent = new Promise<void>(resolve => {
          transport.write([Buffer.from('a'), Buffer.from('b'), Buffer.from('c')], resolve)
        })
        assert.deepEqual([writev.mock.callCount(), single.mock.callCount()], [1, 0])
        await sent
        assert.equal(String(other.read() ?? (await once(other, 'data'))[0]), 'abc')
      })

      it('ends, and sends no broken stream, if bytes that wait in the socket were transferred away', async t => {
        const { handler, transport, other } = await open(t)
        other.pause()
        transport.write([Buffer.alloc(30_000_000)])
        const body = new Uint8Array(50_000)
        let left = false
        transport.write([Buffer.from('head'), body, Buffer.from('end')], () => {
          left = true
        })
        structuredClone(body, { transfer: [body.buffer] })
        let received = 0
        other.on('data', (bytes: Buffer) => {
          received += bytes.length
        })
        other.resume()
        await handler.untilEvent('close')
        assert.match(String(handler.error?.message), /memory of a payload was transferred away/)
        assert.equal(left, false)
        assert.ok(received <= 30_000_000)
      })

      it('asks to wait while the peer does not read, says when to go on, and reports what was sent in order', async t => {
        const { handler, transport, other } = await open(t)
        other.pause()
        const chunk = Buffer.alloc(1_000_000)
        const sent: number[] = []
        let written = 0
        for (let more = true; more; ) {
          const number = written++
          more = transport.write([chunk], () => sent.push(number))
        }
        assert.ok(transport.pending > 0)
        assert.ok(sent.length < written)
        const last = new Promise<void>(resolve => {
          assert.equal(transport.write([chunk, chunk], resolve), false)
        })
        other.resume()
        await last
        await handler.untilEvent('drain')
        assert.equal(transport.pending, 0)
        assert.deepEqual(
          sent,
          Array.from({ length: written }, (_, i) => i),
        )
      })

      it('reads no more after pause(), and all of it after resume()', async t => {
        const { handler, transport, other } = await open(t)
        handler.keep = false
        other.write(Buffer.alloc(100))
        await handler.until(() => handler.length === 100)
        transport.pause()
        const total = 50_000_000
        let flushed = false
        other.write(Buffer.alloc(total), () => {
          flushed = true
        })
        // The kernel's buffers fill up; the rest stays with the writer.
        for (let seen = -1; seen !== other.bytesWritten + handler.length; await new Promise(r => setTimeout(r, 50))) {
          seen = other.bytesWritten + handler.length
        }
        assert.equal(flushed, false)
        assert.ok(handler.length <= 100 + 2 * 65_536, `${handler.length} bytes came after pause()`)
        transport.resume()
        await handler.until(() => handler.length === total + 100)
      })

      it('can be paused from within onBytes', async t => {
        const { handler, transport, other } = await open(t)
        handler.keep = false
        const onBytes = handler.onBytes.bind(handler)
        let pauses = 0
        handler.onBytes = (buffer, length) => {
          onBytes(buffer, length)
          transport.pause()
          if (pauses++ === 0) setTimeout(() => transport.resume(), 20)
          else setImmediate(() => transport.resume())
        }
        other.write(Buffer.alloc(1_000_000))
        await handler.until(() => handler.length === 1_000_000)
        assert.ok(pauses > 1)
      })

      it('reports the end of the peer once, then the close, and drops what is written after it', async t => {
        const { handler, transport, other } = await open(t)
        other.end('bye')
        await handler.untilEvent('end')
        assert.equal(handler.received.toString(), 'bye')
        assert.equal(
          transport.write([Buffer.from('late')], () => assert.fail('sent')),
          false,
        )
        await handler.untilEvent('close')
        assert.equal(transport.write([Buffer.from('later')]), false)
        await new Promise(setImmediate)
        assert.deepEqual(handler.events, ['end', 'close'])
        assert.equal(handler.error, undefined)
      })

      it('closes with the error of a reset, and never says that what was pending was sent', async t => {
        const { handler, transport, other } = await open(t)
        other.pause()
        let sent = false
        while (transport.write([Buffer.alloc(1_000_000)]));
        transport.write([Buffer.alloc(1_000_000)], () => {
          sent = true
        })
        if (other instanceof tls.TLSSocket) other.destroy()
        else other.resetAndDestroy()
        await handler.untilEvent('close')
        assert.match(String((handler.error as NodeJS.ErrnoException).code), /^(ECONNRESET|EPIPE)$/)
        await new Promise(setImmediate)
        assert.deepEqual(
          handler.events.filter(event => event === 'close'),
          ['close'],
        )
        assert.equal(sent, false)
      })

      it('sends what is pending before its end', async t => {
        const { handler, transport, other } = await open(t)
        transport.write([Buffer.alloc(3_000_000)])
        transport.end()
        assert.equal(transport.write([Buffer.from('late')]), false)
        let length = 0
        other.on('data', part => {
          length += part.length
        })
        await once(other, 'end')
        assert.equal(length, 3_000_000)
        other.end()
        await handler.untilEvent('close')
        assert.equal(handler.error, undefined)
      })

      it(`sends what is pending before an end that was agreed on, and ${encrypted ? 'waits for' : 'needs not'} the other`, async t => {
        const { handler, transport, other } = await open(t)
        transport.write([Buffer.alloc(3_000_000)])
        transport.end(true)
        let length = 0
        other.on('data', part => {
          length += part.length
        })
        await once(other, 'end')
        assert.equal(length, 3_000_000)
        if (encrypted) other.end()
        await handler.untilEvent('close')
        assert.equal(handler.error, undefined)
      })

      it('closes at once when destroyed, with the error it is given', async t => {
        const { handler, transport } = await open(t)
        const error = new Error('enough')
        transport.destroy(error)
        transport.destroy()
        assert.equal(transport.write([Buffer.from('late')]), false)
        await handler.untilEvent('close')
        assert.deepEqual(handler.events, ['close'])
        assert.equal(handler.error, error)

        const second = await open(t)
        second.transport.destroy()
        await second.handler.untilEvent('close')
        assert.equal(second.handler.error, undefined)
      })

      it('closes with what onBytes throws', async t => {
        const { handler, other } = await open(t)
        const error = new Error('not AMQP')
        handler.onBytes = () => {
          throw error
        }
        other.write('x')
        await handler.untilEvent('close')
        assert.equal(handler.error, error)
      })

      it('gives no byte to the handler before it is connected, not even of a hasty server', async t => {
        const peer = await listenHere(t)
        const hasty = peer.accepted().then(socket => socket.write('at once'))
        const handler = new Recorder()
        let connected = false
        const onBytes = handler.onBytes.bind(handler)
        handler.onBytes = (buffer, length) => {
          assert.ok(connected)
          onBytes(buffer, length)
        }
        const transport = await handler.connect(targetOf(peer.port))
        connected = true
        t.after(() => transport.destroy())
        await hasty
        await handler.until(() => handler.received.toString() === 'at once')
      })

      it('rejects with the error of a refused connection, and calls no handler', async () => {
        const handler = new Recorder()
        const error = await rejectionOf(handler.connect(targetOf(await freePort())))
        assert.equal(error.code, 'ECONNREFUSED')
        assert.equal(handler.steps.at(-1), 'connect')
        assert.deepEqual(handler.events, [])
      })

      it('makes no socket for a signal that is aborted already', async t => {
        const connect = t.mock.method(net.Socket.prototype, 'connect')
        const reason = new Error('no more')
        const handler = new Recorder()
        assert.equal(await rejectionOf(handler.connect(targetOf(1), AbortSignal.abort(reason))), reason)
        assert.equal(connect.mock.callCount(), 0)
      })

      it('keeps nothing of the attempt in memory once it is connected', async t => {
        const peer = await listenHere(t)
        const handler = new Recorder()
        const attempt = async () => {
          const { signal } = new AbortController()
          const transport = await handler.connect(targetOf(peer.port), signal)
          t.after(() => transport.destroy())
          return new WeakRef(signal)
        }
        const signal = await attempt()
        // Its object stays until the end of the turn.
        await turn()
        collectGarbage()
        assert.equal(signal.deref(), undefined)
        assert.deepEqual(handler.events, [])
      })

      it('does not listen to the signal any more once it is connected', async t => {
        const peer = await listenHere(t)
        const aborter = new AbortController()
        const handler = new Recorder()
        const transport = await handler.connect(targetOf(peer.port), aborter.signal)
        t.after(() => transport.destroy())
        aborter.abort()
        const other = await peer.accepted()
        other.write('still here')
        await handler.until(() => handler.received.toString() === 'still here')
        assert.deepEqual(handler.events, [])
      })
    })
  }

  it('has nothing pending right after a write that the kernel took whole', async t => {
    const peer = await listenPlain(t)
    const handler = new Recorder()
    const transport = await handler.connect({ host: '127.0.0.1', port: peer.port, tls: undefined })
    t.after(() => transport.destroy())
    assert.equal(transport.write([Buffer.alloc(65_536)]), true)
    assert.equal(transport.pending, 0)
    assert.equal(transport.write([Buffer.alloc(100), Buffer.alloc(1000), Buffer.alloc(100)]), true)
    assert.equal(transport.pending, 0)
  })

  it('sees an end that came right after bytes it was paused for, after resume()', async t => {
    const peer = await listenPlain(t)
    const handler = new Recorder()
    const transport = await handler.connect({ host: '127.0.0.1', port: peer.port, tls: undefined })
    t.after(() => transport.destroy())
    transport.pause()
    const other = await peer.accepted()
    other.end('last words')
    await once(other, 'finish')
    transport.resume()
    await handler.untilEvent('close')
    assert.equal(handler.received.toString(), 'last words')
    assert.deepEqual(handler.events, ['end', 'close'])
  })

  it('says that it looks a name up, and rejects if the name is unknown', async () => {
    const handler = new Recorder()
    const error = await rejectionOf(handler.connect({ host: 'broker.invalid', port: 5672, tls: undefined }))
    assert.match(String(error.code), /^(ENOTFOUND|EAI_AGAIN)$/)
    assert.deepEqual(handler.steps, ['lookup'])
  })

  it('has a message if all addresses of a name refuse', async () => {
    const handler = new Recorder()
    const error = await rejectionOf(handler.connect({ host: 'localhost', port: await freePort(), tls: undefined }))
    assert.equal(error.code, 'ECONNREFUSED')
    assert.match(error.message, /ECONNREFUSED 127\.0\.0\.1/)
    assert.deepEqual(handler.steps, ['lookup', 'connect'])
  })
})

describe('connectSocket with TLS', { timeout: 60_000 }, () => {
  const target = (port: number, options: TlsOptions = {}, host = '127.0.0.1'): TransportTarget => ({
    host,
    port,
    tls: { ca: files.ca, ...options },
  })

  it('sends the host’s name, and none for an address', async t => {
    const peer = await listenTls(t)
    const names: unknown[] = []
    for (const options of [{}, { servername: 'broker.example' }, { servername: '127.0.0.1' }, { servername: '' }]) {
      const transport = await new Recorder().connect(target(peer.port, options))
      // No name is false in Node, and null in Deno.
      names.push(((await peer.accepted()) as tls.TLSSocket).servername || false)
      transport.destroy()
    }
    assert.deepEqual(names, [false, 'broker.example', false, false])

    const lookup = ((_name: string, options: { all?: boolean }, found: (...args: unknown[]) => void) =>
      options.all
        ? found(null, [{ address: '127.0.0.1', family: 4 }])
        : found(null, '127.0.0.1', 4)) as net.LookupFunction
    const transport = await new Recorder().connect(target(peer.port, { lookup }, 'broker.example'))
    assert.equal(((await peer.accepted()) as tls.TLSSocket).servername, 'broker.example')
    transport.destroy()
  })

  const refused: [title: string, options: () => TlsOptions, host: string, code: string][] = [
    ['a certificate for another name', () => ({}), 'localhost', 'ERR_TLS_CERT_ALTNAME_INVALID'],
    [
      'another name than the one asked for',
      () => ({ servername: 'x.example' }),
      '127.0.0.1',
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    [
      'another address than the one asked for',
      () => ({ servername: '127.0.0.2' }),
      '127.0.0.1',
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    ['an unknown authority', () => ({ ca: undefined }), '127.0.0.1', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ]
  for (const [title, options, host, code] of refused) {
    it(`refuses ${title}, in the step tls`, async t => {
      const peer = await listenTls(t)
      const handler = new Recorder()
      const error = await rejectionOf(handler.connect(target(peer.port, options(), host)))
      assert.equal(error.code, code)
      assert.equal(handler.steps.at(-1), 'tls')

      const unverified = await handler.connect(target(peer.port, { ...options(), rejectUnauthorized: false }, host))
      assert.equal(unverified.peer.encrypted, true)
      unverified.destroy()
    })
  }

  it('shows a certificate of the client', async t => {
    const { ca, cert, key } = files
    const peer = await listenTls(t, { requestCert: true, ca })
    const transport = await new Recorder().connect(target(peer.port, { cert, key }))
    const other = (await peer.accepted()) as tls.TLSSocket
    assert.equal(other.authorized, true)
    assert.equal(other.getPeerCertificate().subject.CN, 'broker.example')
    transport.destroy()
  })

  for (const [what, checkServerIdentity, says] of [
    [
      'throws',
      () => {
        throw new Error('I cannot look')
      },
      /^I cannot look$/,
    ],
    ['returns a promise', async () => undefined, /^checkServerIdentity must return an Error or undefined$/],
    ['finds a fault', () => new Error('not this one'), /^not this one$/],
  ] as const) {
    it(`rejects if a checkServerIdentity of the program’s own ${what}`, async t => {
      const peer = await listenTls(t)
      const handler = new Recorder()
      const options = { checkServerIdentity: checkServerIdentity as TlsOptions['checkServerIdentity'] }
      const error = await rejectionOf(handler.connect(target(peer.port, options as TlsOptions)))
      assert.match(error.message, says)
    })
  }

  it('says by its alert that the server wants a certificate of the client, and not as an end of the stream', async t => {
    const peer = await listenTls(t, { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' })
    const handler = new Recorder()
    const transport = await handler.connect(target(peer.port))
    transport.write([Buffer.from('AMQP')])
    await handler.untilEvent('close')
    assert.deepEqual(handler.events, ['close'])
    // TLSV13 in Node, TLSV1 in Bun.
    const { code } = handler.error as NodeJS.ErrnoException
    assert.match(code ?? '', /^ERR_SSL_TLSV1\w*_ALERT_CERTIFICATE_REQUIRED$/)
  })

  it('rejects a key that cannot be read, in the step tls, without a socket', async t => {
    const connect = t.mock.method(net.Socket.prototype, 'connect')
    const handler = new Recorder()
    await rejectionOf(handler.connect(target(1, { key: 'no key', cert: 'no certificate' })))
    assert.equal(handler.steps.at(-1), 'tls')
    assert.equal(connect.mock.callCount(), 0)
  })

  it('rejects in the step tls if the server speaks no TLS, or hangs up', async t => {
    const peer = await listenPlain(t)
    const talking = peer.accepted().then(socket => socket.write('AMQP\0\0\x09\x01'))
    const handler = new Recorder()
    const error = await rejectionOf(handler.connect(target(peer.port)))
    assert.match(String(error.code), /^ERR_SSL_/)
    assert.equal(handler.steps.at(-1), 'tls')
    await talking

    const leaving = peer.accepted().then(socket => socket.end())
    const hungUp = await rejectionOf(new Recorder().connect(target(peer.port)))
    assert.equal(hungUp.code, 'ECONNRESET')
    await leaving
  })

  it('leaves no socket behind when aborted in the handshake', async t => {
    const peer = await listenPlain(t)
    const aborter = new AbortController()
    const handler = new Recorder()
    const connecting = rejectionOf(handler.connect(target(peer.port), aborter.signal))
    const other = await peer.accepted()
    other.resume()
    const gone = once(other, 'end')
    const reason = new Error('changed my mind')
    aborter.abort(reason)
    assert.equal(await connecting, reason)
    await gone
    assert.deepEqual(handler.events, [])
  })
})
