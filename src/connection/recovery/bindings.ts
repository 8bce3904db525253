import type { BindingDefinition } from '../../channel/topology-recorder.ts'
import { SetIndex } from '../../lib/set-index.ts'
import { argumentsKey, bindingKey, valuesKey } from './binding-key.ts'
import type { BindingRecord } from './records.ts'

/** Bindings that one unbind, of none that is known, is compared with. */
const MOST_LOOKED_AT = 100

/** The bindings of the ledger, in the order in which they were made, found by all that they are, by source and by destination. */
export class Bindings {
  readonly #all = new Set<BindingRecord>()
  readonly #byKey = new Map<string, BindingRecord>()
  readonly #from = new SetIndex<BindingRecord>()
  readonly #to = new SetIndex<BindingRecord>()
  /** From an exchange to an exchange, by the source. */
  readonly #between = new SetIndex<BindingRecord>()

  get all(): ReadonlySet<BindingRecord> {
    return this.#all
  }

  from(source: string): ReadonlySet<BindingRecord> {
    return this.#from.of(source)
  }

  to(kind: BindingDefinition['kind'], destination: string): ReadonlySet<BindingRecord> {
    return this.#to.of(place(kind, destination))
  }

  /** The exchanges that an exchange is bound to. */
  exchangesBehind(source: string): string[] {
    return [...this.#between.of(source)].map(({ definition }) => definition.destination)
  }

  /** The binding that RabbitMQ takes for the same. */
  get(definition: BindingDefinition): BindingRecord | undefined {
    return this.#byKey.get(bindingKey(definition, argumentsKey(definition.arguments)))
  }

  /** Does nothing if it is there. */
  add(definition: BindingDefinition): void {
    const args = argumentsKey(definition.arguments)
    const key = bindingKey(definition, args)
    if (this.#byKey.has(key)) return
    const binding: BindingRecord = { kind: 'binding', definition, key, argumentsKey: args }
    this.#all.add(binding)
    this.#byKey.set(key, binding)
    this.#from.add(definition.source, binding)
    this.#to.add(place(definition.kind, definition.destination), binding)
    if (definition.kind === 'exchange') this.#between.add(definition.source, binding)
  }

  /** Returns false if it is not there. */
  remove(binding: BindingRecord): boolean {
    const { kind, source, destination } = binding.definition
    if (!this.#all.delete(binding)) return false
    this.#byKey.delete(binding.key)
    this.#from.remove(source, binding)
    this.#to.remove(place(kind, destination), binding)
    this.#between.remove(source, binding)
    return true
  }

  /** A queue has another name: the bindings to it follow. */
  queueRenamed(oldName: string, newName: string): void {
    for (const binding of [...this.to('queue', oldName)]) {
      this.#byKey.delete(binding.key)
      this.#to.remove(place('queue', oldName), binding)
      binding.definition = { ...binding.definition, destination: newName }
      binding.key = bindingKey(binding.definition, binding.argumentsKey)
      this.#byKey.set(binding.key, binding)
      this.#to.add(place('queue', newName), binding)
    }
  }

  /** Whether there is a binding that differs in the wire types of its arguments alone: RabbitMQ takes it for another. */
  hasAlike({ kind, source, destination, routingKey, arguments: args }: BindingDefinition): boolean {
    if (args === undefined) return false
    const values = valuesKey(args)
    let looked = 0
    for (const { definition } of this.to(kind, destination)) {
      const { arguments: others = {} } = definition
      if (definition.source === source && definition.routingKey === routingKey && valuesKey(others) === values)
        return true
      if (++looked === MOST_LOOKED_AT) break
    }
    return false
  }
}

function place(kind: BindingDefinition['kind'], name: string): string {
  return `${kind} ${name}`
}
