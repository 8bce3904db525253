import type { Journal } from './journal.ts'

/** What the broker knows at the end of a history. */
export interface Evidence {
  /** Ids of all messages that ever reached the broker, in that order; what was sent twice is in it twice. */
  readonly arrived: readonly string[]
  /** Ids in the queues at the end, by queue. */
  readonly queued: ReadonlyMap<string, readonly string[]>
  /** `queue key` of each binding to the programs' exchange. */
  readonly bindings: ReadonlySet<string>
  /** Ids that the broker answered with a nack, and did not take. */
  readonly nacked: ReadonlySet<string>
  /** The broker lost what it had confirmed, as a killed one may. */
  readonly forgot: ReadonlySet<string>
}

/** Everything that is wrong with a history. Written from what the README promises. */
export function judge(journal: Journal, evidence: Evidence): string[] {
  const wrong = [...journal.violations]
  const arrived = new Set(evidence.arrived)
  const { nacked } = evidence
  const queued = new Set([...evidence.queued.values()].flat())
  const seen = new Set(journal.handled.map(({ id }) => id))
  const lossy = new Set(journal.consumers.filter(({ way }) => way === 'no-ack').map(({ queue }) => queue))
  for (const { id, way, outcome, queue } of journal.published.values()) {
    const there = queued.has(id) || seen.has(id) || journal.settled.has(id)
    const mayBeLost = lossy.has(queue) || evidence.forgot.has(id)
    if (outcome === 'ok' && way !== 'plain' && !there && !mayBeLost) wrong.push(`${id} was confirmed and is lost`)
    if (outcome === 'notSent' && arrived.has(id)) wrong.push(`${id} was told as not sent, and arrived`)
    if (outcome === 'refused' && there) wrong.push(`${id} was told as refused, and is there`)
    // A nack takes no message, and a transaction may be rolled back.
    const taken = arrived.has(id) && !nacked.has(id) && way !== 'transaction'
    if (taken && !mayBeLost && !queued.has(id) && !journal.settled.has(id)) {
      wrong.push(`${id} left its queue, and ${seen.has(id) ? 'who had it did not settle it' : 'no program had it'}`)
    }
  }
  wrong.push(...outOfOrder(journal, evidence.arrived))
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
    if (published === undefined || had.has(id) || published.way === 'transaction') continue
    had.add(id)
    const stream = `${published.client} ${published.way} ${published.queue}`
    const before = last.get(stream) ?? 0
    if (published.sequence < before) wrong.push(`${id} arrived after number ${before} of its publisher`)
    last.set(stream, Math.max(before, published.sequence))
  }
  return wrong
}
