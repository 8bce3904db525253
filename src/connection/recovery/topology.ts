import type {
  BindingDefinition,
  ExchangeDefinition,
  Ledger,
  QueueDefinition,
  TopologyRecorder,
} from '../../channel/topology-recorder.ts'
import type { Effect } from '../../channel/written-effects.ts'
import type { Clock } from '../../lib/clock.ts'
import { ignore } from '../../lib/ignore.ts'
import type { FieldTable } from '../../protocol/values.ts'
import { Bindings } from './bindings.ts'
import { Journal } from './journal.ts'
import type { BindingRecord, ExchangeRecord, QueueRecord, TopologyRecord } from './records.ts'

/** The names of a queue that are remembered: the first, which its declare returned, and the last ones. */
const NAMES_KEPT = 1_000

/**
 * The ledger: what the program has made at the broker, in the order it was made. It follows what the program deletes,
 * and what the broker then deletes by itself: an auto-delete queue goes with its last consumer, an auto-delete exchange
 * with the last binding from it, a queue that expires without use.
 */
export class Topology implements TopologyRecorder, Ledger {
  readonly #clock: Clock
  readonly #journal = new Journal<Ledger>(this)
  readonly #exchanges = new Map<string, ExchangeRecord>()
  /** In the order of their declares; also those that got another name. */
  readonly #queues = new Set<QueueRecord>()
  readonly #byName = new Map<string, QueueRecord>()
  readonly #byFormerName = new Map<string, QueueRecord>()
  readonly #bindings = new Bindings()
  readonly #warn: (text: string) => void

  /** `warn` gets warnings for the program. */
  constructor(clock: Clock, warn: (text: string) => void = ignore) {
    this.#clock = clock
    this.#warn = warn
  }

  written(change: (ledger: Ledger) => void, provisional = false): Effect {
    return this.#journal.written(change, provisional)
  }

  /** The ledger as another connection writes it: what that waits for holds up nothing that the first one has done. */
  otherRecorder(): TopologyRecorder {
    const journal = new Journal<Ledger>(this)
    return {
      written: (change, provisional = false) => journal.written(change, provisional),
      isStream: queueName => this.isStream(queueName),
      queueArguments: queueName => this.queueArguments(queueName),
      currentName: queueName => this.currentName(queueName),
    }
  }

