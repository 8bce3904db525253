import { channelOf, type LifecycleEventName, type LifecycleEvents } from './lifecycle-events.ts'
import type { EndpointSource } from './server-context.ts'

/** What lifecycle events are reported to. */
export interface LifecycleSink {
  /** `name` has happened, as `details` say. `tell` gives it to the program, as an event of one of its objects. */
  occurred<N extends LifecycleEventName>(name: N, details: LifecycleEvents[N], tell?: () => void): void
}

/** Reports what happens to one connection of a program. Call it when a change of state is complete: it runs the program's code. */
export class LifecycleReporter implements LifecycleSink {
  readonly #source: EndpointSource

  constructor(source: EndpointSource) {
    this.#source = source
  }

  occurred<N extends LifecycleEventName>(name: N, details: LifecycleEvents[N], tell?: () => void): void {
    const channel = channelOf(name)
    // Node keeps what a subscriber throws from us: it becomes an uncaught exception.
    if (channel.hasSubscribers) channel.publish({ ...this.#source.endpoint, ...details })
    tell?.()
  }
}
