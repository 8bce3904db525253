import type { Journal } from './journal.ts'
import { isByKey, NOWHERE } from './names.ts'

/** What the broker knows at the end of a history. */
export interface Evidence {
  /** Ids of all messages that ever reached the broker, in that order; what was sent twice is in it twice. */
  readonly arrived: readonly string[]
  /** Ids in the queues at the end, by queue. */
  readonly queued: ReadonlyMap<string, readonly string[]>
  /** Messages that somebody has and has not settled, by queue. */
  readonly unacked: ReadonlyMap<string, number>
  /** What each consumer looks like, by queue, in order. */
  readonly consumers: ReadonlyMap<string, readonly string[]>
  /** `queue NAME`, `exchange NAME`, `binding QUEUE KEY` of each binding of the programs' exchange, and all other bindings, with what they look like. */
  readonly entities: ReadonlyMap<string, string>
  /** The place of a stream at which each consumer asked to begin, by its tag. */
  readonly places: readonly (readonly [tag: string, place: unknown])[]
  /** When the bytes of each message that reached the broker were written last. */
  readonly written: ReadonlyMap<string, number>
  /** How often the broker closed a channel over a settlement of what was settled. */
  readonly unknownTags: number
  /** Ids that came twice over one connection, though the broker had closed no channel in between. */
  readonly doubled: ReadonlySet<string>
  /** Ids that the broker answered with a nack, and did not take. */
  readonly nacked: ReadonlySet<string>
  /** The broker lost confirmed messages, as a killed one may. */
  readonly forgot: ReadonlySet<string>
}

/** Everything that is wrong with a history. Written from what the README promises. */
export function judge(journal: Journal, evidence: Evidence, isSlowReader: boolean): string[] {
  const wrong = [...journal.violations]
  const arrived = new Set(evidence.arrived)
  const { nacked } = evidence
  const queued = new Set([...evidence.queued.values()].flat())
  const seen = new Set(journal.handled.map(({ id }) => id))
  const withoutAcks = journal.consumers.filter(({ way }) => way === 'no-ack').map(({ queue }) => queue)
  const lossy = new Set([...withoutAcks, ...journal.lostGets])
  for (const { id, way, outcome, queue, ended } of journal.published.values()) {
    const there = queued.has(id) || seen.has(id) || journal.settled.has(id)
    const mayBeLost = lossy.has(queue) || (isByKey(queue) && lossy.size > 0) || evidence.forgot.has(id)
    if (outcome === 'ok' && way !== 'plain' && !there && !mayBeLost) wrong.push(`${id} was confirmed and is lost`)
    if (outcome === 'ok' && queue === NOWHERE) wrong.push(`${id} was confirmed, though no queue took it`)
    if (outcome === 'rolled back' && there) wrong.push(`${id} was rolled back, and is there`)
    if (outcome === 'notSent' && arrived.has(id)) wrong.push(`${id} was told as not sent, and arrived`)
    const written = evidence.written.get(id)
    if (ended !== undefined && written !== undefined && written > ended)
      wrong.push(`${id} was written ${written - ended} ms after its publish had ended with "${outcome}"`)
    if (outcome === 'refused' && there) wrong.push(`${id} was told as refused, and is there`)
    // A nack takes no message, and a transaction may be rolled back.
    const taken =
      arrived.has(id) &&
      !nacked.has(id) &&
      way !== 'transaction' &&
      way !== 'unit' &&
      queue !== NOWHERE &&
      !isByKey(queue)
    if (taken && !mayBeLost && !queued.has(id) && !journal.settled.has(id)) {
      wrong.push(`${id} left its queue, and ${seen.has(id) ? 'who had it did not settle it' : 'no program had it'}`)
    }
  }
  if (evidence.unknownTags > 0) wrong.push(`${evidence.unknownTags} settlements were of what was settled before`)
  for (const unit of journal.units) {
    const [one, other] = unit.map(({ id, queue }) => {
      // A nack of one of them is a commit of the others, as the broker says.
      const mayBeLost = lossy.has(queue) || evidence.forgot.has(id) || nacked.has(id)
      return mayBeLost ? undefined : queued.has(id) || seen.has(id) || journal.settled.has(id)
    })
    if (one === undefined || other === undefined || one === other) continue
    wrong.push(`of ${unit.map(({ id }) => id).join(' and ')}, which are one transaction, only one is there`)
  }
  // A client that has its hands full may give a channel up that was opened long ago.
  for (const id of isSlowReader ? [] : evidence.doubled)
    if (journal.published.has(id)) wrong.push(`${id} was sent twice, for nothing`)
  wrong.push(...outOfOrder(journal, evidence.arrived))
  wrong.push(...handledOutOfOrder(journal, evidence.arrived))
  for (const error of journal.thrown)
    if (!journal.reported.has(error)) wrong.push(`a handler threw "${error.message}", and that was not reported`)
  for (const what of journal.pending) wrong.push(`${what} never ended`)
  return wrong
}

/** What one publisher sends to one queue first arrives in that order. */
function outOfOrder(journal: Journal, arrived: readonly string[]): string[] {
  const wrong: string[] = []
  const last = new Map<string, number>()
  const had = new Set<string>()
  for (const id of arrived) {
    const published = journal.published.get(id)
    if (published === undefined || had.has(id) || published.way === 'transaction' || published.way === 'unit') continue
    had.add(id)
    const stream = `${published.client} ${published.way} ${published.publisher} ${published.queue}`
    const before = last.get(stream) ?? 0
    if (published.sequence < before) wrong.push(`${id} arrived after number ${before} of its publisher`)
    last.set(stream, Math.max(before, published.sequence))
  }
  return wrong
}

/** A consumer gets what one publisher sent to its queue in that order, but for what comes again. */
function handledOutOfOrder(journal: Journal, arrived: readonly string[]): string[] {
  const wrong: string[] = []
  const had = new Set<string>()
  const twice = new Set<string>()
  for (const id of arrived) {
    if (had.has(id)) twice.add(id)
    had.add(id)
  }
  const last = new Map<string, number>()
  for (const { id, consumer, taker, redelivered } of journal.handled) {
    const published = journal.published.get(id)
    if (published === undefined || redelivered || twice.has(id) || isByKey(published.queue)) continue
    // Transactions of one way run beside each other.
    if (published.way === 'transaction' || published.way === 'unit') continue
    const stream = `${consumer} ${taker} ${published.client} ${published.way} ${published.publisher} ${published.queue}`
    const before = last.get(stream) ?? 0
    if (published.sequence < before)
      wrong.push(`consumer ${consumer} got ${id} after number ${before} of its publisher`)
    last.set(stream, Math.max(before, published.sequence))
  }
  return wrong
}
