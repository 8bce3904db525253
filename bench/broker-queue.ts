import { once } from 'node:events'
import { RawConnection } from './clients/raw-connection.ts'
import { bodyOfRow } from './message.ts'
import type { Row } from './rows.ts'
import * as wire from './wire.ts'

const BATCH = 1000

/** A queue of RabbitMQ for one task, with as many messages in it as the task consumes. */
export class BrokerQueue {
  readonly name: string
  readonly #raw: RawConnection

  constructor(raw: RawConnection, name: string) {
    this.#raw = raw
    this.name = name
  }

  static async create(url: string, name: string): Promise<BrokerQueue> {
    const raw = await RawConnection.open(url)
    await raw.queueDeclare(name)
    return new BrokerQueue(raw, name)
  }

  async fill(row: Row, count: number): Promise<void> {
    const content = { channel: 1, routingKey: this.name, body: bodyOfRow(row), withProperties: row.properties }
    const message = wire.publish({ ...content, frameMax: 131_072 })
    const batch = Buffer.concat(new Array<Buffer>(BATCH).fill(message))
    for (let left = count; left > 0; left -= BATCH) {
      const bytes = batch.subarray(0, Math.min(left, BATCH) * message.length)
      if (!this.#raw.socket.write(bytes)) await once(this.#raw.socket, 'drain')
    }
    // Answered after everything published before it.
    await this.#raw.queueDeclare(this.name)
  }

  async delete(): Promise<void> {
    await this.#raw.queueDelete(this.name)
    this.#raw.close()
  }
}
