import {
  ChannelOpenOk,
  ConnectionCloseOk,
  ConnectionOpenOk,
  ConnectionStart,
  ConnectionTune,
  decodeTable,
  encodeMethod,
  type Frame,
  FrameReader,
} from '../../../src/codec/index.ts'
import type { TransportFactory } from '../../../src/connection/wire/transport.ts'
import { type ConnectOptions, connect } from '../../../src/index.ts'
import type { Errand, Outing } from './errand.ts'

type Given = readonly [url: string | URL | readonly string[] | ConnectOptions | undefined, options?: ConnectOptions]

/** What no error may show. */
const SECRET = 's3cret'

/** What is given to `connect()`, and where that leads: the server, who logs in and how, the virtual host, and what is agreed. */
const GOOD: readonly (readonly [given: Given, leads: string])[] = [
  [[{}], 'localhost:5672 PLAIN /guest/guest / 2047 131072 10'],
  [['amqp://'], 'localhost:5672 PLAIN /guest/guest / 2047 131072 10'],
  [['amqp://b'], 'b:5672 PLAIN /guest/guest / 2047 131072 10'],
  [['amqps://b'], 'b:5671 TLS true PLAIN /guest/guest / 2047 131072 10'],
  [['AMQP://b:1/'], 'b:1 PLAIN /guest/guest  2047 131072 10'],
  [['amqp://b:65535/%2F'], 'b:65535 PLAIN /guest/guest / 2047 131072 10'],
  [['amqp://u@b/v'], 'b:5672 PLAIN /u/guest v 2047 131072 10'],
  [['amqp://u:@b/v%20w'], 'b:5672 PLAIN /u/ v w 2047 131072 10'],
  [['amqp://u%40x:p%3A%2Fq@[::1]:7/v'], '::1:7 PLAIN /u@x/p:/q v 2047 131072 10'],
  [['amqp://u:p:q@[fe80::1]'], 'fe80::1:5672 PLAIN /u/p:q / 2047 131072 10'],
  [[new URL('amqp://u:p@b/v')], 'b:5672 PLAIN /u/p v 2047 131072 10'],
  [['amqp://b?heartbeat=0&channel_max=7&frame_max=4096'], 'b:5672 PLAIN /guest/guest / 7 4096 0'],
  [['amqp://b?heartbeat=3600&channel_max=65535&frame_max=0'], 'b:5672 PLAIN /guest/guest / 2047 131072 60'],
  [['amqp://b?auth_mechanism=amqplain&auth_mechanism=PLAIN'], 'b:5672 AMQPLAIN guest/guest / 2047 131072 10'],
  [['amqp://b?auth_mechanism=external&auth_mechanism=plain'], 'b:5672 PLAIN /guest/guest / 2047 131072 10'],
  [['amqps://b?verify=verify_none&server_name_indication=c'], 'b:5671 TLS false c PLAIN /guest/guest / 2047 131072 10'],
  [['amqps://b?verify=verify_peer'], 'b:5671 TLS true PLAIN /guest/guest / 2047 131072 10'],
  [['amqps://b?verify=verify_none', { verifySsl: true }], 'b:5671 TLS true PLAIN /guest/guest / 2047 131072 10'],
  [['amqps://b', { ssl: false }], 'b:5672 PLAIN /guest/guest / 2047 131072 10'],
  [['amqp://b', { ssl: true, verifySsl: false }], 'b:5671 TLS false PLAIN /guest/guest / 2047 131072 10'],
  [
    [{ host: 'b', ssl: { servername: 'c', rejectUnauthorized: false } }],
    'b:5671 TLS false c PLAIN /guest/guest / 2047 131072 10',
  ],
  [
    ['amqp://u:p@b:7/v?heartbeat=5', { host: 'c', port: 8, login: 'w', password: 'q', virtualhost: 'x', heartbeat: 6 }],
    'c:8 PLAIN /w/q x 2047 131072 6',
  ],
  [
    [{ host: '[::2]', channelMax: 3000, frameMax: 200_000, heartbeat: 61 }],
    '::2:5672 PLAIN /guest/guest / 2047 131072 60',
  ],
  [
    [{ host: 'b', password: () => ({ password: 'later', expiresAt: 2e12 }) }],
    'b:5672 PLAIN /guest/later / 2047 131072 10',
  ],
  [
    [{ host: 'b', loginMethod: { name: 'plain', response: () => '\0me\0mine' } }],
    'b:5672 plain /me/mine / 2047 131072 10',
  ],
  [[{ servers: [{ host: 'b' }, 'amqp://c'], port: 9 }], 'b:9 PLAIN /guest/guest / 2047 131072 10'],
  [[{ servers: [{ host: 'b', port: 4 }], port: 9, login: 'u' }], 'b:4 PLAIN /u/guest / 2047 131072 10'],
  [
    [{ servers: ['amqps://u:p@b:4/v', 'amqp://c'], port: 9, login: 'w', ssl: false, virtualhost: 'x' }],
    'b:4 TLS true PLAIN /u/p v 2047 131072 10',
  ],
  [
    [{ servers: ['amqp://b'], port: 9, login: 'w', password: 'q', virtualhost: 'x' }],
    'b:9 PLAIN /w/q x 2047 131072 10',
  ],
  [[['amqp://b?heartbeat=7', 'amqp://c:8?heartbeat=7', 'amqp://d']], 'b:5672 PLAIN /guest/guest / 2047 131072 7'],
]

