import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type HandshakePort, type Negotiated, shakeHands } from '../../../src/connection/settings/handshake.ts'
import { resolveSettings } from '../../../src/connection/settings/settings.ts'
import type { ConnectOptions } from '../../../src/index.ts'
import { AuthenticationError, ConnectionClosedError, EncodeError, ProtocolError } from '../../../src/index.ts'
import { decodeMethod, encodeMethod } from '../../../src/protocol/method-codec.ts'
import * as methods from '../../../src/protocol/methods.ts'
import { Writer } from '../../../src/protocol/writer.ts'
import { rejection } from '../../support/rejection.ts'

interface Sent {
  readonly name: string
  readonly args: Readonly<Record<string, unknown>>
}

type Said = { readonly method: methods.AnyMethod; readonly args: Record<string, unknown> }

/** What the server says, in order, as it would be decoded. */
function say<M extends methods.AnyMethod>(method: M, args: methods.ArgumentsOf<M>): Said {
  const frame = Writer.encode(writer => encodeMethod(writer, 0, method, args))
  return decodeMethod(frame, 7, frame.length - 1)
}

async function shake(
  answers: readonly Said[],
  options: ConnectOptions = {},
): Promise<{ sent: Sent[]; steps: string[]; tuned: Negotiated[]; result: Promise<Negotiated> }> {
  const sent: Sent[] = []
  const steps: string[] = []
  const tuned: Negotiated[] = []
  const left = [...answers]
  const port: HandshakePort = {
    receive: async () => left.shift() ?? assert.fail('the server says nothing more'),
    send: (method, args) => {
      const { method: decoded, args: wire } = say(method, args)
      sent.push({ name: decoded.name, args: wire })
      return Writer.encode(writer => encodeMethod(writer, 0, method, args)).length
    },
    ask: async (_step, question) => question(),
    waitingFor: step => steps.push(step),
    tuned: negotiated => tuned.push(negotiated),
  }
  const settings = resolveSettings(options)
  const [server] = settings.servers
  assert.ok(server !== undefined)
  const result = shakeHands(port, settings, server)
  await result.catch(() => undefined)
  return { sent, steps, tuned, result }
}

const START = say(methods.ConnectionStart, {
  serverProperties: { product: 'x' },
  mechanisms: 'PLAIN AMQPLAIN EXTERNAL',
})
const TUNE = say(methods.ConnectionTune, { channelMax: 2047, frameMax: 131_072, heartbeat: 60 })
const OPEN_OK = say(methods.ConnectionOpenOk, {})
const GOOD = [START, TUNE, OPEN_OK]

function closed(replyCode: number, replyText: string): Said {
  return say(methods.ConnectionClose, { replyCode, replyText, classId: 10, methodId: 11 })
}

