import type { PublishRoutes } from '../../channel/publish-routes.ts'
import type { TopologyRecord } from './records.ts'
import type { Topology } from './topology.ts'

/**
 * The entries of the ledger that are missing while a connection is recovered. A publish waits for its exchange, for every
 * binding from it and from the exchanges that it leads to, and on the default exchange for its queue; entities that
 * publishes wait for are declared first.
 */
export class PendingTopology implements PublishRoutes {
  /** A plain field, since it is read for every publish. */
  plain = true
  readonly #topology: Topology
  readonly #away = new Set<TopologyRecord>()
  /** Bindings that are away, by their source. */
  readonly #awayFrom = new Map<string, number>()
  readonly #wantedExchanges = new Set<string>()
  readonly #wantedQueues = new Set<string>()

  constructor(topology: Topology) {
    this.#topology = topology
  }

  /** The connection is lost: everything is away. */
  lost(): void {
    this.clear()
    const { exchanges, queues, bindings } = this.#topology
    for (const record of [...exchanges, ...queues, ...bindings]) this.#away.add(record)
    for (const { definition } of bindings) this.#count(definition.source, 1)
    this.#look()
  }

  #look(): void {
    this.plain = this.#away.size === 0 && !this.#topology.hasRenamed
  }

  #count(source: string, change: 1 | -1): void {
    const count = (this.#awayFrom.get(source) ?? 0) + change
    if (count > 0) this.#awayFrom.set(source, count)
    else this.#awayFrom.delete(source)
  }

  /** It is back, or no publish waits for it any longer. */
  settled(record: TopologyRecord): void {
    if (this.#away.delete(record) && record.kind === 'binding') this.#count(record.definition.source, -1)
    if (this.#away.size === 0) this.clear()
  }

  /** Nothing is waited for any longer. */
  clear(): void {
    this.#away.clear()
    this.#awayFrom.clear()
    this.#wantedExchanges.clear()
    this.#wantedQueues.clear()
    this.#look()
  }

  isAway(record: TopologyRecord): boolean {
    return this.#away.has(record)
  }

  queueIsBack(queueName: string): boolean {
    const queue = this.#topology.queue(queueName)
    return queue === undefined || !this.#away.has(queue)
  }

  // ---- publishes

  isBack(exchangeName: string, routingKey: string): boolean {
    if (this.#away.size === 0) return true
    if (exchangeName === '') {
      const isBack = this.queueIsBack(routingKey)
      if (!isBack) this.#wantedQueues.add(this.#topology.currentName(routingKey))
      return isBack
    }
    let isBack = true
    const reached = new Set([exchangeName])
    for (const source of reached) {
      if (!this.#exchangeIsBack(source) || this.#awayFrom.has(source)) {
        isBack = false
        this.#wantedExchanges.add(source)
      }
      for (const destination of this.#topology.exchangesBehind(source)) reached.add(destination)
    }
    return isBack
  }

  areBack(names: readonly string[]): boolean {
    return this.#away.size === 0 || names.every(name => this.queueIsBack(name) && this.#exchangeIsBack(name))
  }

  #exchangeIsBack(exchangeName: string): boolean {
    const exchange = this.#topology.exchange(exchangeName)
    return exchange === undefined || !this.#away.has(exchange)
  }

  routingKey(exchangeName: string, routingKey: string): string {
    return exchangeName === '' ? this.#topology.currentName(routingKey) : routingKey
  }

  // ---- what goes first

  get somethingWanted(): boolean {
    return this.#wantedExchanges.size > 0 || this.#wantedQueues.size > 0
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
    if (record.kind === 'exchange') return this.#wantedExchanges.has(record.definition.exchangeName)
    if (record.kind === 'binding') return this.#wantedExchanges.has(record.definition.source)
    return (
      this.#wantedQueues.has(record.name) ||
      this.#topology.bindingsTo(record.name).some(({ definition }) => this.#wantedExchanges.has(definition.source))
    )
  }
}