/** What cannot be meant. */
const BAD: readonly Given[] = [
  ['http://b'],
  ['b:5672'],
  [`amqp://u:${SECRET}@b:0`],
  [`amqp://u:${SECRET}@b:65536`],
  [`amqp://u:${SECRET}@b:x`],
  [`amqp://u:${SECRET}@::1`],
  [`amqp://u:${SECRET}@[x]`],
  [`amqp://u:${SECRET}@b/v/w`],
  [`amqp://u:${SECRET}@c@b`],
  [`amqp://u:a/${SECRET}@b`],
  [`amqp://u:a?${SECRET}@b`],
  [`amqp://u:a#${SECRET}@b`],
  [`amqp://u:${SECRET}@b#v`],
  [`amqp://u:${SECRET}%ff@b`],
  [`amqp://u:${SECRET}@b c`],
  [`amqp://u:${SECRET}@b/${'v'.repeat(256)}`],
  [`amqp://u:${SECRET}@b?hartbeat=5`],
  [`amqp://u:${SECRET}@b?heartbeat=5&heartbeat=5`],
  ['amqp://b?heartbeat=3601'],
  ['amqp://b?heartbeat=-1'],
  ['amqp://b?heartbeat='],
  ['amqp://b?connection_timeout=0'],
  ['amqp://b?channel_max=65536'],
  ['amqp://b?frame_max=4095'],
  ['amqp://b?auth_mechanism=basic'],
  ['amqps://b?verify=no'],
  ['amqps://b?server_name_indication='],
  ['amqps://b?cacertfile=/nowhere/ca.pem'],
  ['amqp://b?verify=verify_none'],
  ['amqps://b?server_name_indication=c', { ssl: false }],
  [['amqp://b?heartbeat=5', 'amqp://c?heartbeat=6']],
  [[]],
  [['amqp://b', 'amqp://c'], { host: 'd' }],
  ['amqp://b', { servers: ['amqp://c'] }],
  [{ host: 'b', servers: ['amqp://c'] }],
  [{ servers: [{ port: 5 } as never] }],
  [{ servers: [{ host: 'b', part: 5 } as never] }],
  [{ servers: [{ host: 'b', port: 0 }] }],
  [{ host: '' }],
  [{ host: `amqp://u:${SECRET}@b` }],
  [undefined, {}],
  ...[
    { port: 0 },
    { port: 65_536 },
    { port: '5672' },
    { login: 5 },
    { password: 5 },
    { virtualhost: 'v'.repeat(256) },
    { ssl: 'yes' },
    { verifySsl: 'no' },
    { loginMethod: 'BASIC' },
    { loginMethod: { name: 'X' } },
    { channelMax: 65_536 },
    { channelMax: -1 },
    { frameMax: 4_095 },
    { heartbeat: 3_601 },
    { heartbeat: -1 },
    { heartbeat: 0.5 },
    { maxMessageSize: -1 },
    { clientProperties: [] },
    { clientProperties: { call: () => {} } },
    { connectionName: 5 },
    { connections: 'two' },
    { connectTimeout: 0 },
    { rpcTimeout: 0 },
    { rpcTimeout: '5' },
    { maxBuffered: 0 },
    { maxWaiting: -1 },
    { publishTimeout: -1 },
    { firstAttempts: 0 },
    { slowHandlerThreshold: 0 },
    { serverOrder: 'any' },
    { recovery: 5 },
    { recovery: { delay: 5 } },
    { recovery: { initialDelay: -1 } },
    { recovery: { maxDelay: -1 } },
    { recovery: { factor: 0.5 } },
    { recovery: { factor: 1_001 } },
    { recovery: { jitter: 1.1 } },
    { recovery: { jitter: -0.1 } },
    { recovery: { maxAttempts: 0 } },
    { recovery: { topology: 1 } },
    { recovery: { giveUpOn: 'never' } },
    { onError: 'log' },
    { logger: 5 },
    { logFormat: 'json' },
    { traceFrames: 5 },
    { signal: {} },
    { createTransport: {} },
    { timeout: 5 },
  ].map((options): Given => ['amqp://b', options as never]),
]

/** The most and the least that can be meant. */
const LIMITS: readonly Given[] = [
  { port: 1 },
  { port: 65_535, virtualhost: 'v'.repeat(255) },
  { channelMax: 65_535, frameMax: 4_096, heartbeat: 3_600 },
  { channelMax: 0, frameMax: 0, heartbeat: 0 },
  { maxMessageSize: 0, maxBuffered: 1, maxWaiting: 0, publishTimeout: 0 },
  { connectTimeout: 1, rpcTimeout: 1, slowHandlerThreshold: 1, firstAttempts: 1 },
  { connectTimeout: Number.POSITIVE_INFINITY, rpcTimeout: Number.POSITIVE_INFINITY },
  ...[
    { initialDelay: 0, maxDelay: 0, factor: 1, jitter: 0, maxAttempts: 1 },
    { factor: 1_000, jitter: 1, maxAttempts: Number.POSITIVE_INFINITY },
  ].map(recovery => ({ recovery })),
].map((options): Given => ['amqp://b', { connectTimeout: 1_000, ...options } as never])

