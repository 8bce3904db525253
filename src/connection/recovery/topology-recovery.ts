import { ChannelClosedError, ConnectionClosedError, NoChannelAvailableError } from '../../errors.ts'
import { asError } from '../../lib/thrown.ts'
import { QueueDeclare } from '../../protocol/methods.ts'
import type { BareChannel } from './bare-channel.ts'
import { bind, declareExchange } from './declares.ts'
import { isLocked, type Patience, pauseBetween } from './patience.ts'
import type { PendingTopology } from './pending-topology.ts'
import { isGone, QueueRemaker } from './queue-remaker.ts'
import { type BindingRecord, describe, type QueueRecord, type TopologyRecord } from './records.ts'
import type { Topology } from './topology.ts'

/** Entries go out in batches of this size; between two, entities that publishes wait for are put first. */
const BATCH = 200
/** The size of the first batch after a refusal: methods after a refusal must be sent again. */
const SMALLEST_BATCH = 20
/** Refusals after which the rest of a round waits for the next: most pass together, and each costs a channel. */
const MOST_REFUSALS = 20
/** Pauses in milliseconds between rounds that nothing waits for. */
const FIRST_LATE_PAUSE = 500
const LAST_LATE_PAUSE = 10_000

/** One entry of the ledger on its way back. */
interface Entry {
  readonly record: TopologyRecord
  tries: number
  /** The error of its last refusal. */
  error: Error | undefined
  /** recoveryFailed has been emitted for it. */
  reported: boolean
  /** The broker no longer has the queue that it named: a new one must be made. */
  anew: boolean
}

/** What topology recovery needs of its connection. */
export interface TopologyPort {
  readonly patience: Patience
  /** A channel for the recovery's own calls. */
  channel(): BareChannel
  /** Rejects if the recovery was given up. */
  pause(milliseconds: number): Promise<void>
  /** Some entries are back, or nothing waits for them any longer. */
  progressed(): void
  /** `willRetry`: the entry stays in the ledger, and is tried again. */
  failed(what: string, error: Error, willRetry: boolean): void
  renamed(oldName: string, newName: string): void
  /** A queue is back that was late; or it is given up, with `error`. */
  lateQueue(queueName: string, error: Error | undefined): void
}

/**
 * Makes the ledger's entries again on one connection, pipelined: exchanges, then each queue with the bindings to it. An
 * entry that is refused is tried again, first while publishes wait for it and then, for as long as the connection lasts,
 * while they do not. It leaves the ledger only if it is there otherwise (406), or if the server closes the connection
 * over it.
 */
export class TopologyRecovery {
  readonly #topology: Topology
  readonly #pending: PendingTopology
  readonly #port: TopologyPort
  #entries: Entry[]
  /** Queues that were refused and are not given up, and why: their bindings wait. */
  readonly #refusedQueues = new Map<QueueRecord, Error>()
  readonly #remaker: QueueRemaker
  #channel: BareChannel | undefined
  /** Nothing waits for the remaining entries. */
  #isLate = false

