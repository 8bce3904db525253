import { isOfNodeDown } from '../../channel/rabbitmq.ts'
import { ChannelClosedError, ConnectionClosedError, NoChannelAvailableError } from '../../errors.ts'
import { ignore } from '../../lib/ignore.ts'
import type { BareChannel } from './bare-channel.ts'
import { Declares, type Entry, isServerNamed, newEntry } from './declares.ts'
import { isLocked, type Patience, pauseBetween } from './patience.ts'
import type { PendingTopology } from './pending-topology.ts'
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
  /** The rounds so far. */
  #rounds: Promise<void> = Promise.resolve()
  readonly #declares: Declares
  /** Once it is late, nothing waits for the remaining entries; `tryingLate` while those are tried on. */
  #state: 'early' | 'late' | 'tryingLate' = 'early'

  constructor(topology: Topology, pending: PendingTopology, port: TopologyPort) {
    this.#topology = topology
    this.#pending = pending
    this.#port = port
    this.#declares = new Declares(topology, port)
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
    // A server-named queue of the lost connection alone went with it; one that others may use keeps its name while it is there.
    this.#entries = ordered.map(record =>
      newEntry(record, record.kind === 'queue' && isServerNamed(record) && record.definition.exclusive),
    )
  }

  /**
   * Make all entries. Resolves once nothing waits for any that is left; `runLate` goes on with those. Rejects if the
   * connection breaks.
   */
  async run(): Promise<void> {
    for (let round = 1; this.#entries.length > 0; round++) {
      await this.#round()
      if (!this.#entries.some(({ record }) => this.#pending.isAway(record))) break
      await this.#port.pause(pauseBetween(round))
    }
    // Nothing waits for entities that the program has deleted meanwhile.
    this.#pending.clear()
  }

  /** Try the remaining entries, until all are back. Never rejects: it ends with the connection, or with the recovery. */
  async runLate(): Promise<void> {
    if (this.#state === 'tryingLate') return
    this.#state = 'tryingLate'
    let pause = FIRST_LATE_PAUSE
    while (this.#entries.length > 0) {
      try {
        await this.#port.pause(pause)
        await this.#round()
      } catch (error) {
        // Else the connection is over, and the next one makes everything again.
        if (!(error instanceof NoChannelAvailableError)) return
      }
      const someLocked = [...this.#refusedQueues.values()].some(isLocked)
      pause = someLocked ? FIRST_LATE_PAUSE : Math.min(2 * pause, LAST_LATE_PAUSE)
    }
    this.#state = 'late'
  }

  get #isLate(): boolean {
    return this.#state !== 'early'
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

  /**
   * Make queues again that the broker may have deleted with their last consumers, and what it deletes with them. Resolves when
   * each has been tried once; what is refused is tried on like all else.
   */
  async remake(queueNames: readonly string[]): Promise<void> {
    const queues = new Set(queueNames.flatMap(name => this.#topology.queue(name) ?? []))
    await this.#round(() => {
      const missing = new Set(this.#entries.map(({ record }) => record))
      const again = new Set<TopologyRecord>()
      for (const queue of queues) {
        if (!queue.recovers || missing.has(queue)) continue
        for (const record of [queue, ...this.#topology.bindingsEndingWith(queue)]) again.add(record)
      }
      const entries = [...again].filter(record => !missing.has(record)).map(record => newEntry(record, false, 1))
      this.#entries = [...entries, ...this.#entries]
    })
    if (this.#isLate) void this.runLate()
  }

  /** Try every entry once, also what `prepare` adds, when the rounds before are over. */
  #round(prepare: () => void = ignore): Promise<void> {
    const round = this.#rounds.then(async () => {
      prepare()
      try {
        await this.#tryAll()
      } finally {
        // Another caller may need its number.
        await this.#declares.close()
      }
    })
    this.#rounds = round.catch(ignore)
    return round
  }

  /** If not too many are refused. Those that are left are tried in the next round. */
  async #tryAll(): Promise<void> {
    let todo = this.#entries
    let left: Entry[] = []
    const givenUp: Entry[] = []
    let size = BATCH
    let refusals = 0
    while (todo.length > 0 && refusals < MOST_REFUSALS) {
      todo = this.#pending.wantedFirst(todo)
      const { batch, rest } = this.#nextBatch(todo, size, left)
      todo = rest
      if (batch.length === 0) break
      const { made, error } = await this.#declares.make(batch)
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
              record.kind === 'binding' && this.#topology.destination(record) === refused.record
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
    const later: Entry[] = []
    let next = 0
    let lastQueue: QueueRecord | undefined
    const unnamed = new Set<QueueRecord>()
    for (; next < todo.length && batch.length < size; next++) {
      const entry = todo[next] as Entry
      const { record } = entry
      if (!this.#topology.has(record)) {
        // The program has deleted it meanwhile.
        this.#pending.settled(record)
        continue
      }
      if (record.kind === 'queue') {
        lastQueue = record
        if (entry.anew) unnamed.add(record)
      } else if (record.kind === 'binding') {
        const queue = this.#topology.destination(record)
        if (queue !== undefined && this.#refusedQueues.has(queue)) {
          left.push(entry)
          continue
        }
        // Its name is not known yet in this batch. '' would mean another queue, or with a key of '' its name for the key, too.
        if (queue !== undefined && unnamed.has(queue) && (queue !== lastQueue || record.definition.routingKey === '')) {
          later.push(entry)
          continue
        }
      }
      batch.push(entry)
    }
    return { batch, rest: [...later, ...todo.slice(next)] }
  }

  #made({ record, error }: Entry): void {
    this.#pending.settled(record)
    if (record.kind !== 'queue') return
    // A declare renews the lease of a queue that expires.
    this.#topology.queueUsed(record.name)
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
    if (record.kind === 'queue' && isServerNamed(record) && isGone(error) && !entry.anew) {
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

/** The broker does not have it, and will not. */
function isGone(error: ChannelClosedError): boolean {
  return error.replyCode === 404 && !isOfNodeDown(error)
}
