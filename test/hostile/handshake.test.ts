import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AuthenticationError,
  ConnectionClosedError,
  ConnectionFailedError,
  ConnectionLostError,
  type ConnectOptions,
  FrameError,
  ProtocolError,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { type FakePeer, heartbeatFrame, methodFrame, rawFrame } from '../support/fake-broker.ts'
import { type Hostility, inMemory, overSocket } from '../support/hostile-session.ts'
import { impatientClock } from '../support/impatient-clock.ts'
import { within } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

type Answer = (peer: FakePeer) => void

/** The server says this, and maybe ends the stream, when the client's method comes; the protocol header is one, too. */
function on(method: string, bytes: Uint8Array, finish = false): Answer {
  return peer => {
    peer.answers.set(method, () => {
      if (finish) setImmediate(() => peer.finish())
      return bytes
    })
  }
}

const greet = (bytes: Uint8Array | string, finish = false): Answer =>
  on('protocol header', Buffer.from(bytes as Uint8Array), finish)
const START_OK = methods.ConnectionStartOk.name
const OPEN = methods.ConnectionOpen.name
const start = (args: Partial<methods.ArgumentsOf<typeof methods.ConnectionStart>>): Buffer =>
  methodFrame(0, methods.ConnectionStart, { serverProperties: {}, ...args })
const close = (replyCode: number, replyText: string): Buffer =>
  methodFrame(0, methods.ConnectionClose, { replyCode, replyText, classId: 0, methodId: 0 })

interface Case {
  readonly name: string
  readonly answer: Answer
  /** The error underneath `ConnectionFailedError`, or the one that connect rejects with. */
  readonly kind: new (
    ...args: never[]
  ) => Error
  readonly message: RegExp
}

