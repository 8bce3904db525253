import type { AmqpProtocol, Channel } from '../../../src/index.ts'
import { propertiesOf } from '../content.ts'
import type { Published } from '../journal.ts'
import { bodyOf, queueName } from '../names.ts'
import type { Desk, StepOf } from './desk.ts'

/** Transactions: on one channel that lives on, and those whose work fails. */
export class Transactions {
  readonly #desk: Desk
  readonly #selected = new WeakSet<Channel>()
  #units: Promise<unknown> = Promise.resolve()

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** What a transaction published is not there if its work fails. */
  failed(protocol: AmqpProtocol, { queue }: StepOf<'failed transaction'>): void {
    const { journal, number } = this.#desk
    const name = queueName(queue)
    const published = journal.publishing(number, 'unit', name)
    const { id } = published
    const failed = protocol.transaction(async channel => {
      await channel.publish(bodyOf(id, 10), '', name, { ...propertiesOf(id), deliveryMode: 2 })
      throw new Error('the work failed')
    })
    published.outcome = 'rolled back'
    this.#desk.forget(`failed transaction of ${id}`, failed)
  }

  /** Two messages in one transaction on a channel that lives on; one unit after the other. */
  unit(step: StepOf<'unit'>): void {
    const { journal, number } = this.#desk
    const unit = this.#units.then(() => this.#unit(step))
    this.#units = unit.catch(() => {})
    this.#desk.forget(`unit ${number} ${journal.units.length}`, unit)
  }

  async #unit({ queue, pause, rollback }: StepOf<'unit'>): Promise<void> {
    const { journal, number } = this.#desk
    const name = queueName(queue)
    const both = [1, 2].map(() => journal.publishing(number, 'unit', name))
    journal.units.push(both)
    const settle = (outcome: Published['outcome']): void => {
      for (const published of both) published.outcome = outcome
    }
    settle('unknown')
    const channel = await this.#desk.channel('unit')
    try {
      if (!this.#selected.has(channel)) {
        await channel.txSelect()
        this.#selected.add(channel)
      }
      for (const { id } of both) {
        await channel.publish(bodyOf(id, 10), '', name, { ...propertiesOf(id), deliveryMode: 2 })
        await this.#desk.sleep(pause)
      }
      await (rollback ? channel.txRollback() : channel.txCommit())
      settle(rollback ? 'rolled back' : 'ok')
    } catch (error) {
      if (!this.#selected.has(channel)) await channel.close()
      else await channel.txRollback().catch(() => channel.close())
      throw error
    }
  }
}
