import type { BasicProperties, Channel, Envelope } from '../../../src/index.ts'
import type { Consuming } from '../journal.ts'
import type { Desk, StepOf } from './desk.ts'

/** Consumers with a callback, each on a channel of its own: with acks of one, with acks of many, without acks. */
export class CallbackConsumers {
  readonly #desk: Desk

  constructor(desk: Desk) {
    this.#desk = desk
  }

  async start(consuming: Consuming, step: StepOf<'consume'>, work: (id: string) => Promise<void>): Promise<void> {
    const { protocol } = this.#desk
    const noAck = step.way === 'no-ack'
    const multiple = step.way === 'multiple'
    const channel = await this.#desk.channel(`consumer ${consuming.number}`)
    const options = { noAck, ...(step.concurrency > 0 && { concurrency: step.concurrency }) }
    if (!noAck) await channel.basicQos({ prefetchCount: step.prefetch })
    let worked: { readonly id: string; readonly tag: number }[] = []
    /** One ack for all that was worked on since the last one. */
    const ackAll = async (): Promise<void> => {
      const all = worked
      worked = []
      const last = all.at(-1)
      if (last === undefined) return
      const sent = await channel.basicClientAck(last.tag, { multiple: true }).catch(() => false)
      if (sent) for (const { id } of all) this.#desk.journal.settled.add(id)
    }
    const callback = async (on: Channel, body: Buffer, envelope: Envelope, properties: BasicProperties) => {
      const id = this.#desk.idOf(body, properties, envelope)
      this.#desk.journal.seen(consuming, id, envelope.isRedeliver)
      if (noAck) this.#desk.journal.settled.add(id)
      if (multiple) {
        worked.push({ id, tag: envelope.deliveryTag })
        if (worked.length >= Math.min(step.prefetch, 5)) await ackAll()
        else this.#desk.clock.after(100, ackAll)
        return
      }
      const good = await work(id).then(
        () => true,
        () => false,
      )
      if (noAck) return
      // An ack may come as late as it likes: it settles its own message, or none.
      if (step.work > 0 && this.#desk.clock.random() < 0.3) await this.#desk.sleep(3_000)
      const isBack = !good && !envelope.isRedeliver
      const settled = good ? on.basicClientAck(envelope.deliveryTag) : this.#refuse(on, envelope, isBack)
      const sent = await settled.catch((error: Error) => {
        // On a channel that goes on, it is sent or it is not.
        if (on.isOpen) this.#desk.journal.violations.push(`an ack of ${id} on an open channel failed: ${error.message}`)
        return false
      })
      if (sent && !isBack) this.#desk.journal.settled.add(id)
    }
    const ended = (): void => {
      if (!consuming.closed) consuming.runsOn = noAck && !consuming.closing
      consuming.closed = true
    }
    // Before it begins: the broker may end it in the same moment.
    let ends = 0
    channel.addCancellationCallback(() => {
      ends++
      ended()
    })
    let others = 0
    channel.addCancellationCallback(() => {
      if (++others !== ends) this.#desk.journal.violations.push('one of two cancellation callbacks was not called')
    })
    const { consumerTag } = await channel.basicConsume(callback, consuming.queue, {
      ...options,
      signal: this.#desk.longSignal,
    })
    channel.waitClosed().then(ended, ended)
    const stop = async (): Promise<void> => {
      consuming.closing = true
      const way = this.#desk.isTight ? 0 : consuming.number % 3
      try {
        await channel.basicCancel(consumerTag, { noWait: way === 2 && !noAck })
        if (way !== 0) return
      } catch {
        // It is unknown whether it is cancelled.
      }
      await channel.close()
    }
    this.#desk.runs(protocol, { consuming, takesAll: true, stop })
  }

  /** What fails goes back once, and is gone the next time: in each form, with the defaults of each. */
  #refuse(on: Channel, { deliveryTag: tag }: Envelope, isBack: boolean): Promise<boolean> {
    const isNack = tag % 2 === 0
    if (isBack) return isNack ? on.basicClientNack(tag) : on.basicReject(tag, { requeue: true })
    return isNack ? on.basicClientNack(tag, { requeue: false }) : on.basicReject(tag)
  }
}