const cases: readonly Case[] = [
  {
    name: 'an HTTP server',
    answer: greet('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n', true),
    kind: FrameError,
    message: /this looks like HTTP, not AMQP/,
  },
  {
    name: 'an HTML page',
    answer: greet('<!DOCTYPE html><html></html>', true),
    kind: FrameError,
    message: /this looks like HTTP/,
  },
  {
    name: 'an SSH server',
    answer: greet('SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n'),
    kind: FrameError,
    message: /this looks like SSH/,
  },
  {
    name: 'a TLS server’s alert',
    answer: greet(Buffer.from('15030300020250', 'hex'), true),
    kind: FrameError,
    message: /is this the TLS port\?/,
  },
  {
    name: 'a TLS server’s handshake',
    answer: greet(Buffer.concat([Buffer.from('160303007a02', 'hex'), Buffer.alloc(100)])),
    kind: FrameError,
    message: /is this the TLS port\?/,
  },
  {
    name: 'an AMQP 1.0 server',
    answer: greet('AMQP\x00\x01\x00\x00', true),
    kind: FrameError,
    message: /speaks AMQP 1\.0\.0 \(protocol id 0\), not 0-9-1/,
  },
  {
    name: 'an AMQP 1.0 server that asks for SASL',
    answer: greet('AMQP\x03\x01\x00\x00', true),
    kind: FrameError,
    message: /speaks AMQP 1\.0\.0 \(protocol id 3\)/,
  },
  {
    name: 'a server that ends the stream at once',
    answer: greet('', true),
    kind: ConnectionLostError,
    message: /closed the connection before it said anything: is this the TLS port/,
  },
  {
    name: 'a server that sends garbage',
    answer: greet(Buffer.from('a7c3519ee2f00b44a1d2', 'hex')),
    kind: FrameError,
    message: /167 is not a frame type/,
  },
  {
    name: 'a server that sends zeros',
    answer: greet(Buffer.alloc(100)),
    kind: FrameError,
    message: /a frame of type 0 on channel 0 ends with the octet 0x0/,
  },
  {
    name: 'half a connection.start',
    answer: greet(start({}).subarray(0, 20), true),
    kind: ConnectionLostError,
    message: /the server ended the stream/,
  },
  {
    name: 'a connection.start of 2 GiB',
    answer: greet(Buffer.from('0100007fffffff', 'hex')),
    kind: FrameError,
    message: /a frame of 2147483655 bytes/,
  },
  {
    name: 'a connection.start without its end octet',
    answer: greet(rawFrame(1, 0, start({}).subarray(7, -1), 0)),
    kind: FrameError,
    message: /ends with the octet 0x0/,
  },
  {
    name: 'a connection.start that is cut',
    answer: greet(rawFrame(1, 0, start({}).subarray(7, -5))),
    kind: FrameError,
    message: /connection\.start: /,
  },
  {
    name: 'a connection.start of version 8-0',
    answer: greet(start({ versionMajor: 8, versionMinor: 0 })),
    kind: ProtocolError,
    message: /the server speaks AMQP 8-0, not 0-9-1/,
  },
  {
    name: 'no SASL mechanism in common',
    answer: greet(start({ mechanisms: 'GSSAPI KERBEROS_V4' })),
    kind: AuthenticationError,
    message: /does not offer the SASL mechanism PLAIN, only GSSAPI, KERBEROS_V4/,
  },
  {
    name: 'a connection.tune in place of connection.start',
    answer: greet(methodFrame(0, methods.ConnectionTune, {})),
    kind: ProtocolError,
    message: /connection\.tune came where connection\.start was due/,
  },
  {
    name: 'a method on a channel in place of connection.start',
    answer: greet(methodFrame(1, methods.ChannelOpenOk, {})),
    kind: ProtocolError,
    message: /channel 1, which is not open/,
  },
  {
    name: 'a body in place of connection.start',
    answer: greet(rawFrame(3, 0, Buffer.alloc(10))),
    kind: ProtocolError,
    message: /a body came on channel 0/,
  },
  {
    name: 'a connection.open-ok in place of connection.tune',
    answer: on(START_OK, methodFrame(0, methods.ConnectionOpenOk, {})),
    kind: ProtocolError,
    message: /connection\.open-ok came where connection\.tune was due/,
  },
  {
    name: 'a frame size of 100 bytes',
    answer: on(START_OK, methodFrame(0, methods.ConnectionTune, { frameMax: 100 })),
    kind: ProtocolError,
    message: /frames of 100 bytes, below the 4096/,
  },
  {
    name: 'a connection.tune that is cut',
    answer: on(START_OK, rawFrame(1, 0, Buffer.from('000a001e00', 'hex'))),
    kind: FrameError,
    message: /connection\.tune: /,
  },
  {
    name: 'a refused login',
    answer: on(START_OK, close(403, 'ACCESS_REFUSED - Login was refused'), true),
    kind: AuthenticationError,
    message:
      /the server refused the login of user "guest" \(virtual host "\/"\): ACCESS_REFUSED \(403\), Login was refused/,
  },
  {
    name: 'an end in place of connection.tune',
    answer: on(START_OK, Buffer.alloc(0), true),
    kind: ConnectionLostError,
    message: /the server ended the stream/,
  },
  {
    name: 'an unknown virtual host',
    answer: on(OPEN, close(530, 'NOT_ALLOWED - vhost nope not found'), true),
    kind: AuthenticationError,
    message: /refused the virtual host "\/" to user "guest": NOT_ALLOWED \(530\), vhost nope not found/,
  },
  {
    name: 'a close for another reason',
    answer: on(OPEN, close(541, 'INTERNAL_ERROR')),
    kind: ConnectionClosedError,
    message: /closed the connection during the handshake: INTERNAL_ERROR \(541\)/,
  },
  {
    name: 'a frame above the size agreed in place of connection.open-ok',
    answer: on(OPEN, Buffer.from('01000000002001', 'hex')),
    kind: FrameError,
    message: /larger than the 8192 bytes agreed/,
  },
  {
    name: 'a fault in the bytes behind connection.open-ok',
    answer: on(OPEN, Buffer.concat([methodFrame(0, methods.ConnectionOpenOk, {}), rawFrame(4, 0, Buffer.alloc(1))])),
    kind: FrameError,
    message: /4 is not a frame type/,
  },
  {
    name: 'a stray method behind connection.open-ok',
    answer: on(
      OPEN,
      Buffer.concat([methodFrame(0, methods.ConnectionOpenOk, {}), methodFrame(0, methods.ConnectionTune, {})]),
    ),
    kind: ProtocolError,
    message: /connection\.tune came on channel 0 when it was not due/,
  },
]

