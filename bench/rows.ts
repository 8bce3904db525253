import type { ClientName } from './clients/client.ts'

export type Work =
  | 'publish'
  | 'burst'
  | 'confirm'
  | 'consume'
  | 'call'
  | 'keep'
  | 'lateness'
  | 'declare'
  | 'channel'
  | 'connect'
  | 'first confirm'
  | 'short program'
  | 'connections'
  | 'turns'
  | 'held'
  | 'load'
  | 'in memory'

export type Section = 'messages' | 'growth' | 'memory' | 'promises' | 'broker'

/** One line of the table: what is done, against which other end, and the goal that it is held to. */
export interface Row {
  readonly name: string
  readonly section: Section
  readonly work: Work
  readonly bodySize: number
  readonly properties: boolean
  /** Consumers read all properties and headers. */
  readonly read: boolean
  readonly ack: boolean
  /** Unconfirmed publishes, or unacknowledged deliveries. */
  readonly window: number
  /** How the synthetic peer confirms. */
  readonly confirm: 'single' | 'multiple'
  /** The synthetic peer confirms nothing before `window` messages are unconfirmed. */
  readonly holdConfirms: boolean
  readonly frameMax: number
  readonly channels: number
  readonly consumers: number
  readonly connections: number
  /** Bodies are JSON, and parsed. */
  readonly json: boolean
  /** Over TLS, if the broker has it. */
  readonly tls: boolean
  /** How many things a row holds, or does at once. */
  readonly size: number
  /** What is held, loaded or done. */
  readonly of: string
  /** Runs in `--quick`. */
  readonly quick: boolean
  readonly clients: readonly ClientName[]
  /** CPU in multiples of the floor. */
  readonly goalFloors?: number
  /** CPU in multiples of the prototype's. */
  readonly goalOfPrototype?: number
  /** CPU as a share of the best peer's. */
  readonly goalOfBest?: number
  /** CPU of the intent level in multiples of the channel level's. */
  readonly goalOfIntent?: number
}

export const CLIENTS: readonly ClientName[] = ['asyncamqp', 'amqplib', '@cloudamqp/amqp-client', 'rabbitmq-client']
const EVERYBODY: readonly ClientName[] = ['floor', ...CLIENTS]
const WITH_PROTOTYPE: readonly ClientName[] = ['floor', 'prototype', ...CLIENTS]
const WITH_INTENT: readonly ClientName[] = ['floor', 'prototype', 'asyncamqp', 'intent level', ...CLIENTS.slice(1)]
const FLOOR_AND_OURS: readonly ClientName[] = ['floor', 'asyncamqp']
const OURS: readonly ClientName[] = ['asyncamqp']
const KIB = 1024
const MIB = 1024 * KIB

const defaults: Omit<Row, 'name' | 'section' | 'work'> = {
  bodySize: 16,
  properties: false,
  read: false,
  ack: false,
  window: 1000,
  confirm: 'single',
  holdConfirms: false,
  frameMax: 131_072,
  channels: 1,
  consumers: 1,
  connections: 1,
  json: false,
  tls: false,
  size: 0,
  of: '',
  quick: false,
  clients: EVERYBODY,
}

type Change = Partial<Row> & { readonly work: Work }

const messages = (name: string, change: Change): Row => ({ ...defaults, name, section: 'messages', ...change })
const growth = (name: string, change: Change): Row => ({
  ...defaults,
  clients: FLOOR_AND_OURS,
  name,
  section: 'growth',
  ...change,
})
const memory = (name: string, change: Change): Row => ({
  ...defaults,
  clients: CLIENTS,
  name,
  section: 'memory',
  ...change,
})
const promises = (name: string, change: Change): Row => ({
  ...defaults,
  clients: CLIENTS,
  name,
  section: 'promises',
  ...change,
})
const broker = (name: string, change: Change): Row => ({
  ...defaults,
  clients: CLIENTS,
  name,
  section: 'broker',
  ...change,
})

const full = { properties: true }
const quick = { quick: true }
const intent = { clients: WITH_INTENT, goalOfIntent: 1.3 }
const prototype = (goalOfPrototype: number): Partial<Row> => ({ clients: WITH_PROTOTYPE, goalOfPrototype })
const held = (size: number, of: string, change: Partial<Row> = {}): Row =>
  memory(`${size.toLocaleString('en-US')} ${of}`, { work: 'held', size, of, ...change })
/** The prototype shows what the promises alone cost V8, which copies those that survive a collection. */
const unconfirmed = (window: number): Row =>
  growth(`${window.toLocaleString('en-US')} unconfirmed`, {
    work: 'confirm',
    window,
    holdConfirms: true,
    clients: ['floor', 'prototype', 'asyncamqp'],
  })
/** In two sizes: each operation should cost as much in both. */
const inMemory = (what: string, of: string, sizes: readonly number[]): Row[] =>
  sizes.map(size => growth(`${size.toLocaleString('en-US')} ${what}`, { work: 'in memory', clients: OURS, size, of }))

