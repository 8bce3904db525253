import { LogWriter } from '../../diagnostics/logger.ts'
import { EncodeError } from '../../errors.ts'
import { inContext, unthrowing } from '../../lib/call-safely.ts'
import { type Clock, systemClock } from '../../lib/clock.ts'
import { inspectShort } from '../../protocol/inspect-short.ts'
import {
  badValue,
  booleanOption,
  checkOptions,
  choiceOption,
  durationOption,
  functionOption,
  integerOption,
  limitOption,
  signalOption,
  stringOption,
} from '../../protocol/option-check.ts'
import { copyTable } from '../../protocol/table-copy.ts'
import type { FieldTable } from '../../protocol/values.ts'
import type { TransportFactory } from '../wire/transport.ts'
import { defaultConnectionName, mergedClientProperties } from './client-properties.ts'
import type { ConnectOptions, ConnectUrl, RecoveryOptions, ServerOrder } from './options.ts'
import { isUrl, resolveServers, type ServerSettings } from './server-settings.ts'
import { FRAME_MIN_SIZE, LONGEST_HEARTBEAT } from './uri.ts'

/** All options of `connect()`, checked and with their defaults. */
export interface Settings {
  /** At least one. */
  readonly servers: readonly ServerSettings[]
  readonly serverOrder: ServerOrder
  /** 0: the server's. */
  readonly channelMax: number
  /** 0: the server's. */
  readonly frameMax: number
  /** Seconds; 0: the program wants none. */
  readonly heartbeat: number
  readonly maxMessageSize: number
  /** Complete: with product, version, platform, name and capabilities. */
  readonly clientProperties: Readonly<Record<string, unknown>>
  readonly connectionName: string
  /** Publishes have a connection of their own. */
  readonly separate: boolean
  /** Which connection of the process it is, counted from 1: tools distinguish connections by it. */
  readonly connectionId: number
  /** Milliseconds, or `Infinity`; so are all times. */
  readonly connectTimeout: number
  readonly rpcTimeout: number
  readonly maxBuffered: number
  /** `Infinity`: no limit. */
  readonly maxWaiting: number
  /** Undefined: no limit. */
  readonly publishTimeout: number | undefined
  /** Attempts for the first connection; undefined if the program says nothing of it. */
  readonly firstAttempts: number | undefined
  readonly slowHandlerThreshold: number
  readonly recovery: RecoverySettings | undefined
  readonly onError: ((error: Error) => void) | undefined
  readonly logger: LogWriter | undefined
  /** Gets a line for each frame. */
  readonly frameLog: LogWriter | undefined
  readonly signal: AbortSignal | undefined
  /** Undefined: TCP or TLS. */
  readonly createTransport: TransportFactory | undefined
  readonly clock: Clock
}

export interface RecoverySettings {
  readonly initialDelay: number
  readonly maxDelay: number
  readonly factor: number
  /** The share of a pause that is random: 1 is "full jitter". */
  readonly jitter: number
  readonly maxAttempts: number
  readonly topology: boolean
  readonly giveUpOn: (error: Error) => boolean | PromiseLike<boolean>
}

/** How a lost connection is recovered if the program says nothing of it. */
export const DEFAULT_RECOVERY: RecoverySettings = {
  initialDelay: 0,
  maxDelay: 30_000,
  factor: 2,
  jitter: 1,
  maxAttempts: Number.POSITIVE_INFINITY,
  topology: true,
  giveUpOn: () => false,
}

// Complete by its type: an option of ConnectOptions that is missing here does not compile.
const KNOWN = Object.keys({
  host: 0,
  port: 0,
  servers: 0,
  serverOrder: 0,
  login: 0,
  password: 0,
  virtualhost: 0,
  ssl: 0,
  verifySsl: 0,
  loginMethod: 0,
  channelMax: 0,
  frameMax: 0,
  heartbeat: 0,
  maxMessageSize: 0,
  clientProperties: 0,
  connectionName: 0,
  connections: 0,
  connectTimeout: 0,
  rpcTimeout: 0,
  maxBuffered: 0,
  maxWaiting: 0,
  publishTimeout: 0,
  firstAttempts: 0,
  slowHandlerThreshold: 0,
  recovery: 0,
  onError: 0,
  logger: 0,
  logFormat: 0,
  traceFrames: 0,
  signal: 0,
  createTransport: 0,
} satisfies Record<Exclude<keyof ConnectOptions, 'clock'>, 0>)
/** Only for tests. */
const INTERNAL = ['clock']

