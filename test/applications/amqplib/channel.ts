import { EventEmitter } from 'node:events'
import { type Channel as AmqpChannel, ChannelClosedError, ConnectionError, EncodeError } from 'asyncamqp'
import { Calls } from './calls.ts'
import type { Connection } from './connection.ts'
import { channelError, IllegalOperationError, operationError } from './errors.ts'
import { checked, delivered, type Message, mandatory, type PublishOptions, returned } from './messages.ts'
import { consumeOptions, exchangeOptions, type Options, queueOptions } from './method-options.ts'
import { toTable } from './values.ts'

type Binding = [destination: string, source: string, pattern: string, args?: object]

/** Messages that may wait to be written, unless `highWaterMark` says otherwise. */
const HIGH_WATER_MARK = 1024

/** A channel of the promise API. The events are those of amqplib: `error`, `close`, `drain`, `return`. */
export class Channel extends EventEmitter {
  readonly connection: Connection
  readonly consumers = new Map<string, (message: Message | null) => unknown>()
  readonly #calls = new Calls()
  readonly #highWaterMark: number
  #channel: AmqpChannel | undefined
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** Messages that are not written yet; of a confirm channel, not confirmed. */
  #waiting = 0
  /** A publish returned false, and `drain` is due. */
  #isFull = false

  constructor(connection: Connection, options?: { readonly highWaterMark?: number }) {
    super()
    this.connection = connection
    this.#highWaterMark = options?.highWaterMark ?? HIGH_WATER_MARK
  }

  async open(): Promise<this> {
    const channel = await this.connection.openChannel(this, {
      publisherConfirms: this.isConfirming,
      returnCallback: (_, body, envelope, properties) => {
        const message = returned(body, envelope, properties)
        process.nextTick(() => this.emit('return', message))
      },
    })
    channel.addCancellationCallback((_, consumerTag) => this.#cancelled(consumerTag))
    channel.waitClosed().then(
      () => {},
      error => {
        // After the rejection of the call at fault. The end of the connection is the connection's to report.
        if (error instanceof ChannelClosedError) process.nextTick(() => this.#closedByServer(error))
      },
    )
    this.#channel = channel
    return this
  }

  protected get isConfirming(): boolean {
    return false
  }

  get ch(): number | undefined {
    return this.#channel?.channelId
  }

  /** @throws IllegalOperationError unless it is open. */
  protected opened(): AmqpChannel {
    if (this.#state === 'closing') throw new IllegalOperationError('Channel closing')
    this.connection.assertOpen()
    // The event that reports its end may be due yet.
    if (this.#channel?.isOpen !== true) throw new IllegalOperationError('Channel closed')
    return this.#channel
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      const channel = this.opened()
      this.#state = 'closing'
      channel.close({ replyText: 'Goodbye' }).then(() => {
        resolve()
        process.nextTick(() => this.ended())
      }, reject)
    })
  }

  /** The channel is closed, or its connection. */
  ended(): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.connection.release(this)
    this.#calls.end(ended())
    this.lost()
    this.emit('close')
  }

  /** Whatever is not confirmed never will be. */
  protected lost(): void {}

  #closedByServer(error: ChannelClosedError): void {
    if (this.#state === 'closed') return
    this.#fail(channelError(error))
  }

  /** In amqplib an error without a listener, or one that a listener throws, ends the connection. */
  #fail(error: unknown): void {
    try {
      this.emit('error', error)
    } catch (thrown) {
      this.connection.fail(thrown as Error)
    } finally {
      this.ended()
    }
  }

  // ---- queues and exchanges

  assertQueue(queue: string | undefined, options?: Options): Promise<object> {
    const declared = queueOptions(options)
    return this.#call('queue.declare', channel => channel.queueDeclare(queue || '', declared))
  }

  checkQueue(queue: string): Promise<object> {
    return this.#call('queue.declare', channel => channel.queueDeclare(queue, { passive: true }))
  }

  deleteQueue(queue: string, options?: Options): Promise<object> {
    const { ifUnused, ifEmpty } = options ?? {}
    const given = { ifUnused: !!ifUnused, ifEmpty: !!ifEmpty }
    return this.#call('queue.delete', channel => channel.queueDelete(queue, given))
  }

  purgeQueue(queue: string): Promise<object> {
    return this.#call('queue.purge', channel => channel.queuePurge(queue))
  }

  bindQueue(...binding: Binding): Promise<object> {
    return this.#binding('queue.bind', 'queueBind', binding)
  }

  unbindQueue(...binding: Binding): Promise<object> {
    return this.#binding('queue.unbind', 'queueUnbind', binding)
  }

  async assertExchange(exchange: string, type: string, options?: Options): Promise<{ exchange: string }> {
    const declared = exchangeOptions(options)
    await this.#call('exchange.declare', channel => channel.exchangeDeclare(exchange, type, declared))
    return { exchange }
  }

  checkExchange(exchange: string): Promise<object> {
    return this.#empty('exchange.declare', channel => channel.exchangeDeclare(exchange, '', { passive: true }))
  }

  deleteExchange(exchange: string, options?: Options): Promise<object> {
    const given = { ifUnused: !!options?.['ifUnused'] }
    return this.#empty('exchange.delete', channel => channel.exchangeDelete(exchange, given))
  }

  bindExchange(...binding: Binding): Promise<object> {
    return this.#binding('exchange.bind', 'exchangeBind', binding)
  }

  unbindExchange(...binding: Binding): Promise<object> {
    return this.#binding('exchange.unbind', 'exchangeUnbind', binding)
  }