export const ROWS: readonly Row[] = [
  messages('publish 16 B', { work: 'publish', ...quick, ...prototype(1.4), goalOfBest: 1 / 20 }),
  messages('publish 16 B, properties', { work: 'publish', ...full, ...quick, goalFloors: 10, goalOfBest: 1 / 9 }),
  messages('publish 1 KiB', { work: 'publish', bodySize: KIB, ...quick, goalFloors: 1.7, goalOfBest: 1 / 11 }),
  messages('publish 64 KiB', { work: 'publish', bodySize: 64 * KIB, ...prototype(1.15), goalOfBest: 1 / 1.2 }),
  messages('confirm 16 B', { work: 'confirm', ...quick, ...prototype(1.4), ...intent, goalOfBest: 1 / 12 }),
  messages('confirm 1 KiB, properties', { work: 'confirm', bodySize: KIB, ...full, goalFloors: 5, goalOfBest: 1 / 7 }),
  messages('consume and ack 16 B', {
    work: 'consume',
    ack: true,
    ...quick,
    ...prototype(1.3),
    ...intent,
    goalOfBest: 1 / 15,
  }),
  messages('consume 16 B', { work: 'consume', ...quick, ...prototype(1.3), goalOfBest: 1 / 6 }),
  messages('consume 16 B, properties, none read', { work: 'consume', ...full, goalFloors: 8, goalOfBest: 1 / 6 }),
  messages('consume 16 B, properties, all read', {
    work: 'consume',
    ...full,
    read: true,
    ...quick,
    goalFloors: 18,
    goalOfBest: 1 / 3,
  }),
  messages('consume 1 KiB', { work: 'consume', bodySize: KIB }),
  messages('consume 1 KiB, JSON.parse', { work: 'consume', bodySize: KIB, json: true }),
  messages('consume 64 KiB', { work: 'consume', bodySize: 64 * KIB, ...prototype(1.15), goalOfBest: 1 / 2.2 }),
  messages('consume 64 KiB in 8 KiB frames', {
    work: 'consume',
    bodySize: 64 * KIB,
    frameMax: 8 * KIB,
    goalFloors: 1.4,
    goalOfBest: 1 / 2.2,
  }),
  messages('RPC round trip', {
    work: 'call',
    ...quick,
    ...intent,
    clients: WITH_INTENT.filter(name => name !== 'prototype'),
    goalFloors: 1.25,
    goalOfBest: 1 / 1.1,
  }),
  messages('one publish for each HTTP request', { work: 'turns', ...quick }),

  growth('publish over 2,000 channels', { work: 'publish', channels: 2000, clients: EVERYBODY }),
  growth('consume with 1,000 consumers', { work: 'consume', consumers: 1000 }),
  growth('consume with 10,000 consumers', { work: 'consume', consumers: 10_000, clients: EVERYBODY }),
  growth('confirm over 100 connections', { work: 'connections', connections: 100, clients: CLIENTS }),
  ...[1, 100, 10_000, 100_000].map(unconfirmed),
  growth('consume 1 MiB in 4 KiB frames', { work: 'consume', bodySize: MIB, frameMax: 4 * KIB }),
  ...inMemory('confirms behind a stuck one', 'stuck', [1_000, 100_000]),
  ...inMemory('publishes that wait for connection.unblocked', 'waiting', [1_000, 100_000]),
  ...inMemory('calls under one signal, aborted', 'signals', [1_000, 100_000]),
  ...inMemory('queues with new names after a recovery', 'renames', [1_000, 10_000]),

  held(100, 'idle connections'),
  held(2_000, 'channels'),
  held(10_000, 'consumers', { consumers: 10_000 }),
  held(10_000, 'pending publishes'),
  held(10_000, 'held messages'),
  memory('import', { work: 'load', of: 'import' }),
  memory('require', { work: 'load', of: 'require' }),

  promises('timer beside awaited publishes', { work: 'lateness', ...quick }),
  promises('200,000 kept bodies of 10 B', { work: 'keep', bodySize: 10 }),
  promises('burst of 100,000 unawaited publishes', { work: 'burst' }),

  broker('confirm 16 B', { work: 'confirm', ...quick, goalOfBest: 0.6 }),
  broker('confirm 16 B over TLS', { work: 'confirm', tls: true }),
  broker('consume and ack 16 B', { work: 'consume', ack: true, ...quick, goalOfBest: 0.55 }),
  broker('consume 1 KiB', { work: 'consume', bodySize: KIB, goalOfBest: 0.75 }),
  broker('consume 1 KiB over TLS', { work: 'consume', bodySize: KIB, tls: true }),
  broker('RPC round trip', { work: 'call', ...quick, clients: ['floor', ...CLIENTS], goalOfBest: 0.85 }),
  broker('500 queue declares', { work: 'declare', clients: ['floor', ...CLIENTS] }),
  broker('open and close a channel', { work: 'channel', ...quick, clients: ['floor', ...CLIENTS] }),
  broker('connect and open a channel', { work: 'connect', ...quick, clients: ['floor', ...CLIENTS] }),
  broker('connect to the first confirm', { work: 'first confirm' }),
  broker('a short program', {
    work: 'short program',
    ack: true,
    window: 1,
  }),
]

/** The same row name stands in two sections: this names one row. */
export const fullName = (row: Row): string => (row.section === 'broker' ? `RabbitMQ: ${row.name}` : row.name)