const KNOWN_OF_RECOVERY = Object.keys({
  initialDelay: 0,
  maxDelay: 0,
  factor: 0,
  jitter: 0,
  maxAttempts: 0,
  topology: 0,
  giveUpOn: 0,
} satisfies Record<keyof RecoveryOptions, 0>)

const NO_URL = 'connect: the URL is undefined; is an environment variable missing?'

/** Made in this process so far. */
let connections = 0

/**
 * The settings of `connect(url, options)` and `connect(options)`.
 *
 * @throws EncodeError for an unknown or bad option, AmqpUriError for a bad URL.
 */
export function resolveSettings(...args: [first?: ConnectUrl | ConnectOptions, second?: ConnectOptions]): Settings {
  const [first, second] = args
  const hasUrl = first === undefined || isUrl(first) || Array.isArray(first)
  const url = hasUrl ? (first as ConnectUrl | undefined) : undefined
  if (!hasUrl && second !== undefined) {
    throw new EncodeError(`connect: the URL must be a string, a URL or a list of these, not ${inspectShort(first)}`)
  }
  const given = hasUrl ? second : (first as ConnectOptions)
  checkOptions('connect', given, KNOWN, INTERNAL)
  const options = given ?? {}
  if (args.length > 0 && first === undefined && options.host === undefined && options.servers === undefined) {
    throw new EncodeError(NO_URL)
  }

  const { servers, fromUris } = resolveServers(url, options)
  const ownProperties = clientPropertiesOption(options.clientProperties)
  const { connection_name: ownName } = ownProperties ?? {}
  const connectionName =
    stringOption('connect', 'connectionName', options.connectionName) ??
    (typeof ownName === 'string' ? ownName : defaultConnectionName())
  const format = choiceOption('connect', 'logFormat', options.logFormat, ['text', 'structured'])
  const logger = options.logger === undefined ? undefined : new LogWriter(options.logger, format, connectionName)
  return {
    servers,
    serverOrder:
      choiceOption('connect', 'serverOrder', options.serverOrder, ['ordered', 'random', 'race']) ?? 'ordered',
    channelMax: integerOption('connect', 'channelMax', options.channelMax, 0, 65_535) ?? fromUris.channelMax ?? 0,
    frameMax: frameMaxOption(options.frameMax) ?? fromUris.frameMax ?? 0,
    heartbeat: heartbeatOption(options.heartbeat) ?? fromUris.heartbeat ?? 10,
    maxMessageSize: limitOption('connect', 'maxMessageSize', options.maxMessageSize) ?? 128 * 1024 * 1024,
    clientProperties: mergedClientProperties(ownProperties, connectionName),
    connectionName,
    separate: choiceOption('connect', 'connections', options.connections, ['shared', 'separate']) === 'separate',
    connectionId: ++connections,
    connectTimeout:
      durationOption('connect', 'connectTimeout', options.connectTimeout, 1) ?? fromUris.connectionTimeout ?? 10_000,
    rpcTimeout: durationOption('connect', 'rpcTimeout', options.rpcTimeout, 1) ?? 20_000,
    maxBuffered: limitOption('connect', 'maxBuffered', options.maxBuffered, 1) ?? 16 * 1024 * 1024,
    maxWaiting: limitOption('connect', 'maxWaiting', options.maxWaiting) ?? Number.POSITIVE_INFINITY,
    publishTimeout: durationOption('connect', 'publishTimeout', options.publishTimeout),
    firstAttempts: limitOption('connect', 'firstAttempts', options.firstAttempts, 1),
    slowHandlerThreshold: durationOption('connect', 'slowHandlerThreshold', options.slowHandlerThreshold, 1) ?? 30_000,
    recovery: recoverySettings(options.recovery),
    onError: onErrorOption(options.onError),
    logger,
    frameLog: frameLogOption(options.traceFrames, logger),
    signal: signalOption('connect', 'signal', options.signal),
    createTransport: functionOption('connect', 'createTransport', options.createTransport),
    clock: options.clock ?? systemClock,
  }
}

