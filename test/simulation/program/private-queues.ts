import type { Consuming } from '../journal.ts'
import { EXCHANGE } from '../names.ts'
import type { Desk } from './desk.ts'

/** A queue that the broker named, its binding and its consumer. */
interface PrivateQueue {
  readonly key: string
  /** As the program knows it. */
  name: string
  readonly consuming: Consuming
}

/** Queues that the broker names: after a recovery they have other names. */
export class PrivateQueues {
  readonly #desk: Desk
  all: PrivateQueue[] = []
  #count = 0

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** The connection is closed: what was its own is gone. */
  left(): void {
    this.all = []
  }

  renamed(oldName: string, newName: string): void {
    for (const queue of this.all) if (queue.name === oldName) queue.name = newName
  }

  /** A queue that the broker names, bound under a key of its own, with a consumer. */
  make(): void {
    if (this.all.length < 2) this.#desk.forget('private queue', this.#make())
  }

  async #make(): Promise<void> {
    const { protocol, journal, number } = this.#desk
    if (protocol === undefined) return
    const key = `private ${number} ${this.#count++}`
    const { queue } = await protocol.queueDeclare()
    // The program has closed meanwhile, and may have come back.
    if (this.#desk.protocol !== protocol) return
    const consuming = journal.consuming('handler', key, 32, 32)
    // At once: it may have another name before it has its consumer.
    const own: PrivateQueue = { key, name: queue, consuming }
    this.all.push(own)
    try {
      await protocol.queueBind(queue, EXCHANGE, key)
      const consumer = await protocol.consumer(queue, message => {
        const id = this.#desk.idOf(message.body, message.properties, message.envelope)
        journal.seen(consuming, id, message.envelope.isRedeliver)
        journal.settled.add(id)
      })
      consumer.once('closed', () => {
        consuming.closed = true
      })
    } catch (error) {
      this.all = this.all.filter(each => each !== own)
      throw error
    }
  }
}