/** AMQPLAIN has a table without its length. */
function ofTable(response: Buffer): string {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(response.length)
  const { LOGIN, PASSWORD } = decodeTable(Buffer.concat([length, response]))
  return `${LOGIN}/${PASSWORD}`
}

/** A server for one connection, which says what it learns of it. */
function server(outing: Outing, learned: string[]): TransportFactory {
  return async ({ host, port, tls }, handler) => {
    learned.push(`${host}:${port}`)
    if (tls !== undefined)
      learned.push(['TLS', tls.rejectUnauthorized, ...(tls.servername === undefined ? [] : [tls.servername])].join(' '))
    const reader = new FrameReader()
    const say = (bytes: Buffer): void => outing.clock.after(1, () => handler.onBytes(bytes, bytes.length)) as never
    const answer = (frame: Frame): void => {
      if (frame.type === 'protocol-header') {
        say(encodeMethod(0, ConnectionStart, { serverProperties: {}, mechanisms: 'AMQPLAIN PLAIN', locales: 'en_US' }))
      }
      if (frame.type !== 'method') return
      switch (frame.name) {
        case 'connection.start-ok': {
          const { mechanism, response } = frame.args
          learned.push(
            mechanism,
            mechanism === 'AMQPLAIN' ? ofTable(response) : response.toString().split('\0').join('/'),
          )
          say(encodeMethod(0, ConnectionTune, { channelMax: 2_047, frameMax: 131_072, heartbeat: 60 }))
          break
        }
        case 'connection.tune-ok': {
          const { channelMax, frameMax, heartbeat } = frame.args
          learned.push(`${channelMax} ${frameMax} ${heartbeat}`)
          break
        }
        case 'connection.open':
          learned.splice(-1, 0, frame.args.virtualHost)
          say(encodeMethod(0, ConnectionOpenOk, {}))
          break
        case 'channel.open':
          say(encodeMethod(frame.channel, ChannelOpenOk, {}))
          break
        case 'connection.close':
          say(encodeMethod(0, ConnectionCloseOk, {}))
      }
    }
    const end = (error?: Error): void => void outing.clock.after(1, () => handler.onClose(error))
    return {
      pending: 0,
      peer: { host, port, localPort: 1, encrypted: tls !== undefined },
      write: (segments, sent) => {
        for (const segment of segments) for (const frame of reader.push(segment)) answer(frame)
        if (sent !== undefined) outing.clock.after(1, sent)
        return true
      },
      pause: () => {},
      resume: () => {},
      end: () => end(),
      destroy: end,
    }
  }
}

/** What a URL and options say of a connection is what its server learns of it; what cannot be meant goes to no server, and shows no password. */
export const addresses: Errand = async outing => {
  let learned: string[] = []
  const begin = ([first, second]: Given): Promise<unknown> => {
    learned = []
    const own: ConnectOptions = { clock: outing.clock, createTransport: server(outing, learned), recovery: false }
    const hasOptions = typeof first === 'object' && !Array.isArray(first) && !(first instanceof URL)
    const args = hasOptions ? [{ ...own, ...first }] : [first, { ...own, ...second }]
    return Reflect.apply(connect, undefined, args)
  }
  // Each time the other half.
  const isTurn = (n: number): boolean => n % 2 === outing.number % 2
  for (const [given, leads] of GOOD.filter((_, n) => isTurn(n))) {
    const what = `connect(${JSON.stringify(given)})`
    try {
      const protocol = (await begin(given)) as Awaited<ReturnType<typeof connect>>
      await protocol.close()
      outing.equal(learned.join(' '), leads, `where ${what} leads`)
    } catch (error) {
      outing.expect(false, `${what} failed: ${error}`)
    }
  }
  for (const given of LIMITS) {
    const what = `connect(${JSON.stringify(given)})`
    const end = await begin(given).catch(thrown => thrown as Error)
    outing.expect(!(end instanceof Error && end.name === 'EncodeError'), `${what} failed: ${end}`)
    if (!(end instanceof Error)) await (end as Awaited<ReturnType<typeof connect>>).close().catch(() => {})
  }
  for (const given of BAD.filter((_, n) => isTurn(n))) {
    const what = `connect(${JSON.stringify(given)})`
    const error = await begin(given).catch(thrown => thrown as Error)
    const { name = 'success', message = '' } = error as Partial<Error>
    outing.expect(name === 'AmqpUriError' || name === 'EncodeError', `${what} ended with ${name} ${message}`)
    outing.equal(learned, [], `what a server learned of ${what}`)
    outing.expect(!message.includes(SECRET), `an error shows a password: ${message}`)
  }
}
