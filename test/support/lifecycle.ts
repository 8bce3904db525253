import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { after } from 'node:test'
import type { LifecycleEvent, LifecycleEventName } from '../../src/index.ts'

/** All events, by their names. Complete by its type. */
export const LIFECYCLE_EVENTS = Object.keys({
  'connection.connecting': 0,
  'connection.opened': 0,
  'connection.lost': 0,
  'connection.recovering': 0,
  'connection.recovery_attempt_failed': 0,
  'connection.recovered': 0,
  'connection.recovery_failed': 0,
  'entity.recovery_failed': 0,
  'queue.renamed': 0,
  'connection.blocked': 0,
  'connection.unblocked': 0,
  'connection.closed': 0,
  'publisher.resent': 0,
  'consumer.cancelled': 0,
  'consumer.resumed': 0,
  'consumer.given_up': 0,
  'consumer.slow_handlers': 0,
  'channel.closed': 0,
} satisfies Record<LifecycleEventName, 0>) as LifecycleEventName[]

/** What the diagnostics channels of all lifecycle events carry for one connection name, until the tests of the file are over. */
export class SeenLifecycle {
  readonly all: { readonly name: LifecycleEventName; readonly event: unknown }[] = []

  constructor(connectionName: string) {
    for (const name of LIFECYCLE_EVENTS) {
      const seen = (message: unknown): void => {
        const { connectionName: from } = message as LifecycleEvent<LifecycleEventName>
        if (from === connectionName) this.all.push({ name, event: message })
      }
      subscribe(`asyncamqp:${name}`, seen)
      after(() => void unsubscribe(`asyncamqp:${name}`, seen))
    }
  }

  get names(): LifecycleEventName[] {
    return this.all.map(({ name }) => name)
  }

  /** The events of one name. */
  of<N extends LifecycleEventName>(name: N): LifecycleEvent<N>[] {
    return this.all.flatMap(seen => (seen.name === name ? [seen.event as LifecycleEvent<N>] : []))
  }
}
