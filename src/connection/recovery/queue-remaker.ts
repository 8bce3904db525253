import { isOfNodeDown } from '../../channel/rabbitmq.ts'
import { ChannelClosedError } from '../../errors.ts'
import type { BareChannel } from './bare-channel.ts'
import type { BindingRecord, QueueRecord } from './records.ts'
import type { Topology } from './topology.ts'

export interface RemakePort {
  channel(): BareChannel
  /** Declare it or bind it; `anew` if the broker gives the queue another name. */
  make(record: QueueRecord | BindingRecord, channel: BareChannel, anew: boolean): Promise<unknown>
  /** Rejects if the queue is not there. */
  lookFor(queue: QueueRecord, channel: BareChannel): Promise<void>
  made(queue: QueueRecord): void
}

/** Makes queues again that were there already, and that the broker deleted when the channel of their last consumer ended. */
export class QueueRemaker {
  readonly #topology: Topology
  readonly #port: RemakePort
  readonly #remaking = new Map<QueueRecord, Promise<void>>()

  constructor(topology: Topology, port: RemakePort) {
    this.#topology = topology
    this.#port = port
  }

  /** Once at a time: the consumers of several channels may miss it together. */
  async remake(queue: QueueRecord): Promise<void> {
    if (!queue.recovers) return
    const remaking = this.#remaking.get(queue) ?? this.#remake(queue)
    this.#remaking.set(queue, remaking)
    try {
      await remaking
    } finally {
      this.#remaking.delete(queue)
    }
  }

  async #remake(queue: QueueRecord): Promise<void> {
    const anew = queue.definition.queueName === ''
    // Declared again, one that the server names would be another queue beside it.
    if (anew && !(await this.#isGone(queue))) return
    const channel = this.#port.channel()
    const bindings = this.#topology.bindings.filter(
      ({ definition: { kind, destination } }) => kind === 'queue' && this.#topology.queue(destination) === queue,
    )
    await Promise.allSettled([
      ...[queue, ...bindings].map(record => this.#port.make(record, channel, anew)),
      ...this.#bindingsToSources(bindings).map(record => this.#port.make(record, channel, false)),
    ])
    this.#port.made(queue)
    await channel.close()
  }

  /** Auto-delete exchanges went with the bindings of which they are the source, and with them the bindings to them. */
  #bindingsToSources(bindings: readonly BindingRecord[]): BindingRecord[] {
    const found = new Set(bindings)
    for (const { definition } of found) {
      if (this.#topology.exchange(definition.source)?.definition.autoDelete !== true) continue
      for (const binding of this.#topology.bindings) {
        const { kind, destination } = binding.definition
        if (kind === 'exchange' && destination === definition.source) found.add(binding)
      }
    }
    return [...found].slice(bindings.length)
  }

  async #isGone(queue: QueueRecord): Promise<boolean> {
    const channel = this.#port.channel()
    try {
      await this.#port.lookFor(queue, channel)
    } catch (error) {
      return error instanceof ChannelClosedError && isGone(queue, error)
    }
    await channel.close()
    return false
  }
}

/** The broker has no queue of the name that it made, and will not have it. */
export function isGone({ definition }: QueueRecord, error: ChannelClosedError): boolean {
  return definition.queueName === '' && error.replyCode === 404 && !isOfNodeDown(error)
}
