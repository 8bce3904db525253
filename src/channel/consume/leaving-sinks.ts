import type { DeliverySink } from './delivery-sink.ts'

/** The sink of a consumer that has ended. */
interface Leaving {
  readonly channel: object
  readonly sink: DeliverySink
}

/**
 * Sinks of consumers that have ended, as long as their callbacks run or messages without acks wait for them: a graceful
 * close waits for that, and after a close by the program no callback starts. They may outlive their channels.
 */
export class LeavingSinks {
  /** Made for the first. */
  #leaving: Set<Leaving> | undefined

  /** `sink`, of a consumer of `channel`, gets no more than what came in this read. */
  async add(channel: object, sink: DeliverySink): Promise<void> {
    const leaving = { channel, sink }
    this.#leaving ??= new Set()
    this.#leaving.add(leaving)
    // It gets that at the end of the read.
    await undefined
    await sink.idle()
    this.#leaving?.delete(leaving)
  }

  /** Resolves when none of their callbacks runs, and none will. */
  async idle(): Promise<void> {
    await Promise.all(Array.from(this.#leaving ?? [], ({ sink }) => sink.idle()))
  }

  /** The program has closed `channel`, or all of them: no callback starts any more, and no close waits for one that runs. */
  discard(channel?: object): void {
    for (const leaving of this.#leaving ?? []) {
      if (channel !== undefined && leaving.channel !== channel) continue
      this.#leaving?.delete(leaving)
      leaving.sink.discard()
    }
  }
}