/** The error of a connect that must fail, and not by a timer of more than a second. */
function refused(hostility: Hostility, options: ConnectOptions = {}): Promise<Error> {
  return within(
    3_000,
    'connect',
    hostility.connect({ recovery: true, clock: impatientClock(1_001), ...options }).then(
      () => assert.fail('it connected'),
      (thrown: Error) => thrown,
    ),
  )
}

describe('a server that is none, or breaks the handshake', () => {
  for (const [where, open] of [
    ['in memory', async (prepare: Answer) => inMemory(prepare)],
    ['over a socket', overSocket],
  ] as const) {
    for (const { name, answer, kind, message } of cases) {
      it(`${name}: connect rejects at once, ${where}`, async () => {
        const hostility = await open(answer)
        try {
          const error = await refused(hostility)
          const inner = error instanceof ConnectionFailedError ? error.cause : error
          assert.ok(inner instanceof kind, `${error.name}: ${error.message}; ${String(inner)}`)
          assert.match(error.message, message)
          assert.match(error.message, /^connect to (localhost:5672|127\.0\.0\.1:\d+) failed: /)
          const peer = await hostility.accept()
          await within(2_000, 'the end of the stream', peer.ended)
        } finally {
          await hostility.close()
        }
      })
    }
  }

  const silent: readonly (readonly [string, Answer, RegExp])[] = [
    ['from the start', on('protocol header', Buffer.alloc(0)), /connection\.start/],
    ['but for heartbeats', on('protocol header', heartbeatFrame), /connection\.start/],
    ['after start-ok', on(START_OK, Buffer.alloc(0)), /connection\.tune/],
    ['after open', on(OPEN, Buffer.alloc(0)), /connection\.open-ok/],
    [
      'in the middle of a frame',
      on(START_OK, methodFrame(0, methods.ConnectionTune, {}).subarray(0, 9)),
      /connection\.tune/,
    ],
  ]
  for (const [when, answer, step] of silent) {
    it(`is silent ${when}: connect rejects within connectTimeout and names the step`, async () => {
      const hostility = inMemory(answer)
      const clock = new VirtualClock()
      const error = await clock.until(refused(hostility, { connectTimeout: 60, clock }))
      assert.equal(clock.now(), 60)
      assert.ok(error instanceof ConnectionFailedError)
      assert.ok(error.cause instanceof TimeoutError)
      assert.match(error.message, /no answer within 60 ms; it was waiting for /)
      assert.match(error.message, step)
      assert.match(error.attempts[0]?.step ?? '', step)
      await within(2_000, 'the end of the stream', (await hostility.accept()).ended)
    })
  }

  it('asks for a secret for ever: connect ends in its time', async () => {
    const challenge = methodFrame(0, methods.ConnectionSecure, { challenge: 'again' })
    const hostility = await overSocket(peer => {
      peer.answers.set(START_OK, () => challenge)
      peer.answers.set(methods.ConnectionSecureOk.name, () => challenge)
    })
    try {
      const loginMethod = { name: 'PLAIN', response: () => 'secret' }
      const error = await refused(hostility, { connectTimeout: 100, loginMethod })
      assert.ok(error instanceof ConnectionFailedError)
      assert.match(error.message, /no answer within 100 ms; it was waiting for connection\.tune/)
    } finally {
      await hostility.close()
    }
  })
})
