import { type FieldTable, type FieldValue, int64, isPlainObject } from '../protocol/values.ts'
import { changed, Message } from './message.ts'
import type { DeathReason, Queue } from './queue.ts'
import type { Release } from './release.ts'

/** One death of a message, as `x-death` has it; later ones in the same queue for the same reason only count up. */
interface Death extends FieldTable {
  count: FieldValue
  readonly reason: string
  readonly queue: string
}

/** The message that goes to `exchange`, with the story of its deaths. */
export function deadMessage(
  message: Message,
  reason: DeathReason,
  queue: Queue,
  exchange: string,
  routingKey: string | undefined,
  failures: number,
  date: number,
  release: Release,
): Message {
  const { expiration } = message.properties
  const ownKeys = release.deathsTellAllKeys ? message.toldKeys : [message.routingKey, ...message.copies]
  const properties = changed(message.properties, headers => {
    const written = message.died || release.takesPublishedDeaths ? headers['x-death'] : undefined
    const deaths = deathsOf(written)
    const known = deaths.find(death => death.queue === queue.name && death.reason === reason)
    const original: FieldTable = expiration === undefined ? {} : { 'original-expiration': expiration }
    const death: Death = known ?? {
      ...(release.expirationFirst ? original : {}),
      count: int64(0),
      reason,
      queue: queue.name,
      time: new Date(date),
      exchange: message.exchange,
      'routing-keys': [...ownKeys],
      ...(release.expirationFirst ? {} : original),
    }
    // A publisher may have written anything.
    const count = typeof death.count === 'number' || typeof death.count === 'bigint' ? Number(death.count) : 0
    death.count = int64(Number.isSafeInteger(count) ? count + 1 : 1)
    const last = Array.isArray(written) && release.sortsLaterDeaths ? sorted(death) : death
    headers['x-death'] = [last, ...deaths.filter(other => other !== death)]
    if (written === undefined) Object.assign(headers, named('first', reason, queue, message))
    if (release.lastDeath) Object.assign(headers, named('last', reason, queue, message))
    if (routingKey !== undefined && !release.keepsCopies) delete headers['CC']
  })
  const { expiration: _, ...kept } = properties
  const keys = routingKey === undefined ? message.routingKeys : [routingKey]
  const carried = release.carriesFailures ? failures : 0
  return new Message(exchange, keys, message.blindKeys, kept, message.body, message.received, true, carried)
}

function sorted(death: Death): Death {
  const entries = Object.entries(death).sort(([one], [other]) => (one < other ? -1 : 1))
  return Object.fromEntries(entries) as Death
}

function named(which: 'first' | 'last', reason: DeathReason, queue: Queue, message: Message): FieldTable {
  return {
    [`x-${which}-death-reason`]: reason,
    [`x-${which}-death-queue`]: queue.name,
    [`x-${which}-death-exchange`]: message.exchange,
  }
}

export function deathsOf(deaths: FieldValue | undefined): readonly Death[] {
  return Array.isArray(deaths) ? (deaths as readonly FieldValue[]).filter(isDeath) : []
}

function isDeath(value: FieldValue): value is Death {
  return isPlainObject(value)
}

/** Whether a message that died has been in `queue` before, and no consumer rejected it since: it would go round for ever. */
export function isCycle(message: Message, queue: Queue): boolean {
  const deaths = deathsOf(message.headers['x-death'])
  const at = deaths.findIndex(death => death.queue === queue.name)
  return at !== -1 && deaths.slice(0, at + 1).every(death => death.reason !== 'rejected')
}