  /** The exchanges that recover. The same holds for queues and bindings, in the order in which they were made. */
  get exchanges(): ExchangeRecord[] {
    return [...this.#exchanges.values()].filter(({ recovers }) => recovers)
  }

  get queues(): QueueRecord[] {
    return [...this.#queues].filter(({ recovers }) => recovers)
  }

  get bindings(): BindingRecord[] {
    return [...this.#bindings.all].filter(binding => this.#recovers(binding))
  }

  #recovers({ definition: { kind, source, destination } }: BindingRecord): boolean {
    const target = kind === 'queue' ? this.#byName.get(destination) : this.#exchanges.get(destination)
    return this.#exchanges.get(source)?.recovers !== false && target?.recovers !== false
  }

  exchange(exchangeName: string): ExchangeRecord | undefined {
    return this.#exchanges.get(exchangeName)
  }

  queue(queueName: string): QueueRecord | undefined {
    return this.#byName.get(this.currentName(queueName))
  }

  /** The queue that a binding leads to, unless that is an exchange or another program's. */
  destination({ definition: { kind, destination } }: BindingRecord): QueueRecord | undefined {
    return kind === 'queue' ? this.queue(destination) : undefined
  }

  /** The exchanges that an exchange is bound to. */
  exchangesBehind(exchangeName: string): string[] {
    return this.#bindings.exchangesBehind(exchangeName)
  }

  bindingsTo(queueName: string): BindingRecord[] {
    return [...this.#bindings.to('queue', queueName)]
  }

  /** The bindings that recover and that end with a queue: also those to auto-delete exchanges, which end with the last binding from them. */
  bindingsEndingWith({ name }: QueueRecord): BindingRecord[] {
    const ending = new Set(this.#bindings.to('queue', name))
    for (const { definition } of ending) {
      if (this.#exchanges.get(definition.source)?.definition.autoDelete !== true) continue
      for (const binding of this.#bindings.to('exchange', definition.source)) ending.add(binding)
    }
    return [...ending].filter(binding => this.#recovers(binding))
  }

  /** Undefined if that is not known: another program declared the queue, or the vhost chose its type. */
  isStream(queueName: string): boolean | undefined {
    const definition = this.queue(queueName)?.definition
    if (definition === undefined) return undefined
    const type = definition.arguments?.['x-queue-type']
    if (type !== undefined) return type === 'stream'
    // A stream is durable, and shared.
    return definition.durable && !definition.exclusive && !definition.autoDelete ? undefined : false
  }

  queueArguments(queueName: string): FieldTable | undefined {
    return this.queue(queueName)?.definition.arguments
  }

  // ---- exchanges

  exchangeDeclared(definition: ExchangeDefinition, recovers = true): void {
    const { exchangeName } = definition
    // The broker's own are always there.
    if (exchangeName === '' || exchangeName.startsWith('amq.')) return
    const known = this.#exchanges.get(exchangeName)
    if (known === undefined) this.#exchanges.set(exchangeName, { kind: 'exchange', definition, recovers })
    else {
      known.definition = definition
      known.recovers = recovers
    }
  }

  exchangeDeleted(exchangeName: string): void {
    this.#exchanges.delete(exchangeName)
    for (const binding of [...this.#bindings.to('exchange', exchangeName)]) this.#removeBinding(binding)
    for (const binding of [...this.#bindings.from(exchangeName)]) this.#removeBinding(binding)
  }

  // ---- queues

  queueDeclared(name: string, definition: QueueDefinition, recovers = true): void {
    const known = this.#byName.get(name)
    if (known !== undefined) {
      // Declared again by its name: a queue that the server named stays one.
      const { queueName } = known.definition
      known.definition = queueName === '' ? { ...definition, queueName } : definition
      known.recovers = recovers
      known.lastUsed = this.#clock.now()
      return
    }
    const lastUsed = this.#clock.now()
    const queue: QueueRecord = { kind: 'queue', name, definition, recovers, formerNames: [], consumers: 0, lastUsed }
    this.#queues.add(queue)
    this.#byName.set(name, queue)
  }

  queueDeleted(queueName: string): void {
    const name = this.currentName(queueName)
    const queue = this.#byName.get(name)
    if (queue !== undefined) this.#forgetQueue(queue)
    for (const binding of [...this.#bindings.to('queue', name)]) this.#removeBinding(binding)
  }

  #forgetQueue(queue: QueueRecord): void {
    for (const former of queue.formerNames) {
      if (this.#byFormerName.get(former) === queue) this.#byFormerName.delete(former)
    }
    this.#queues.delete(queue)
    this.#byName.delete(queue.name)
  }

  queueUsed(queueName: string): void {
    const queue = this.queue(queueName)
    if (queue !== undefined) queue.lastUsed = this.#clock.now()
  }

  /**
   * The connection is lost. A queue that expires (x-expires) and that was unused for as long was deleted before; an
   * exclusive one that does not recover goes now.
   */
  connectionLost(): void {
    const now = this.#clock.now()
    for (const { name, definition, recovers, consumers, lastUsed } of [...this.#queues]) {
      const expires = Number(definition.arguments?.['x-expires'] ?? Number.NaN)
      const expired = consumers === 0 && now - lastUsed > expires
      if (expired || (definition.exclusive && !recovers)) this.queueDeleted(name)
    }
  }

  consumerAdded(queueName: string): QueueRecord | string {
    const queue = this.queue(queueName)
    if (queue !== undefined) queue.consumers++
    return queue ?? queueName
  }

  consumerRemoved(counted: QueueRecord | string): void {
    this.consumerLost(counted)
    const queue = this.#known(counted)
    if (queue?.definition.autoDelete === true && queue.consumers <= 0) this.queueDeleted(queue.name)
  }

  consumerLost(counted: QueueRecord | string): void {
    const queue = this.#known(counted)
    if (queue === undefined) return
    queue.consumers--
    queue.lastUsed = this.#clock.now()
  }

  /** A queue that was deleted meanwhile is not the one that has its name now. */
  #known(counted: QueueRecord | string): QueueRecord | undefined {
    if (typeof counted === 'string') return this.queue(counted)
    return this.#queues.has(counted) ? counted : undefined
  }

  currentName(queueName: string): string {
    return this.#byFormerName.get(queueName)?.name ?? queueName
  }

  /** A queue has or had another name than the one that its declare returned. */
  get hasRenamed(): boolean {
    return this.#byFormerName.size > 0
  }

  /** A server-named queue got a new name: all that was recorded under the old one follows. */
  renamed(queue: QueueRecord, newName: string): void {
    const oldName = queue.name
    const { formerNames } = queue
    formerNames.push(oldName)
    this.#byFormerName.set(oldName, queue)
    if (formerNames.length > NAMES_KEPT) {
      for (const former of formerNames.splice(1, 1)) this.#byFormerName.delete(former)
    }
    this.#byName.delete(oldName)
    this.#byName.set(newName, queue)
    queue.name = newName
    this.#bindings.queueRenamed(oldName, newName)
  }

  // ---- bindings

  bound(asked: BindingDefinition): void {
    this.#bindings.add(this.#current(asked))
  }

  unbound(asked: BindingDefinition): void {
    const definition = this.#current(asked)
    const binding = this.#bindings.get(definition)
    if (binding !== undefined) this.#removeBinding(binding)
    else if (this.#bindings.hasAlike(definition)) {
      // RabbitMQ says nothing when it finds none.
      const { kind, source, destination } = definition
      this.#warn(
        `${kind}.unbind of "${destination}" from exchange "${source}" undid nothing: the arguments of the binding have other wire types; give each number as it was bound, such as int8(1)`,
      )
    }
  }

  /** The binding as it is kept: a server-named queue is meant by each name it had. */
  #current(asked: BindingDefinition): BindingDefinition {
    const { kind, destination } = asked
    const name = kind === 'queue' ? this.currentName(destination) : destination
    return name === destination ? asked : { ...asked, destination: name }
  }

  /** It is undone at the broker, whose auto-delete exchange goes with the last binding from it. */
  #removeBinding(binding: BindingRecord): void {
    const { source } = binding.definition
    if (!this.#bindings.remove(binding)) return
    if (this.#exchanges.get(source)?.definition.autoDelete === true && this.#bindings.from(source).size === 0) {
      this.exchangeDeleted(source)
    }
  }

  // ---- what the broker says to an entry during a recovery

  /** The broker has this entry otherwise: what was bound to it still is. */
  forget(record: TopologyRecord): void {
    if (record.kind === 'exchange') this.#exchanges.delete(record.definition.exchangeName)
    else if (record.kind === 'queue') this.#forgetQueue(record)
    else this.#bindings.remove(record)
  }

  /** The broker closes the connection over this entry: it can have no bindings any more. */
  forgetWithBindings(record: TopologyRecord): void {
    if (record.kind !== 'binding') {
      const name = record.kind === 'queue' ? record.name : record.definition.exchangeName
      const from = record.kind === 'queue' ? [] : this.#bindings.from(name)
      for (const binding of [...this.#bindings.to(record.kind, name), ...from]) this.#bindings.remove(binding)
    }
    this.forget(record)
  }

  /** Whether the entry still counts: the program may have deleted it meanwhile. */
  has(record: TopologyRecord): boolean {
    if (record.kind === 'exchange') return this.#exchanges.get(record.definition.exchangeName) === record
    return record.kind === 'queue' ? this.#queues.has(record) : this.#bindings.all.has(record)
  }
}
