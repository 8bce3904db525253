import { ProtocolError } from '../../errors.ts'
import { asError } from '../../lib/thrown.ts'
import { ExchangeBind, ExchangeDeclare, QueueBind, QueueDeclare } from '../../protocol/methods.ts'
import type { BareChannel } from './bare-channel.ts'
import type { BindingRecord, ExchangeRecord, QueueRecord, TopologyRecord } from './records.ts'
import type { Topology } from './topology.ts'

/** One entry of the ledger on its way back. */
export interface Entry {
  readonly record: TopologyRecord
  tries: number
  /** The error of its last refusal. */
  error: Error | undefined
  /** recoveryFailed has been emitted for it. */
  reported: boolean
  /** The broker does not have the queue that it named: a new one must be made. */
  anew: boolean
}

/** `tries`: how often it was tried. */
export function newEntry(record: TopologyRecord, anew: boolean, tries = 0): Entry {
  return { record, tries, error: undefined, reported: false, anew }
}

export function isServerNamed({ definition }: QueueRecord): boolean {
  return definition.queueName === ''
}

export interface DeclaresPort {
  /** A channel for the recovery's own calls. */
  channel(): BareChannel
  renamed(oldName: string, newName: string): void
}

/** Declares and binds again what the program had, many entries in one write. */
export class Declares {
  readonly #topology: Topology
  readonly #port: DeclaresPort
  #channel: BareChannel | undefined

  constructor(topology: Topology, port: DeclaresPort) {
    this.#topology = topology
    this.#port = port
  }

  /** Make these in order. Returns how many were made, and the error of the next one. */
  async make(batch: readonly Entry[]): Promise<{ readonly made: number; readonly error?: Error }> {
    this.#channel ??= this.#port.channel()
    const channel = this.#channel
    let unnamed: QueueRecord | undefined
    const results = await Promise.allSettled(
      batch.map(entry => {
        const { record } = entry
        if (record.kind === 'queue') unnamed = entry.anew ? record : undefined
        const queue = record.kind === 'binding' ? this.#topology.destination(record) : undefined
        return this.#make(entry, channel, queue !== undefined && queue === unnamed)
      }),
    )
    // RabbitMQ does them in order: the first that failed is the one it refused, those after it were not looked at.
    const made = results.findIndex(({ status }) => status === 'rejected')
    const result = results[made]
    if (result?.status !== 'rejected') return { made: batch.length }
    this.#channel = undefined
    return { made, error: asError(result.reason) }
  }

  /** Close the channel that it works on, if there is one. Never rejects. */
  async close(): Promise<void> {
    await this.#channel?.close()
    this.#channel = undefined
  }

  #make(entry: Entry, channel: BareChannel, isOfLast: boolean): Promise<unknown> {
    const { record, tries } = entry
    if (record.kind === 'exchange') return declareExchange(record, channel)
    if (record.kind === 'queue') return this.#declareQueue(entry, record, channel)
    const { source, destination, kind } = record.definition
    // An auto-delete exchange goes with the last binding of the old connection's queues, also if it was just declared.
    const before = tries === 0 ? [] : [source, ...(kind === 'exchange' ? [destination] : [])]
    const exchanges = before.flatMap(name => this.#topology.exchange(name) ?? [])
    return Promise.all([
      ...exchanges.map(exchange => declareExchange(exchange, channel)),
      bind(record, channel, isOfLast),
    ])
  }

  async #declareQueue(entry: Entry, queue: QueueRecord, channel: BareChannel): Promise<void> {
    const { name: oldName } = queue
    const { durable, exclusive, autoDelete, arguments: args } = queue.definition
    const queueName = entry.anew ? '' : oldName
    // RabbitMQ lets no client declare a name that it reserves, but a passive declare says whether it is there.
    const looksFor = isServerNamed(queue) && !entry.anew
    const sent = looksFor
      ? { queueName, passive: true }
      : { queueName, durable, exclusive, autoDelete, arguments: args }
    const reply = await channel.call(QueueDeclare, sent, `queue.declare of "${oldName}"`)
    if (reply === undefined || reply.queue === queueName || !this.#topology.has(queue)) return
    // Else all that is meant for one queue would go to another, for good.
    if (queueName !== '' || this.#topology.queue(reply.queue) !== undefined) {
      throw new ProtocolError(`queue.declare-ok named "${reply.queue}" when "${oldName}" was declared again`)
    }
    this.#topology.renamed(queue, reply.queue)
    this.#port.renamed(oldName, reply.queue)
  }
}

/** Declare an exchange as it was declared. */
function declareExchange(record: ExchangeRecord, channel: BareChannel): Promise<unknown> {
  const { exchangeName, typeName, durable, autoDelete, internal, arguments: args } = record.definition
  const sent = { exchangeName, typeName, durable, autoDelete, internal, arguments: args }
  return channel.call(ExchangeDeclare, sent, `exchange.declare of "${exchangeName}"`)
}

/**
 * Bind what was bound.
 *
 * @param isOfLast it is a binding of the queue declared last on the channel, whose name is not known yet.
 */
function bind(record: BindingRecord, channel: BareChannel, isOfLast: boolean): Promise<unknown> {
  const { kind, source, destination, routingKey, arguments: args } = record.definition
  if (kind === 'exchange') {
    const sent = { exchangeDestination: destination, exchangeSource: source, routingKey, arguments: args }
    return channel.call(ExchangeBind, sent, `exchange.bind of "${destination}"`)
  }
  const sent = { queueName: isOfLast ? '' : destination, exchangeName: source, routingKey, arguments: args }
  return channel.call(QueueBind, sent, `queue.bind of "${destination}"`)
}