  #binding(
    name: string,
    method: 'queueBind' | 'queueUnbind' | 'exchangeBind' | 'exchangeUnbind',
    [destination, source, pattern, args]: Binding,
  ): Promise<object> {
    const given = { arguments: toTable(args) }
    return this.#empty(name, channel => channel[method](destination, source, pattern, given))
  }

  // ---- publishing

  /** False if too many messages wait: then `drain` will be emitted. */
  publish(exchange: string, routingKey: string, content: Buffer, options?: PublishOptions): boolean {
    const channel = this.opened()
    const properties = checked(content, options)
    const written = channel.basicPublish(content, exchange ?? '', routingKey ?? '', properties, mandatory(options))
    return this.taken(written, error => {
      // amqplib throws it at once. All others are the end of the channel.
      if (error instanceof EncodeError) this.emit('error', error)
    })
  }

  sendToQueue(queue: string, content: Buffer, options?: PublishOptions): boolean {
    return this.publish('', queue, content, options)
  }

  /** One message more waits until `sent` has settled. */
  protected taken(sent: Promise<void>, settled: (error: unknown) => void): boolean {
    this.#waiting++
    const done = (error: unknown): void => {
      this.#waiting--
      settled(error)
      if (this.#waiting > 0 || !this.#isFull) return
      this.#isFull = false
      if (this.#state === 'open') process.nextTick(() => this.emit('drain'))
    }
    sent.then(() => done(null), done)
    if (this.#waiting > this.#highWaterMark) this.#isFull = true
    return !this.#isFull
  }

  // ---- consuming

  async consume(
    queue: string,
    callback: (message: Message | null) => unknown,
    options?: Options,
  ): Promise<{ consumerTag: string }> {
    const wanted = consumeOptions(options)
    const reply = await this.#call('basic.consume', async channel => {
      const consumed = await channel.basicConsume(
        (_, body, envelope, properties) => this.#dispatch(callback, delivered(body, envelope, properties)),
        queue,
        wanted,
      )
      this.consumers.set(consumed.consumerTag, callback)
      return consumed
    })
    return { consumerTag: reply.consumerTag }
  }

  async cancel(consumerTag: string): Promise<{ consumerTag: string }> {
    const reply = await this.#call('basic.cancel', channel => channel.basicCancel(consumerTag))
    this.consumers.delete(consumerTag)
    return reply
  }

  async get(queue: string, options?: Options): Promise<Message | false> {
    const noAck = !!options?.['noAck']
    const got = await this.#call('basic.get', channel => channel.basicGet(queue, { noAck }))
    if (got === null) return false
    const message = delivered(got.body, got.envelope, got.properties)
    return { ...message, fields: { ...message.fields, messageCount: got.messageCount } }
  }

  ack(message: Message, allUpTo?: boolean): void {
    this.#settle(channel => channel.basicClientAck(message.fields.deliveryTag, { multiple: !!allUpTo }))
  }

  ackAll(): void {
    this.#settle(channel => channel.basicClientAck(0, { multiple: true }))
  }

  nack(message: Message, allUpTo?: boolean, requeue = true): void {
    const given = { multiple: !!allUpTo, requeue: !!requeue }
    this.#settle(channel => channel.basicClientNack(message.fields.deliveryTag, given))
  }

  nackAll(requeue = true): void {
    this.#settle(channel => channel.basicClientNack(0, { multiple: true, requeue: !!requeue }))
  }

  reject(message: Message, requeue = true): void {
    this.#settle(channel => channel.basicReject(message.fields.deliveryTag, { requeue: !!requeue }))
  }

  prefetch(count: number, global = false): Promise<object> {
    return this.#empty('basic.qos', channel =>
      channel.basicQos({ prefetchCount: count || 0, connectionGlobal: !!global }),
    )
  }

  qos(count: number, global = false): Promise<object> {
    return this.prefetch(count, global)
  }

  recover(): Promise<object> {
    return this.#empty('basic.recover', channel => channel.basicRecover())
  }

  #settle(send: (channel: AmqpChannel) => Promise<boolean>): void {
    send(this.opened()).catch(() => {})
  }

  /** What a callback throws ends its channel. */
  #dispatch(callback: (message: Message | null) => unknown, message: Message | null): void {
    try {
      callback(message)
    } catch (error) {
      const replyText = 'Error while processing message'
      if (this.#state !== 'open' || this.#channel === undefined) throw error
      this.#state = 'closing'
      void this.#channel.close({ replyCode: 541, replyText }).then(() => {
        process.nextTick(() => this.#fail(Object.assign(error as Error, { code: 541 })))
      })
    }
  }

  #cancelled(consumerTag: string): void {
    const callback = this.consumers.get(consumerTag)
    this.consumers.delete(consumerTag)
    if (callback !== undefined) this.#dispatch(callback, null)
  }

  // ---- one call at a time

  async #empty(method: string, send: (channel: AmqpChannel) => Promise<unknown>): Promise<object> {
    await this.#call(method, send)
    return {}
  }

  async #call<T>(method: string, send: (channel: AmqpChannel) => Promise<T>): Promise<T> {
    const channel = this.opened()
    try {
      return await this.#calls.add(() => (channel.isOpen ? send(channel) : Promise.reject(ended())))
    } catch (error) {
      if (error instanceof ChannelClosedError && error.replyCode !== undefined) throw operationError(error, method)
      throw error instanceof ConnectionError ? ended() : error
    }
  }
}

function ended(): Error {
  return new Error('Channel ended, no reply will be forthcoming')
}
