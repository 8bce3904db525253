import type { BrokerEngine } from '../broker/broker.ts'
import type { ClientConnection } from '../broker/client-connection.ts'
import { Exchange } from '../broker/exchange.ts'
import { copied, type Message as EngineMessage } from '../broker/message.ts'
import type { Queue } from '../broker/queue.ts'
import { Refusal } from '../broker/refusals.ts'
import { INSPECT, type InspectArguments, inspected } from '../lib/inspect.ts'
import { ReplyCode } from '../protocol/constants.ts'
import type { BasicProperties } from '../protocol/properties.ts'
import type { FieldTable } from '../protocol/values.ts'
import { checkCount, checkReason } from './check-options.ts'
import type { WaitOptions, Watch } from './watch.ts'

/** A message as the broker has it. */
export interface BrokerMessage {
  readonly exchangeName: string
  readonly routingKey: string
  readonly body: Buffer
  readonly properties: BasicProperties
}

/** A message in a queue. */
export interface QueuedMessage extends BrokerMessage {
  /** It was delivered before, and came back. */
  readonly redelivered: boolean
}

/** A consumer of a queue. */
export interface BrokerConsumer {
  readonly consumerTag: string
  readonly noAck: boolean
  readonly exclusive: boolean
  readonly prefetchCount: number
  readonly priority: number
  readonly arguments: FieldTable
  /** Messages that were delivered to it and are not settled. */
  readonly unacked: number
}

/** A binding from an exchange to a queue or another exchange. */
export interface BrokerBinding {
  readonly destination: string
  readonly destinationKind: 'queue' | 'exchange'
  readonly routingKey: string
  readonly arguments: FieldTable
}

/** @internal */
export function shown(message: EngineMessage): BrokerMessage {
  const { exchange, routingKey, body, properties } = message
  return { exchangeName: exchange, routingKey, body: Buffer.from(body), properties: copied(properties) }
}

/** @internal @throws Error that names the queues that there are. */
export function existing(engine: BrokerEngine, name: string, vhost: string): Queue {
  return known('queue', engine.vhosts.get(vhost)?.queues ?? new Map(), name, vhost)
}

function known<T>(kind: 'queue' | 'exchange', all: ReadonlyMap<string, T>, name: string, vhost: string): T {
  const one = all.get(name)
  if (one !== undefined) return one
  const names = [...all.keys()].map(other => `"${other}"`)
  const there = names.length === 0 ? 'there is none' : `there are ${names.join(', ')}`
  throw new Error(`there is no ${kind} "${name}" in virtual host "${vhost}"; ${there}`)
}

/** A queue of the broker. If it does not exist, only `exists` and `type` can be read; waits are allowed. */
export class QueueView {
  readonly name: string
  readonly vhost: string
  readonly #engine: BrokerEngine
  readonly #watch: Watch

  /** @internal */
  constructor(engine: BrokerEngine, watch: Watch, name: string, vhost: string) {
    this.#engine = engine
    this.#watch = watch
    this.name = name
    this.vhost = vhost
  }

  get #queue(): Queue | undefined {
    return this.#engine.queue(this.name, this.vhost)
  }

  get #existing(): Queue {
    return existing(this.#engine, this.name, this.vhost)
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    const { name, vhost, exists, type } = this
    if (!exists) return inspected(this, { name, vhost, exists }, args)
    const [ready, unacked, consumers] = [this.ready.length, this.unacked.length, this.consumers.length]
    return inspected(this, { name, vhost, type, ready, unacked, consumers }, args)
  }

  get exists(): boolean {
    return this.#queue !== undefined
  }
  get durable(): boolean {
    return this.#existing.durable
  }
  get autoDelete(): boolean {
    return this.#existing.autoDelete
  }
  /** Only the connection that declared it may use it. */
  get exclusive(): boolean {
    return this.#existing.owner !== undefined
  }
  get type(): string | undefined {
    return this.#queue?.type
  }
  get arguments(): FieldTable {
    return { ...this.#existing.arguments }
  }
  /** Messages that no consumer has, in the order of their delivery. */
  get ready(): readonly QueuedMessage[] {
    return this.#existing.ready.map(({ message, redelivered }) => ({ ...shown(message), redelivered }))
  }
  /** Messages that were delivered and are not settled. */
  get unacked(): readonly QueuedMessage[] {
    return this.#existing.unacked.map(({ stored, redelivered }) => ({ ...shown(stored.message), redelivered }))
  }
  get consumers(): readonly BrokerConsumer[] {
    return this.#existing.consumers.map(({ tag, unacked, options }) => {
      const { noAck, exclusive, prefetch, priority } = options
      return {
        consumerTag: tag,
        noAck,
        exclusive,
        prefetchCount: prefetch,
        priority,
        arguments: { ...options.arguments },
        unacked,
      }
    })
  }

  /**
   * Wait until the queue is there, and has neither ready nor unacknowledged messages. A stream keeps its messages: there,
   * until its consumers have acknowledged what they got. @throws TimeoutError; Error if the queue goes with messages in it.
   */
  emptied(options?: WaitOptions): Promise<void> {
    let last: Queue | undefined
    const isEmpty = () => {
      last = this.#queue ?? last
      if (last === undefined) return false
      if (!this.exists && last.lost > 0) {
        throw new Error(`queue "${this.name}" is gone before it was empty, with ${last.lost} messages`)
      }
      const isRead = last.type === 'stream' || this.#ready === 0
      return isRead && this.#unacked === 0 && this.#delayed === 0
    }
    return this.#until(isEmpty, `queue "${this.name}" is empty`, options)
  }

  /** Wait until `count` messages or more are ready; of a stream, until it has as many. @throws TimeoutError */
  async hasReady(count: number, options?: WaitOptions): Promise<void> {
    checkCount('hasReady', count)
    return this.#until(() => this.#ready >= count, `queue "${this.name}" has ${count} or more ready messages`, options)
  }

  /** Wait until `count` messages or more are with consumers, unacknowledged. @throws TimeoutError */
  async hasUnacked(count: number, options?: WaitOptions): Promise<void> {
    checkCount('hasUnacked', count)
    return this.#until(
      () => this.#unacked >= count,
      `queue "${this.name}" has ${count} or more unacked messages`,
      options,
    )
  }

  /** Wait until the queue has `count` consumers, or more. @throws TimeoutError */
  async hasConsumers(count: number, options?: WaitOptions): Promise<void> {
    checkCount('hasConsumers', count)
    const has = () => (this.#queue?.consumers.length ?? 0) >= count
    return this.#until(has, `queue "${this.name}" has ${count} or more consumers`, options)
  }

  /** Wait until the queue is deleted. @throws TimeoutError */
  deleted(options?: WaitOptions): Promise<void> {
    return this.#until(() => !this.exists, `queue "${this.name}" is deleted`, options)
  }

  get #ready(): number {
    return this.#queue?.messageCount ?? 0
  }
  get #unacked(): number {
    return this.#queue?.unacked.length ?? 0
  }
  /** Those of a delayed retry. */
  get #delayed(): number {
    return this.#queue?.delayed.length ?? 0
  }

  #until(isSo: () => boolean, what: string, options?: WaitOptions): Promise<void> {
    const state = () =>
      this.exists
        ? `it has ${this.#ready} ready and ${this.#unacked} unacked messages and ${this.#queue?.consumers.length} consumers` +
          (this.#delayed > 0 ? `; ${this.#delayed} messages wait for their retry` : '')
        : 'there is no such queue'
    return this.#watch.until(isSo, what, state, options)
  }
}

