import { propertiesOf } from '../content.ts'
import { bodyOf, STREAM } from '../names.ts'
import type { Desk, StepOf } from './desk.ts'

/** A stream: what was appended is read from the first message on. */
export class Stream {
  readonly #desk: Desk

  constructor(desk: Desk) {
    this.#desk = desk
  }

  append(count: number): void {
    const { protocol, journal, number } = this.#desk
    if (protocol === undefined) return
    for (let n = 0; n < count; n++) {
      const published = journal.publishing(number, 'protocol', STREAM)
      const sent = protocol.publish(bodyOf(published.id, 10), '', STREAM, propertiesOf(published.id))
      sent.then(
        () => {
          published.outcome = 'ok'
        },
        error => journal.failed(published, error),
      )
      this.#desk.forget(`publish ${published.id}`, sent)
    }
  }

  /** Read the stream from its first message on. */
  async read({ prefetch }: StepOf<'read stream'>): Promise<void> {
    const { protocol, journal } = this.#desk
    if (protocol === undefined) return
    const consuming = journal.consuming('stream', STREAM, prefetch, prefetch)
    const consumer = await protocol.consumer(
      STREAM,
      message => journal.seen(consuming, this.#desk.idOf(message.body, message.properties), false),
      { prefetchCount: prefetch, arguments: { 'x-stream-offset': 'first' } },
    )
    consumer.once('closed', () => {
      consuming.closed = true
    })
    this.#desk.runs(protocol, { consuming, takesAll: false, stop: () => consumer.close() })
  }
}
