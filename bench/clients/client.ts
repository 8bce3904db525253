import type { Tally } from '../tally.ts'

/** What is published. */
export interface Outgoing {
  /** Of a confirmer's messages it may change between two runs. */
  readonly routingKey: string
  readonly body: Buffer
  /** With 5 properties and 5 headers, in a fresh object for each message. */
  readonly withProperties: boolean
  /** Messages go round these many channels of the one connection. */
  readonly channels: number
}

/** What is consumed. */
export interface Incoming {
  readonly queueName: string
  readonly ack: boolean
  /** Whole messages are kept, and not their bodies alone. */
  readonly keep: boolean
  readonly prefetch: number
  /** All 10 values of properties and headers are read. */
  readonly read: boolean
  /** Called with each body, if the row does something with it. */
  readonly use: ((body: Uint8Array) => void) | undefined
  readonly consumers: number
  readonly tally: Tally
  /** Size of one delivery on the wire, for the floor, which counts bytes. */
  readonly deliverySize: number
  readonly bodySize: number
}

/** Does something `count` times. */
export type Repeat = (count: number) => Promise<void>

/** One connection, seen through what the rows of the benchmark do with it: each in the client's fastest idiom. */
export interface Connection {
  /** Publishes with the client's backpressure obeyed; done when a later method was answered. */
  publisher(message: Outgoing): Promise<Repeat>
  /** Publishes in one burst without waiting for anything, then waits for all. */
  burst(message: Outgoing): Promise<Repeat>
  /** Publishes with each message known to be confirmed, at most `window` unconfirmed. */
  confirmer(message: Outgoing, window: number): Promise<Repeat>
  /** Consumes, counting in `incoming.tally`. */
  consumer(incoming: Incoming): Promise<void>
  /** Makes a function that sends a request and waits for its reply. */
  caller(queueName: string, body: Buffer): Promise<() => Promise<void>>
  /** Makes a function that declares these exclusive queues, all started together on one channel. */
  declarer(): Promise<(queueNames: readonly string[]) => Promise<void>>
  /** Opens a channel and closes it. */
  cycleChannel(): Promise<void>
  close(): Promise<void>
}

/** What a program that knows its work would set. */
export interface ConnectOptions {
  readonly frameMax: number
  readonly bodySize: number
  /** One small write is waited for at a time, so Nagle's algorithm must be off; in a burst it spares the peers CPU. */
  readonly prompt: boolean
  /** Publishes are confirmed: the one channel may be opened for that. */
  readonly confirms: boolean
  /** The certificate authority of a server with TLS (PEM). */
  readonly ca?: string | undefined
}

export interface Client {
  /** Opens a connection with one channel. */
  connect(url: string, options: ConnectOptions): Promise<Connection>
}

export const CLIENT_NAMES = [
  'floor',
  'prototype',
  'asyncamqp',
  'intent level',
  'amqplib',
  '@cloudamqp/amqp-client',
  'rabbitmq-client',
] as const
export type ClientName = (typeof CLIENT_NAMES)[number]
