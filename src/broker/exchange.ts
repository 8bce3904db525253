import type { FieldTable } from '../protocol/values.ts'
import { tableTerm } from './field-kinds.ts'
import { matchesHeaders } from './header-match.ts'
import type { Message } from './message.ts'
import type { Queue } from './queue.ts'
import { textArgument } from './queue-arguments.ts'
import type { Release } from './release.ts'
import { matchesTopic } from './topic-pattern.ts'

export type ExchangeType = 'direct' | 'fanout' | 'topic' | 'headers'

export const EXCHANGE_TYPES: readonly ExchangeType[] = ['direct', 'fanout', 'topic', 'headers']

/** Messages of an exchange go to a queue or to another exchange. */
export interface Binding {
  readonly destination: Queue | Exchange
  readonly routingKey: string
  readonly arguments: FieldTable
}

export interface ExchangeIdentity {
  readonly name: string
  readonly type: ExchangeType
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly internal: boolean
  readonly arguments: FieldTable
}

type Matches = (binding: Binding, message: Message, release: Release) => boolean

const MATCHES: Readonly<Record<ExchangeType, Matches>> = {
  fanout: () => true,
  direct: ({ routingKey }, { routingKeys }) => routingKeys.includes(routingKey),
  topic: ({ routingKey }, { routingKeys }) => routingKeys.some(key => matchesTopic(routingKey, key)),
  headers: (binding, { headers }, release) => matchesHeaders(binding.arguments, headers, release),
}

export class Exchange implements ExchangeIdentity {
  readonly name: string
  readonly type: ExchangeType
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly internal: boolean
  readonly arguments: FieldTable
  /** The targets of its messages. */
  bindings: readonly Binding[] = []

  constructor(identity: ExchangeIdentity) {
    this.name = identity.name
    this.type = identity.type
    this.durable = identity.durable
    this.autoDelete = identity.autoDelete
    this.internal = identity.internal
    this.arguments = identity.arguments
  }

  /** The exchange that takes what no binding of this one does. */
  get alternate(): string | undefined {
    return textArgument(this.arguments, 'alternate-exchange')
  }

  /** Returns false if there is such a binding already. */
  bind(binding: Binding): boolean {
    if (this.#indexOf(binding) !== -1) return false
    this.bindings = [...this.bindings, binding]
    return true
  }

  has(binding: Binding): boolean {
    return this.#indexOf(binding) !== -1
  }

  /** Returns whether there was such a binding. */
  unbind(binding: Binding): boolean {
    const at = this.#indexOf(binding)
    if (at === -1) return false
    this.bindings = this.bindings.toSpliced(at, 1)
    return true
  }

  /** Returns whether there were bindings to `destination`. */
  unbindAll(destination: Queue | Exchange): boolean {
    const { length } = this.bindings
    this.bindings = this.bindings.filter(binding => binding.destination !== destination)
    return this.bindings.length < length
  }

  /** The destinations of a message from here, each once. */
  destinations(message: Message, release: Release): ReadonlySet<Queue | Exchange> {
    const matches = MATCHES[this.type]
    const found = new Set<Queue | Exchange>()
    for (const binding of this.bindings) if (matches(binding, message, release)) found.add(binding.destination)
    return found
  }

  #indexOf({ destination, routingKey, arguments: table }: Binding): number {
    return this.bindings.findIndex(
      other =>
        other.destination === destination && other.routingKey === routingKey && sameArguments(other.arguments, table),
    )
  }
}

/** In any order, but of the same types. */
function sameArguments(one: FieldTable, other: FieldTable): boolean {
  const [names, otherNames] = [Object.keys(one).sort(), Object.keys(other).sort()]
  return names.length === otherNames.length && tableTerm(one, names) === tableTerm(other, otherNames)
}
