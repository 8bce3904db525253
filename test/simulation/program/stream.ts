import type { AmqpProtocol, BasicProperties, Channel, Envelope, GetEnvelope, Message } from '../../../src/index.ts'
import { propertiesOf } from '../content.ts'
import type { Consuming } from '../journal.ts'
import { bodyOf, STREAM } from '../names.ts'
import type { Desk, StepOf } from './desk.ts'
import { StreamReading } from './stream-reading.ts'

const FROM_FIRST = { 'x-stream-offset': 'first' } as const
/** Messages that one ack settles, at most. */
const MOST_AT_ONCE = 4

/** A stream: what was appended is read from the first message on. */
export class Stream {
  readonly #desk: Desk
  readonly #readings: { readonly number: number; readonly reading: StreamReading }[] = []

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** What came of the stream that should not have come, unless the broker forgot some of it. */
  get wrong(): string[] {
    return this.#readings.flatMap(({ number, reading }) => reading.wrong.map(what => `consumer ${number}: ${what}`))
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
  async read(step: StepOf<'read stream'>): Promise<void> {
    const { protocol, journal } = this.#desk
    if (protocol === undefined) return
    const consuming = journal.consuming('stream', STREAM, step.prefetch, step.prefetch)
    const reading = new StreamReading()
    this.#readings.push({ number: consuming.number, reading })
    if (step.multiple) await this.#readOnChannel(protocol, consuming, reading, step)
    else await this.#readWithHandler(protocol, consuming, reading, step)
  }

  /** What fails is handled again, later than what comes after it. */
  async #readWithHandler(
    protocol: AmqpProtocol,
    consuming: Consuming,
    reading: StreamReading,
    { prefetch, failEvery }: StepOf<'read stream'>,
  ): Promise<void> {
    let count = 0
    const handler = (message: Message): void => {
      const { body, properties, envelope } = message
      const offset = this.#see(consuming, reading, body, properties, envelope)
      if (failEvery > 0 && !envelope.isRedeliver && ++count % failEvery === 0) throw new Error('no use for it yet')
      reading.settled(offset, false)
    }
    const options = { prefetchCount: prefetch, arguments: FROM_FIRST }
    const consumer = await protocol.consumer(STREAM, handler, options)
    consumer.on('cancelled', error => this.#desk.journal.learned(`cancel of consumer ${consuming.number}`, error))
    consumer.once('closed', () => {
      consuming.closed = true
    })
    this.#desk.runs(protocol, { consuming, takesAll: false, stop: () => consumer.close() })
  }

  /** One ack for several. */
  async #readOnChannel(
    protocol: AmqpProtocol,
    consuming: Consuming,
    reading: StreamReading,
    { prefetch }: StepOf<'read stream'>,
  ): Promise<void> {
    const channel = await this.#desk.channel(`consumer ${consuming.number}`)
    await channel.basicQos({ prefetchCount: prefetch })
    let worked = 0
    const callback = async (on: Channel, body: Buffer, envelope: Envelope, properties: BasicProperties) => {
      const offset = this.#see(consuming, reading, body, properties, envelope)
      if (++worked % Math.min(prefetch, MOST_AT_ONCE) !== 0) return
      if (await on.basicClientAck(envelope.deliveryTag, { multiple: true }).catch(() => false))
        reading.settled(offset, true)
    }
    const ended = (): void => {
      consuming.closed = true
    }
    channel.addCancellationCallback(ended)
    const { consumerTag } = await channel.basicConsume(callback, STREAM, { arguments: FROM_FIRST })
    channel.waitClosed().then(ended, error => {
      this.#desk.journal.learned(`consumer ${consuming.number}`, error)
      ended()
    })
    const stop = async (): Promise<void> => {
      await channel.basicCancel(consumerTag).catch(() => {})
      await channel.close()
    }
    this.#desk.runs(protocol, { consuming, takesAll: false, stop })
  }

  /** Returns its offset. One that failed is handed out again by the client, and says so. */
  #see(
    consuming: Consuming,
    reading: StreamReading,
    body: Buffer,
    properties: BasicProperties,
    envelope: GetEnvelope,
  ): number {
    const id = this.#desk.idOf(body, properties, envelope)
    const offset = Number(properties.headers?.['x-stream-offset'])
    const isAgain = envelope.isRedeliver || reading.came(offset, id)
    this.#desk.journal.seen(consuming, id, isAgain)
    return offset
  }
}
