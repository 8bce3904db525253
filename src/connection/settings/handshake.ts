import { describeReply, refusesVirtualHost, startOkHint } from '../../channel/rabbitmq.ts'
import {
  AuthenticationError,
  ConnectionClosedError,
  ConnectionLostError,
  EncodeError,
  ProtocolError,
} from '../../errors.ts'
import { atNoCall } from '../../lib/call-site.ts'
import { isBytes } from '../../protocol/bytes.ts'
import { FRAME_MIN_SIZE } from '../../protocol/constants.ts'
import {
  type AnyMethod,
  type ArgumentsOf,
  ConnectionClose,
  ConnectionCloseOk,
  ConnectionOpen,
  ConnectionOpenOk,
  ConnectionSecure,
  ConnectionSecureOk,
  ConnectionStart,
  ConnectionStartOk,
  ConnectionTune,
  ConnectionTuneOk,
  type DecodedOf,
} from '../../protocol/methods.ts'
import type { FieldTable } from '../../protocol/values.ts'
import { chooseMechanism, SASL_NAMES, type SaslResponse } from './auth.ts'
import type { ServerSettings } from './server-settings.ts'
import type { Settings } from './settings.ts'

/** What both sides agreed on, and what the server said of itself. */
export interface Negotiated {
  readonly serverProperties: FieldTable
  /** Names of SASL mechanisms, as the server lists them. */
  readonly serverMechanisms: string
  /** Highest channel number. */
  readonly channelMax: number
  /** Bytes of a whole frame at most. */
  readonly frameMax: number
  /** Seconds; 0 for none. */
  readonly heartbeat: number
}

interface Answer {
  readonly method: AnyMethod
  readonly args: Record<string, unknown>
}

/** Methods of channel 0, as they come and go. */
export interface HandshakePort {
  receive(): Promise<Answer>
  /** Returns the bytes of the frame. */
  send<M extends AnyMethod>(method: M, args: ArgumentsOf<M>): number
  /** The answer of code of the program, unless the connection ends before. `step` names the awaited step. */
  ask<T>(step: string, question: () => T | PromiseLike<T>): Promise<T>
  /** What is being waited for, for the message of a timeout. */
  waitingFor(step: string): void
  /** The sizes agreed on hold from here on. */
  tuned(negotiated: Negotiated): void
}

const NO_LIMIT_FRAME = 0xffff_ffff
const NO_LIMIT_CHANNEL = 65_535

/**
 * Open a connection whose protocol header was sent (§2.2.4):
 *
 *     start ──▶ [ secure ──▶ ]… tune ──▶ open ──▶ done
 */
export async function shakeHands(port: HandshakePort, settings: Settings, server: ServerSettings): Promise<Negotiated> {
  const start = argumentsOf(ConnectionStart, await next(port, 'connection.start'), port, server)
  const { versionMajor, versionMinor } = start
  if (versionMajor !== 0 || versionMinor !== 9) {
    throw new ProtocolError(`the server speaks AMQP ${versionMajor}-${versionMinor}, not 0-9-1`)
  }
  const mechanism = chooseMechanism(server, start.mechanisms)
  const step = SASL_NAMES.some(name => name === mechanism.name) ? 'password' : `SASL ${mechanism.name}`
  const size = port.send(ConnectionStartOk, {
    clientProperties: settings.clientProperties as FieldTable,
    mechanism: mechanism.name,
    response: bytes(await port.ask(step, () => mechanism.response())),
    locale: 'en_US',
  })

  let answer: Answer
  try {
    answer = await next(port, 'connection.tune')
  } catch (error) {
    throw explained(error, startOkHint(size, start.serverProperties))
  }
  while (answer.method === ConnectionSecure) {
    const { challenge } = answer.args as DecodedOf<typeof ConnectionSecure>
    const response = await port.ask(step, () => mechanism.response(Buffer.from(challenge)))
    port.send(ConnectionSecureOk, { response: bytes(response) })
    answer = await next(port, 'connection.tune')
  }
  const tune = argumentsOf(ConnectionTune, answer, port, server)
  const negotiated: Negotiated = {
    serverProperties: start.serverProperties,
    serverMechanisms: start.mechanisms,
    channelMax: lower(settings.channelMax, tune.channelMax) || NO_LIMIT_CHANNEL,
    frameMax: lower(settings.frameMax, tune.frameMax) || NO_LIMIT_FRAME,
    heartbeat: settings.heartbeat === 0 ? 0 : lower(settings.heartbeat, tune.heartbeat),
  }
  if (negotiated.frameMax < FRAME_MIN_SIZE) {
    throw new ProtocolError(
      `the server wants frames of ${negotiated.frameMax} bytes, below the ${FRAME_MIN_SIZE} that every peer must take`,
    )
  }
  port.send(ConnectionTuneOk, {
    channelMax: negotiated.channelMax,
    frameMax: lower(settings.frameMax, tune.frameMax),
    heartbeat: negotiated.heartbeat,
  })
  port.tuned(negotiated)
  port.send(ConnectionOpen, { virtualHost: server.virtualhost })
  argumentsOf(ConnectionOpenOk, await next(port, 'connection.open-ok'), port, server)
  return negotiated
}

