import type { PublishRoutes } from '../../channel/publish-routes.ts'
import type { TopologyRecord } from './records.ts'
import type { Topology } from './topology.ts'

/** What is away, and what publishes wait for. */
interface Missing {
  readonly entries: Set<TopologyRecord>
  /** Numbers of bindings that are away, by their source. */
  readonly bindingsFrom: Map<string, number>
  readonly wantedExchanges: Set<string>
  readonly wantedQueues: Set<string>
}

/**
 * The entries of the ledger that are missing while a connection is recovered. A publish waits for its exchange, for every
 * binding from it and from the exchanges that it leads to, and on the default exchange for its queue; entities that
 * publishes wait for are declared first.
 */
export class PendingTopology implements PublishRoutes {
  /** A plain field, since it is read for every publish. */
  plain = true
  readonly #topology: Topology
  /** Undefined if nothing is: a connection that was never lost keeps none of it. */
  #missing: Missing | undefined

  constructor(topology: Topology) {
    this.#topology = topology
  }

  /** The connection is lost: everything is away. */
  lost(): void {
    this.clear()
    const { exchanges, queues, bindings } = this.#topology
    const entries = new Set<TopologyRecord>([...exchanges, ...queues, ...bindings])
    if (entries.size === 0) return
    const bindingsFrom = new Map<string, number>()
    for (const { definition } of bindings) count(bindingsFrom, definition.source, 1)
    this.#missing = { entries, bindingsFrom, wantedExchanges: new Set(), wantedQueues: new Set() }
    this.plain = false
  }

  /** It is back, or no publish waits for it any longer. */
  settled(record: TopologyRecord): void {
    const missing = this.#missing
    if (missing?.entries.delete(record) && record.kind === 'binding') {
      count(missing.bindingsFrom, record.definition.source, -1)
    }
    if (missing === undefined || missing.entries.size === 0) this.clear()
  }

  /** Nothing is waited for any longer. */
  clear(): void {
    this.#missing = undefined
    this.plain = !this.#topology.hasRenamed
  }

  isAway(record: TopologyRecord): boolean {
    return this.#missing?.entries.has(record) === true
  }

  queueIsBack(queueName: string): boolean {
    const queue = this.#topology.queue(queueName)
    return queue === undefined || !this.isAway(queue)
  }

  // ---- publishes

  isBack(exchangeName: string, routingKey: string): boolean {
    const missing = this.#missing
    if (missing === undefined) return true
    if (exchangeName === '') {
      const isBack = this.queueIsBack(routingKey)
      if (!isBack) missing.wantedQueues.add(this.#topology.currentName(routingKey))
      return isBack
    }
    let isBack = true
    const reached = new Set([exchangeName])
    for (const source of reached) {
      if (!this.#exchangeIsBack(source) || missing.bindingsFrom.has(source)) {
        isBack = false
        missing.wantedExchanges.add(source)
      }
      for (const destination of this.#topology.exchangesBehind(source)) reached.add(destination)
    }
    return isBack
  }

  areBack(names: readonly string[]): boolean {
    return this.#missing === undefined || names.every(name => this.queueIsBack(name) && this.#exchangeIsBack(name))
  }

  #exchangeIsBack(exchangeName: string): boolean {
    const exchange = this.#topology.exchange(exchangeName)
    return exchange === undefined || !this.isAway(exchange)
  }

  routingKey(exchangeName: string, routingKey: string): string {
    return exchangeName === '' ? this.#topology.currentName(routingKey) : routingKey
  }

  // ---- what goes first

  get somethingWanted(): boolean {
    const missing = this.#missing
    return missing !== undefined && (missing.wantedExchanges.size > 0 || missing.wantedQueues.size > 0)
  }

  /** The same entries, those first that publishes wait for. */
  wantedFirst<E extends { readonly record: TopologyRecord }>(entries: E[]): E[] {
    if (!this.somethingWanted) return entries
    const wanted: E[] = []
    const others: E[] = []
    for (const entry of entries) (this.isWanted(entry.record) ? wanted : others).push(entry)
    return [...wanted, ...others]
  }

  /** Whether a publish waits for this. */
  isWanted(record: TopologyRecord): boolean {
    const missing = this.#missing
    if (missing === undefined) return false
    const { wantedExchanges, wantedQueues } = missing
    if (record.kind === 'exchange') return wantedExchanges.has(record.definition.exchangeName)
    if (record.kind === 'binding') return wantedExchanges.has(record.definition.source)
    return (
      wantedQueues.has(record.name) ||
      this.#topology.bindingsTo(record.name).some(({ definition }) => wantedExchanges.has(definition.source))
    )
  }
}

function count(numbers: Map<string, number>, source: string, change: 1 | -1): void {
  const number = (numbers.get(source) ?? 0) + change
  if (number > 0) numbers.set(source, number)
  else numbers.delete(source)
}