/** Those of the connection for publishes, which tools see under another number and name. */
export function publisherSettings(settings: Settings): Settings {
  const connectionName = `${settings.connectionName}.publisher`
  return {
    ...settings,
    connectionName,
    connectionId: ++connections,
    clientProperties: { ...settings.clientProperties, connection_name: connectionName },
    logger: settings.logger?.named(connectionName),
  }
}

function heartbeatOption(value: number | undefined): number | undefined {
  if (typeof value === 'number' && value > LONGEST_HEARTBEAT) {
    throw new EncodeError(
      `connect: "heartbeat" is in seconds and at most ${LONGEST_HEARTBEAT}, not ${value}; was it meant in milliseconds?`,
    )
  }
  return integerOption('connect', 'heartbeat', value, 0, LONGEST_HEARTBEAT)
}

function frameMaxOption(value: number | undefined): number | undefined {
  return value === 0 ? 0 : integerOption('connect', 'frameMax', value, FRAME_MIN_SIZE, 0xff_ff_ff_ff)
}

/** A copy: values that a table cannot hold are refused here, and not at each login. */
function clientPropertiesOption(value: ConnectOptions['clientProperties']): FieldTable | undefined {
  if (value === undefined || (typeof value === 'object' && value !== null && !Array.isArray(value))) {
    return copyTable(value as FieldTable | undefined, 'connect: clientProperties')
  }
  throw badValue('connect', 'clientProperties', 'an object', value)
}

function onErrorOption(value: ConnectOptions['onError']): ConnectOptions['onError'] {
  const onError = functionOption('connect', 'onError', value)
  return onError === undefined ? undefined : inContext(unthrowing(onError))
}

function frameLogOption(value: ConnectOptions['traceFrames'], logger: LogWriter | undefined): LogWriter | undefined {
  if (typeof value === 'function') return new LogWriter({ debug: inContext(value) }, 'text', '')
  if (value !== undefined && typeof value !== 'boolean') {
    throw badValue('connect', 'traceFrames', 'true, false or a function', value)
  }
  return value === true ? logger : undefined
}

function recoverySettings(recovery: boolean | RecoveryOptions | undefined): RecoverySettings | undefined {
  if (recovery === false) return undefined
  if (recovery === undefined || recovery === true) return DEFAULT_RECOVERY
  if (typeof recovery !== 'object' || recovery === null) {
    throw badValue('connect', 'recovery', 'true, false or an object', recovery)
  }
  const options: RecoveryOptions = recovery
  checkOptions('connect, "recovery"', options, KNOWN_OF_RECOVERY)
  const { initialDelay, maxDelay, factor, jitter, maxAttempts, topology, giveUpOn } = DEFAULT_RECOVERY
  return {
    initialDelay: durationOption('connect', 'recovery.initialDelay', options.initialDelay) ?? initialDelay,
    maxDelay: durationOption('connect', 'recovery.maxDelay', options.maxDelay) ?? maxDelay,
    factor: numberFrom('recovery.factor', options.factor, 1, 1000) ?? factor,
    jitter: options.jitter === 'full' ? 1 : (numberFrom('recovery.jitter', options.jitter, 0, 1) ?? jitter),
    maxAttempts: limitOption('connect', 'recovery.maxAttempts', options.maxAttempts, 1) ?? maxAttempts,
    topology: booleanOption('connect', 'recovery.topology', options.topology) ?? topology,
    giveUpOn: inContext(functionOption('connect', 'recovery.giveUpOn', options.giveUpOn) ?? giveUpOn),
  }
}

function numberFrom(name: string, value: unknown, least: number, most: number): number | undefined {
  if (value === undefined || (typeof value === 'number' && value >= least && value <= most)) return value
  const full = name === 'recovery.jitter' ? '"full" or ' : ''
  throw badValue('connect', name, `${full}a number from ${least} to ${most}`, value)
}