/** An exchange of the broker. If it does not exist, only `exists` and `type` can be read. */
export class ExchangeView {
  readonly name: string
  readonly vhost: string
  readonly #engine: BrokerEngine

  /** @internal */
  constructor(engine: BrokerEngine, name: string, vhost: string) {
    this.#engine = engine
    this.name = name
    this.vhost = vhost
  }

  get #exchange(): Exchange | undefined {
    return this.#engine.exchange(this.name, this.vhost)
  }

  get #existing(): Exchange {
    return known('exchange', this.#engine.vhosts.get(this.vhost)?.exchanges ?? new Map(), this.name, this.vhost)
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    const { name, vhost, exists, type } = this
    return inspected(
      this,
      exists ? { name, vhost, type, bindings: this.bindings.length } : { name, vhost, exists },
      args,
    )
  }

  get exists(): boolean {
    return this.#exchange !== undefined
  }
  get type(): string | undefined {
    return this.#exchange?.type
  }
  get durable(): boolean {
    return this.#existing.durable
  }
  get autoDelete(): boolean {
    return this.#existing.autoDelete
  }
  get internal(): boolean {
    return this.#existing.internal
  }
  get arguments(): FieldTable {
    return { ...this.#existing.arguments }
  }
  /** What its messages go to. */
  get bindings(): readonly BrokerBinding[] {
    return this.#existing.bindings.map(({ destination, routingKey, arguments: table }) => ({
      destination: destination.name,
      destinationKind: destination instanceof Exchange ? 'exchange' : 'queue',
      routingKey,
      arguments: { ...table },
    }))
  }
}

/** A client's connection. */
export class ConnectionView {
  readonly #engine: BrokerEngine
  readonly #connection: ClientConnection

  /** @internal */
  constructor(engine: BrokerEngine, connection: ClientConnection) {
    this.#engine = engine
    this.#connection = connection
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    const { name, peer, login, virtualhost, channels, isBlocked } = this
    return inspected(this, { name, peer, login, virtualhost, channels, isBlocked }, args)
  }

  /** What the client calls itself (`connectionName`), or its address. */
  get name(): string {
    return this.#connection.name
  }
  /** Its address, as `127.0.0.1:50000`. */
  get peer(): string {
    return this.#connection.peer
  }
  get login(): string {
    return this.#connection.user.name
  }
  get virtualhost(): string {
    return this.#connection.vhost.name
  }
  /** Open channels. */
  get channels(): number {
    return this.#connection.channels.length
  }
  get isBlocked(): boolean {
    return this.#connection.isBlocked
  }
  get clientProperties(): FieldTable {
    return { ...this.#connection.clientProperties }
  }
  /** What was agreed on: most channels, bytes of a frame, seconds between heartbeats. */
  get limits(): { readonly channelMax: number; readonly frameMax: number; readonly heartbeat: number } {
    const { channelMax, frameMax, heartbeat } = this.#connection.limits
    return { channelMax, frameMax, heartbeat }
  }

  /** Close it, as an operator does (`CONNECTION_FORCED`). */
  close(replyText: string): void {
    checkReason('close', replyText)
    this.#connection.fail(new Refusal(ReplyCode.CONNECTION_FORCED, replyText))
    this.#engine.run()
  }

  /** Cut it. */
  cut(): void {
    this.#connection.destroy()
  }
}
