import { once } from 'node:events'
import net from 'node:net'
import { FrameType, PROTOCOL_HEADER } from '../../src/protocol/constants.ts'
import { FrameParser, type FrameSink } from '../../src/protocol/frame-parser.ts'
import { decodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { type Bytes, frame, methodBytes } from './bad-bytes.ts'
import { Random } from './random.ts'

/** RabbitMQ keeps clients waiting that it refuses without a word. */
const LONGEST_WAIT = 6_000
/** Milliseconds without an answer after which nothing more comes from a server that has not closed; and after an answer. */
const QUIET = 400
const QUIET_AFTER_ANSWER = 40

const HEADERS: readonly Bytes[] = [
  { text: 'another version', bytes: Buffer.from('AMQP\0\0\x08\0', 'latin1') },
  { text: 'AMQP 1.1 with the id of 0-9-1', bytes: Buffer.from('AMQP\x01\x01\x00\x0a', 'latin1') },
  { text: 'text', bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n') },
]
const CAPABILITIES: readonly FieldTable[] = [
  {},
  {},
  { authentication_failure_close: true },
  { authentication_failure_close: true },
  { a: 'x'.repeat(4000) },
  { a: 'x'.repeat(8200) },
]
const LOGINS = [
  ['PLAIN', '\0guest\0guest'],
  ['PLAIN', '\0guest\0wrong'],
  ['PLAIN', '\0nobody\0guest'],
  ['PLAIN', 'guest'],
  ['PLAIN', 'other\0guest\0guest'],
  ['PLAIN', '\0guest\0guest\0more'],
  ['AMQPLAIN', '\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest'],
  ['AMQPLAIN', '\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05wrong'],
  ['AMQPLAIN', 'no table'],
  ['ODD', ''],
] as const
const TUNINGS = [
  { channelMax: 2047, frameMax: 131_072, heartbeat: 0 },
  { channelMax: 1, frameMax: 8192, heartbeat: 0 },
  { channelMax: 0, frameMax: 131_072, heartbeat: 0 },
  { channelMax: 3000, frameMax: 131_072, heartbeat: 0 },
  { channelMax: 10, frameMax: 0, heartbeat: 0 },
  { channelMax: 10, frameMax: 131_073, heartbeat: 0 },
  { channelMax: 10, frameMax: 100, heartbeat: 0 },
] as const

const header: Bytes = { text: 'header', bytes: Buffer.from(PROTOCOL_HEADER) }

/** An open connection, and a channel. */
export const RIGHT: readonly Bytes[] = [
  header,
  {
    text: 'start-ok',
    bytes: methodBytes(0, methods.ConnectionStartOk, {
      clientProperties: {},
      mechanism: 'PLAIN',
      response: Buffer.from('\0guest\0guest'),
    }),
  },
  { text: 'tune-ok', bytes: methodBytes(0, methods.ConnectionTuneOk, TUNINGS[0]) },
  { text: 'open', bytes: methodBytes(0, methods.ConnectionOpen, {}) },
  { text: 'channel.open', bytes: methodBytes(1, methods.ChannelOpen, {}) },
]

/** The bytes of a client from the first one on; a seed decides where they go wrong, if they do. */
export function handshake(seed: number): readonly Bytes[] {
  const random = new Random(seed)
  const wrong = (probability: number) => random.chance(probability)
  const start = (): Bytes => {
    const [mechanism, response] = wrong(0.4) ? random.pick(LOGINS) : LOGINS[0]
    const capabilities = random.pick(CAPABILITIES)
    const clientProperties = { capabilities }
    return {
      text: `start-ok ${mechanism} ${JSON.stringify(response)} ${JSON.stringify(capabilities).slice(0, 60)}`,
      bytes: methodBytes(0, methods.ConnectionStartOk, {
        clientProperties,
        mechanism,
        response: Buffer.from(response),
      }),
    }
  }
  const tune = (): Bytes => {
    const args = wrong(0.4) ? random.pick(TUNINGS) : TUNINGS[0]
    return { text: `tune-ok ${JSON.stringify(args)}`, bytes: methodBytes(0, methods.ConnectionTuneOk, args) }
  }
  const open = (): Bytes => {
    const virtualHost = wrong(0.3) ? random.pick(['nowhere', '', 'a/b']) : '/'
    return { text: `open '${virtualHost}'`, bytes: methodBytes(0, methods.ConnectionOpen, { virtualHost }) }
  }
  const close = (): Bytes => ({
    text: 'close',
    bytes: methodBytes(0, methods.ConnectionClose, { replyCode: 200, classId: 0, methodId: 0 }),
  })
  const cut = (): Bytes => ({
    text: 'open that is cut',
    bytes: random.pick([
      frame(FrameType.METHOD, 0, Buffer.from([0, 10, 0, 40, 5])),
      frame(FrameType.METHOD, 0, Buffer.from([0, 10, 0, 40, 2, 255, 254, 0, 0])),
    ]),
  })
  const channel = (): Bytes => ({
    text: 'channel.open',
    bytes: methodBytes(random.pick([1, 2, 5]), methods.ChannelOpen, {}),
  })
  const right: readonly (() => Bytes)[] = [
    () => (wrong(0.05) ? random.pick(HEADERS) : header),
    start,
    tune,
    open,
    channel,
    channel,
    close,
  ]
  return right.map(make => (wrong(0.05) ? random.pick([start, tune, open, close, cut, channel])() : make()))
}

/** What a server sends, as lines. */
class Listening implements FrameSink {
  readonly lines: string[] = []

  methodFrame(channel: number, buffer: Buffer, start: number, end: number): number {
    const { method, args } = decodeMethod(buffer, start, end)
    // Which mechanisms there are is a matter of configuration.
    const { serverProperties: _, mechanisms: __, ...shown } = args
    this.lines.push(`${channel} ${method.name} ${JSON.stringify(shown)}`)
    return end + 1
  }
  headerFrame(): void {}
  bodyFrame(): void {}
  heartbeatFrame(): void {}
}

/** What came back after each of the client's steps, until the server has closed. `patience` multiplies how long it may be quiet. */
export async function shakeHands(url: string, steps: readonly Bytes[], patience: number): Promise<readonly string[]> {
  const { hostname, port } = new URL(url)
  const socket = net.connect({ host: hostname, port: Number(port), noDelay: true })
  socket.on('error', () => {})
  await once(socket, 'connect')
  const listening = new Listening()
  const parser = new FrameParser(listening, 131_072)
  let closed = false
  let arrived = 0
  socket.on('close', () => {
    closed = true
  })
  socket.on('data', bytes => {
    arrived++
    if (bytes.subarray(0, 4).toString() === 'AMQP') listening.lines.push(`a header: ${bytes.toString('hex')}`)
    else parser.push(bytes, bytes.length)
  })
  for (const { text, bytes } of steps) {
    if (closed) break
    listening.lines.push(`> ${text}`)
    const before = arrived
    socket.write(bytes)
    const end = Date.now() + LONGEST_WAIT
    const isClose = () => listening.lines.some(line => line.startsWith('0 connection.close'))
    // If all is well, only tune-ok gets no answer.
    const isAnswered = () => arrived > before || text.startsWith('tune-ok')
    let quiet = 0
    while (!closed && Date.now() < end && (!isAnswered() || quiet < QUIET * patience)) {
      const seen = arrived
      await new Promise(resolve => setTimeout(resolve, 20))
      quiet = seen === arrived ? quiet + 20 : 0
      if (isAnswered() && !isClose() && quiet >= QUIET_AFTER_ANSWER * patience && !text.startsWith('tune-ok')) break
    }
    if (isClose()) break
  }
  if (closed) listening.lines.push('closed')
  socket.destroy()
  return listening.lines
}