  constructor(topology: Topology, pending: PendingTopology, port: TopologyPort) {
    this.#topology = topology
    this.#pending = pending
    this.#port = port
    this.#remaker = new QueueRemaker(topology, {
      channel: () => port.channel(),
      make: (record, channel, anew) => this.#make({ ...newEntry(record), tries: 1, anew }, channel, anew),
      lookFor: (queue, channel) => this.#lookFor(queue, channel),
      made: queue => pending.settled(queue),
    })
    const { exchanges, queues, bindings } = topology
    const byQueue = new Map<string, BindingRecord[]>()
    for (const binding of bindings) {
      const { kind, destination } = binding.definition
      const key = kind === 'queue' && topology.queue(destination) !== undefined ? destination : ''
      const same = byQueue.get(key)
      if (same === undefined) byQueue.set(key, [binding])
      else same.push(binding)
    }
    const ordered: TopologyRecord[] = [...exchanges]
    for (const binding of byQueue.get('') ?? []) ordered.push(binding)
    for (const queue of queues) ordered.push(queue, ...(byQueue.get(queue.name) ?? []))
    this.#entries = ordered.map(newEntry)
  }

  /**
   * Make all entries. Resolves once nothing waits for any that is left; `runLate` goes on with those. Rejects if the
   * connection breaks.
   */
  async run(): Promise<void> {
    try {
      for (let round = 1; this.#entries.length > 0; round++) {
        await this.#round()
        if (!this.#entries.some(({ record }) => this.#pending.isAway(record))) break
        await this.#port.pause(pauseBetween(round))
      }
      // Nothing waits for entities that the program has deleted meanwhile.
      this.#pending.clear()
    } finally {
      // Another caller may need its number.
      await this.#channel?.close()
      this.#channel = undefined
    }
  }

  /** Try the remaining entries, until all are back. Never rejects: it ends with the connection, or with the recovery. */
  async runLate(): Promise<void> {
    this.#isLate = true
    let pause = FIRST_LATE_PAUSE
    while (this.#entries.length > 0) {
      try {
        await this.#port.pause(pause)
        await this.#round()
        await this.#channel?.close()
        this.#channel = undefined
      } catch (error) {
        // Else the connection is over, and the next one makes everything again.
        if (!(error instanceof NoChannelAvailableError)) return
      }
      const someLocked = [...this.#refusedQueues.values()].some(isLocked)
      pause = someLocked ? FIRST_LATE_PAUSE : Math.min(2 * pause, LAST_LATE_PAUSE)
    }
  }

  /** Entries that are missing, and that it keeps trying to restore. */
  get left(): readonly TopologyRecord[] {
    return this.#entries.map(({ record }) => record).filter(record => this.#topology.has(record))
  }

  /** A queue that is locked, and that may be granted at any time: nothing else waits for it. */
  isLocked(queueName: string): boolean {
    const queue = this.#topology.queue(queueName)
    return queue !== undefined && isLocked(this.#refusedQueues.get(queue))
  }

  /** Make queues and their bindings again that the broker may have deleted with their last consumers. */
  async remake(queueNames: readonly string[]): Promise<void> {
    const queues = new Set(queueNames.flatMap(name => this.#topology.queue(name) ?? []))
    const missing = new Set<TopologyRecord>(this.#entries.map(({ record }) => record))
    await Promise.all(Array.from(queues, queue => (missing.has(queue) ? undefined : this.#remaker.remake(queue))))
  }

  /** Try every entry once, if not too many are refused. Those that are left are tried in the next round. */
  async #round(): Promise<void> {
    let todo = this.#entries.filter(({ record }) => this.#topology.has(record))
    for (const { record } of this.#entries) if (!this.#topology.has(record)) this.#pending.settled(record)
    let left: Entry[] = []
    const givenUp: Entry[] = []
    let size = BATCH
    let refusals = 0
    this.#entries = [...todo]
    while (todo.length > 0 && refusals < MOST_REFUSALS) {
      todo = this.#pending.wantedFirst(todo)
      const { batch, rest } = this.#nextBatch(todo, size, left)
      todo = rest
      if (batch.length === 0) break
      const { made, error } = await this.#makeBatch(batch)
      for (const entry of batch.slice(0, made)) this.#made(entry)
      const refused = batch[made]
      if (refused === undefined || error === undefined) size = Math.min(2 * size, BATCH)
      else {
        todo = [...batch.slice(made + 1), ...todo]
        size = SMALLEST_BATCH
        const verdict = this.#refused(refused, error)
        if (verdict === 'anew') todo.unshift(refused)
        else {
          if (this.#isLate || this.#port.patience.holdsUp(error)) refusals++
          if (verdict !== 'never') left.push(refused)
          if (verdict === 'givenUp') {
            // Its bindings are tried now, and a refusal is reported.
            givenUp.push(refused)
            const isOfIt = ({ record }: Entry): boolean =>
              record.kind === 'binding' && this.#destination(record) === refused.record
            todo = [...left.filter(isOfIt), ...todo]
            left = left.filter(entry => !isOfIt(entry))
          }
        }
      }
      this.#entries = [...todo, ...left]
      this.#port.progressed()
    }
    this.#entries = [...todo, ...left]
    for (const { record, error } of givenUp) {
      if (record.kind === 'queue' && isLocked(error)) this.#port.lateQueue(record.name, error)
    }
  }

  /** Bindings of a queue that was refused go to `left`. */
  #nextBatch(todo: readonly Entry[], size: number, left: Entry[]): { batch: Entry[]; rest: Entry[] } {
    const batch: Entry[] = []
    let next = 0
    let lastQueue: QueueRecord | undefined
    const unnamed = new Set<QueueRecord>()
    for (; next < todo.length && batch.length < size; next++) {
      const entry = todo[next] as Entry
      const { record } = entry
      if (record.kind === 'queue') {
        lastQueue = record
        if (this.#isMadeAnew(entry, record)) unnamed.add(record)
      } else if (record.kind === 'binding') {
        const queue = this.#destination(record)
        if (queue !== undefined && this.#refusedQueues.has(queue)) {
          left.push(entry)
          continue
        }
        // Its name is not known yet in this batch, and '' would mean another queue.
        if (queue !== undefined && unnamed.has(queue) && queue !== lastQueue) break
      }
      batch.push(entry)
    }
    return { batch, rest: todo.slice(next) }
  }

  #destination({ definition: { kind, destination } }: BindingRecord): QueueRecord | undefined {
    return kind === 'queue' ? this.#topology.queue(destination) : undefined
  }

  /** A server-named queue of this connection alone is gone; one that others may use keeps its name while it is there. */
  #isMadeAnew(entry: Entry, { definition }: QueueRecord): boolean {
    return definition.queueName === '' && (definition.exclusive || entry.anew)
  }

  /** Returns how many were declared, and the error of the next one. */
  async #makeBatch(batch: readonly Entry[]): Promise<{ readonly made: number; readonly error?: Error }> {
    this.#channel ??= this.#port.channel()
    const channel = this.#channel
    let unnamed: QueueRecord | undefined
    const results = await Promise.allSettled(
      batch.map(entry => {
        const { record } = entry
        if (record.kind === 'queue') unnamed = this.#isMadeAnew(entry, record) ? record : undefined
        const isOfLast = record.kind === 'binding' && unnamed !== undefined && this.#destination(record) === unnamed
        return this.#make(entry, channel, isOfLast)
      }),
    )
    // RabbitMQ does them in order: the first that failed is the one it refused, those after it were not looked at.
    const made = results.findIndex(({ status }) => status === 'rejected')
    const result = results[made]
    if (result?.status !== 'rejected') return { made: batch.length }
    this.#channel = undefined
    return { made, error: asError(result.reason) }
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
    const { queueName: given, durable, exclusive, autoDelete, arguments: args } = queue.definition
    if (given === '' && !this.#isMadeAnew(entry, queue)) {
      await this.#lookFor(queue, channel)
      return
    }
    const queueName = given === '' ? '' : queue.name
    const sent = { queueName, durable, exclusive, autoDelete, arguments: args }
    const reply = await channel.call(QueueDeclare, sent, `queue.declare of "${queue.name}"`)
    const oldName = queue.name
    if (reply === undefined || reply.queue === oldName || !this.#topology.has(queue)) return
    this.#topology.renamed(queue, reply.queue)
    this.#port.renamed(oldName, reply.queue)
  }

  /** RabbitMQ lets no client declare a name that it reserves, but a passive declare says whether it is there. */
  async #lookFor({ name }: QueueRecord, channel: BareChannel): Promise<void> {
    await channel.call(QueueDeclare, { queueName: name, passive: true }, `queue.declare of "${name}"`)
  }

  #made({ record, error }: Entry): void {
    this.#pending.settled(record)
    if (record.kind !== 'queue') return
    this.#refusedQueues.delete(record)
    if (this.#isLate && error !== undefined) this.#port.lateQueue(record.name, undefined)
  }

  /** What becomes of an entry that was refused. */
  #refused(entry: Entry, error: Error): 'later' | 'anew' | 'never' | 'givenUp' {
    const { record } = entry
    const { patience } = this.#port
    if (!(error instanceof ChannelClosedError) || error.replyCode === undefined) {
      // The server closed the connection over it: the next attempt leaves it out.
      if (error instanceof ConnectionClosedError && error.classId !== 0) {
        this.#topology.forgetWithBindings(record)
        this.#port.failed(describe(record), error, false)
      }
      throw error
    }
    entry.tries++
    if (error.replyCode === 406) {
      this.#pending.settled(record)
      this.#topology.forget(record)
      this.#port.failed(describe(record), error, false)
      return 'never'
    }
    if (record.kind === 'queue' && isGone(record, error) && !entry.anew) {
      entry.anew = true
      return 'anew'
    }
    entry.error = error
    if (record.kind === 'queue' && !entry.reported) this.#refusedQueues.set(record, error)
    if (!patience.holdsUp(error)) this.#holdUpNoLonger(record)
    if (!patience.lasts(error) && !entry.reported) {
      entry.reported = true
      this.#port.failed(describe(record), error, true)
      if (record.kind === 'queue' && this.#refusedQueues.delete(record)) return 'givenUp'
    }
    return 'later'
  }

  #holdUpNoLonger(record: TopologyRecord): void {
    this.#pending.settled(record)
    if (record.kind !== 'queue') return
    for (const binding of this.#topology.bindingsTo(record.name)) this.#pending.settled(binding)
  }
}

function newEntry(record: TopologyRecord): Entry {
  return { record, tries: 0, error: undefined, reported: false, anew: false }
}