/** The lower of both limits; 0 is none. */
function lower(ours: number, theirs: number): number {
  if (ours === 0) return theirs
  return theirs === 0 ? ours : Math.min(ours, theirs)
}

function bytes(response: SaslResponse): Uint8Array {
  if (typeof response === 'string') return Buffer.from(response)
  if (isBytes(response)) return response
  throw new EncodeError('the response of a SASL mechanism must be a string or a Uint8Array')
}

/** The loss of the connection, with what may have made the server drop it. */
function explained(error: unknown, hint: string): unknown {
  if (hint === '' || !(error instanceof ConnectionLostError)) return error
  return new ConnectionLostError(`${error.message}${hint}`, { reason: error.reason, cause: error })
}

function next(port: HandshakePort, step: string): Promise<Answer> {
  port.waitingFor(step)
  return port.receive()
}

/**
 * What an answer says, if it is the method that is due.
 *
 * @throws the reason of the server if it closes the connection instead, which is answered.
 */
function argumentsOf<M extends AnyMethod>(
  due: M,
  { method, args }: Answer,
  port: HandshakePort,
  server: ServerSettings,
): DecodedOf<M> {
  if (method === due) return args as DecodedOf<M>
  if (method !== ConnectionClose) throw new ProtocolError(`${method.name} came where ${due.name} was due`)
  port.send(ConnectionCloseOk, {})
  throw refusal(args as DecodedOf<typeof ConnectionClose>, server, due === (ConnectionOpenOk as AnyMethod))
}

/** The server closed the connection during the handshake; `opening` the virtual host, or at the login before. */
function refusal(close: DecodedOf<typeof ConnectionClose>, server: ServerSettings, opening: boolean): Error {
  return atNoCall(reasonOf(close, server, opening))
}

function reasonOf(close: DecodedOf<typeof ConnectionClose>, server: ServerSettings, opening: boolean): Error {
  const { replyCode, replyText, classId, methodId } = close
  const { login, virtualhost, loginMethods } = server
  const reason = describeReply(replyCode, replyText)
  const details = { replyCode, replyText }
  // Other mechanisms send no name.
  const hasName = loginMethods.some(method => method === 'PLAIN' || method === 'AMQPLAIN')
  if (opening && refusesVirtualHost(replyCode)) {
    const hint =
      virtualhost === '' ? " (the URL ends in '/', which names the empty vhost; leave the slash out for '/')" : ''
    return new AuthenticationError(
      `the server refused the virtual host "${virtualhost}"${hasName ? ` to user "${login}"` : ''}: ${reason}${hint}`,
      details,
    )
  }
  if (replyCode === 403) {
    const by = hasName ? ` of user "${login}"` : ''
    return new AuthenticationError(
      `the server refused the login${by} (virtual host "${virtualhost}"): ${reason}`,
      details,
    )
  }
  return new ConnectionClosedError(`the server closed the connection during the handshake: ${reason}`, {
    ...details,
    classId,
    methodId,
  })
}