describe('shakeHands', () => {
  it('answers start with the login, tune with the agreement, and opens the virtual host', async () => {
    const { sent, steps, tuned, result } = await shake(GOOD, { login: 'me', password: 'secret', virtualhost: 'vh' })
    const negotiated = await result
    assert.deepEqual(
      sent.map(({ name }) => name),
      ['connection.start-ok', 'connection.tune-ok', 'connection.open'],
    )
    assert.equal(sent[0]?.args['mechanism'], 'PLAIN')
    assert.equal(String(sent[0]?.args['response']), '\0me\0secret')
    assert.deepEqual(sent[1]?.args, { channelMax: 2047, frameMax: 131_072, heartbeat: 10 })
    assert.equal(sent[2]?.args['virtualHost'], 'vh')
    assert.deepEqual(steps, ['connection.start', 'connection.tune', 'connection.open-ok'])
    assert.deepEqual(tuned, [negotiated])
    assert.equal(negotiated.serverMechanisms, 'PLAIN AMQPLAIN EXTERNAL')
    assert.deepEqual(negotiated.serverProperties, { product: 'x' })
  })

  it('says what it can do, in fewer than 4,096 bytes', async () => {
    const { sent } = await shake(GOOD, { clientProperties: { capabilities: { mine: true }, product: 'p' } })
    const properties = sent[0]?.args['clientProperties'] as Record<string, unknown>
    assert.equal(properties['product'], 'p')
    const capabilities = properties['capabilities'] as Record<string, unknown>
    for (const name of [
      'publisher_confirms',
      'consumer_cancel_notify',
      'exchange_exchange_bindings',
      'basic.nack',
      'connection.blocked',
      'authentication_failure_close',
      'mine',
    ]) {
      assert.equal(capabilities[name], true, name)
    }
    const frame = Writer.encode(writer =>
      encodeMethod(
        writer,
        0,
        methods.ConnectionStartOk,
        sent[0]?.args as methods.ArgumentsOf<typeof methods.ConnectionStartOk>,
      ),
    )
    assert.ok(frame.length < 4096)
  })

  const tunes: readonly (readonly [
    string,
    ConnectOptions,
    methods.ArgumentsOf<typeof methods.ConnectionTune>,
    readonly number[],
    readonly number[],
  ])[] = [
    [
      'takes the server’s limits',
      { heartbeat: 60 },
      { channelMax: 100, frameMax: 8192, heartbeat: 30 },
      [100, 8192, 30],
      [100, 8192, 30],
    ],
    [
      'keeps its own lower ones',
      { channelMax: 5, frameMax: 4096, heartbeat: 3 },
      { channelMax: 100, frameMax: 8192, heartbeat: 30 },
      [5, 4096, 3],
      [5, 4096, 3],
    ],
    [
      'takes 0 of the server for no limit',
      { channelMax: 5, frameMax: 4096 },
      { channelMax: 0, frameMax: 0, heartbeat: 0 },
      [5, 4096, 10],
      [5, 4096, 10],
    ],
    [
      'takes 0 of both for none',
      {},
      { channelMax: 0, frameMax: 0, heartbeat: 60 },
      [65_535, 0xffff_ffff, 10],
      [65_535, 0, 10],
    ],
    [
      'turns heartbeats off where the program says so',
      { heartbeat: 0 },
      { channelMax: 1, frameMax: 4096, heartbeat: 60 },
      [1, 4096, 0],
      [1, 4096, 0],
    ],
  ]
  for (const [what, options, offer, agreed, answered] of tunes) {
    it(what, async () => {
      const { sent, result } = await shake([START, say(methods.ConnectionTune, offer), OPEN_OK], options)
      const { channelMax, frameMax, heartbeat } = await result
      assert.deepEqual([channelMax, frameMax, heartbeat], agreed)
      assert.deepEqual(Object.values(sent[1]?.args ?? {}), answered)
    })
  }

  it('answers each challenge of a mechanism of the program’s', async () => {
    const challenges: (string | undefined)[] = []
    const loginMethod = {
      name: 'EXTERNAL',
      response: async (challenge?: Uint8Array) => {
        challenges.push(challenge === undefined ? undefined : String(Buffer.from(challenge)))
        return `answer ${challenges.length}`
      },
    }
    const secure = (challenge: string) => say(methods.ConnectionSecure, { challenge })
    const { sent, result } = await shake([START, secure('one'), secure('two'), TUNE, OPEN_OK], { loginMethod })
    await result
    assert.deepEqual(challenges, [undefined, 'one', 'two'])
    assert.deepEqual(
      sent.filter(({ args }) => 'response' in args).map(({ name, args }) => `${name} ${String(args['response'])}`),
      ['connection.start-ok answer 1', 'connection.secure-ok answer 2', 'connection.secure-ok answer 3'],
    )
  })

  it('asks a password function at each login', async () => {
    let asked = 0
    const password = async () => `p${++asked}`
    const { sent, result } = await shake(GOOD, { password })
    await result
    assert.equal(String(sent[0]?.args['response']), '\0guest\0p1')
  })

  it('rejects with what the program’s mechanism throws', async () => {
    const loginMethod = { name: 'PLAIN', response: () => Promise.reject(new Error('no token')) }
    const { result } = await shake(GOOD, { loginMethod })
    assert.equal((await rejection(result, Error)).message, 'no token')
    const wrong = { name: 'PLAIN', response: () => 5 as unknown as string }
    await rejection((await shake(GOOD, { loginMethod: wrong })).result, EncodeError)
  })

  const faults: readonly (readonly [string, readonly Said[], new (...args: never[]) => Error, RegExp])[] = [
    [
      'another version',
      [say(methods.ConnectionStart, { versionMajor: 8, versionMinor: 0, serverProperties: {} })],
      ProtocolError,
      /speaks AMQP 8-0/,
    ],
    [
      'no common mechanism',
      [say(methods.ConnectionStart, { serverProperties: {}, mechanisms: 'GSSAPI' })],
      AuthenticationError,
      /GSSAPI/,
    ],
    ['tune in place of start', [TUNE], ProtocolError, /connection\.tune came where connection\.start was due/],
    [
      'open-ok in place of tune',
      [START, OPEN_OK],
      ProtocolError,
      /connection\.open-ok came where connection\.tune was due/,
    ],
    [
      'blocked in place of open-ok',
      [START, TUNE, say(methods.ConnectionBlocked, {})],
      ProtocolError,
      /connection\.blocked came where/,
    ],
    [
      'frames that are too small',
      [START, say(methods.ConnectionTune, { frameMax: 4095 })],
      ProtocolError,
      /frames of 4095 bytes, below the 4096/,
    ],
    [
      'a refused login',
      [START, closed(403, 'ACCESS_REFUSED - bad')],
      AuthenticationError,
      /refused the login of user "guest" \(virtual host "\/"\): ACCESS_REFUSED \(403\), bad/,
    ],
    [
      'an unknown virtual host',
      [START, TUNE, closed(530, 'NOT_ALLOWED - vhost / not found')],
      AuthenticationError,
      /refused the virtual host "\/"/,
    ],
    [
      'no access to the virtual host',
      [START, TUNE, closed(403, 'ACCESS_REFUSED - no')],
      AuthenticationError,
      /refused the virtual host/,
    ],
    [
      'another close',
      [START, closed(541, 'INTERNAL_ERROR')],
      ConnectionClosedError,
      /during the handshake: INTERNAL_ERROR \(541\)/,
    ],
  ]
  for (const [what, answers, kind, message] of faults) {
    it(`rejects at ${what}`, async () => {
      const { result, sent } = await shake(answers)
      assert.match((await rejection(result, kind)).message, message)
      if (answers.at(-1)?.method === methods.ConnectionClose) assert.equal(sent.at(-1)?.name, 'connection.close-ok')
    })
  }

  it('hints at the empty virtual host', async () => {
    const { result } = await shake([START, TUNE, closed(530, 'NOT_ALLOWED')], { virtualhost: '' })
    assert.match(
      (await rejection(result, AuthenticationError)).message,
      /the URL ends in '\/', which names the empty vhost/,
    )
  })
})
