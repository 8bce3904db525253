import type {
  BindingDefinition,
  ExchangeDefinition,
  QueueDefinition,
  TopologyRecorder,
} from '../../channel/topology-recorder.ts'
import { encodeTable } from '../../protocol/field-table.ts'
import { Writer } from '../../protocol/writer.ts'

/** The names of a queue that are remembered: the first, which its declare told, and the last ones. */
const NAMES_KEPT = 1_000

interface QueueRecord {
  readonly definition: QueueDefinition
  /** The names that it had, oldest first. */
  readonly formerNames: string[]
  /** Consumers of this program. */
  consumers: number
}

/** Sets by a key, where an empty one is none. */
class Index {
  readonly #sets = new Map<string, Set<string>>()

  add(key: string, member: string): void {
    const set = this.#sets.get(key)
    if (set === undefined) this.#sets.set(key, new Set([member]))
    else set.add(member)
  }

  remove(key: string, member: string): void {
    const set = this.#sets.get(key)
    set?.delete(member)
    if (set?.size === 0) this.#sets.delete(key)
  }

  of(key: string): string[] {
    return [...(this.#sets.get(key) ?? [])]
  }

  has(key: string): boolean {
    return this.#sets.has(key)
  }
}

/**
 * What the program has made at the broker, in the order it was made: exchanges, queues, bindings. It is kept true by
 * what the program deletes, and by what the broker then deletes by itself: an auto-delete queue goes with its last
 * consumer, an auto-delete exchange with the last binding from it.
 */
export class Topology implements TopologyRecorder {
  readonly #exchanges = new Map<string, ExchangeDefinition>()
  #queues = new Map<string, QueueRecord>()
  #bindings = new Map<string, BindingDefinition>()
  /** Keys of bindings by the exchange they come from, and by where they go to. */
  readonly #from = new Index()
  readonly #to = new Index()
  /** The names that server-named queues have now, by those they had. */
  readonly #names = new Map<string, string>()

  get exchanges(): ExchangeDefinition[] {
    return [...this.#exchanges.values()]
  }

  /** Queues by the names they have. */
  get queues(): [name: string, definition: QueueDefinition][] {
    return [...this.#queues].map(([name, { definition }]) => [name, definition])
  }

  get bindings(): BindingDefinition[] {
    return [...this.#bindings.values()]
  }

  /** Undefined where that is not known: somebody else declared the queue, or the vhost chose its type. */
  isStream(queueName: string): boolean | undefined {
    const definition = this.#queues.get(queueName)?.definition
    if (definition === undefined) return undefined
    const type = definition.arguments?.['x-queue-type']
    if (type !== undefined) return type === 'stream'
    // A stream is durable, and shared.
    return definition.durable && !definition.exclusive && !definition.autoDelete ? undefined : false
  }

  exchangeDeclared(definition: ExchangeDefinition): void {
    const { exchangeName } = definition
    // The broker's own are always there.
    if (exchangeName === '' || exchangeName.startsWith('amq.')) return
    this.#exchanges.set(exchangeName, definition)
  }

  exchangeDeleted(exchangeName: string): void {
    this.#exchanges.delete(exchangeName)
    for (const key of this.#to.of(place('exchange', exchangeName))) this.#removeBinding(key)
    for (const key of this.#from.of(exchangeName)) this.#removeBinding(key)
  }

  /** The broker refused it: it may exist otherwise, and what is bound to it with it. */
  exchangeRefused(exchangeName: string): void {
    this.#exchanges.delete(exchangeName)
  }

  queueRefused(name: string): void {
    this.#forgetQueue(name)
  }

  queueDeclared(name: string, definition: QueueDefinition): void {
    const { consumers = 0, formerNames = [] } = this.#queues.get(name) ?? {}
    this.#queues.set(name, { definition, formerNames, consumers })
  }

  queueDeleted(name: string): void {
    this.#forgetQueue(name)
    for (const key of this.#to.of(place('queue', name))) this.#removeBinding(key)
  }

  #forgetQueue(name: string): void {
    for (const former of this.#queues.get(name)?.formerNames ?? []) this.#names.delete(former)
    this.#queues.delete(name)
  }

  bound(binding: BindingDefinition): void {
    const key = keyOf(binding)
    this.#bindings.set(key, binding)
    this.#from.add(binding.source, key)
    this.#to.add(place(binding.kind, binding.destination), key)
  }

  unbound(binding: BindingDefinition): void {
    this.#removeBinding(keyOf(binding))
  }

  #removeBinding(key: string): void {
    const binding = this.#bindings.get(key)
    if (binding === undefined) return
    const { source } = binding
    this.#bindings.delete(key)
    this.#from.remove(source, key)
    this.#to.remove(place(binding.kind, binding.destination), key)
    if (this.#exchanges.get(source)?.autoDelete === true && !this.#from.has(source)) this.exchangeDeleted(source)
  }

  consumerAdded(queueName: string): void {
    const record = this.#queues.get(this.currentName(queueName))
    if (record !== undefined) record.consumers++
  }

  consumerRemoved(queueName: string): void {
    const name = this.currentName(queueName)
    const record = this.#queues.get(name)
    if (record === undefined) return
    record.consumers--
    if (record.consumers <= 0 && record.definition.autoDelete) this.queueDeleted(name)
  }

  currentName(queueName: string): string {
    return this.#names.get(queueName) ?? queueName
  }

  /** A server-named queue got a new name: all that was recorded under the old one follows. */
  renamed(oldName: string, newName: string): void {
    const { formerNames = [] } = this.#queues.get(oldName) ?? {}
    formerNames.push(oldName)
    if (formerNames.length > NAMES_KEPT) for (const former of formerNames.splice(1, 1)) this.#names.delete(former)
    for (const former of formerNames) this.#names.set(former, newName)
    // In the old order: what is made later may rely on what was made before.
    this.#queues = new Map([...this.#queues].map(([name, record]) => [name === oldName ? newName : name, record]))
    const renamed = [...this.#bindings].map(([key, binding]): [string, BindingDefinition] => {
      if (binding.kind !== 'queue' || binding.destination !== oldName) return [key, binding]
      this.#from.remove(binding.source, key)
      this.#to.remove(place('queue', oldName), key)
      const moved = { ...binding, destination: newName }
      const newKey = keyOf(moved)
      this.#from.add(moved.source, newKey)
      this.#to.add(place('queue', newName), newKey)
      return [newKey, moved]
    })
    this.#bindings = new Map(renamed)
  }
}

function place(kind: BindingDefinition['kind'], name: string): string {
  return `${kind} ${name}`
}

/** A binding is all of source, destination, routing key and arguments. */
function keyOf({ kind, source, destination, routingKey, arguments: args }: BindingDefinition): string {
  const table =
    args === undefined ? '' : Writer.encode(writer => encodeTable(writer, args, 'arguments')).toString('latin1')
  return JSON.stringify([kind, source, destination, routingKey, table])
}
