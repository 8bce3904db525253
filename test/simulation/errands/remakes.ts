import type { Channel } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { lose, QUICK, reaches } from './recoveries.ts'

/**
 * The broker closes channels over consumers that it refuses for a while, and deletes what ends with their other consumers: queues,
 * and exchanges with their last bindings. All of it is made again, once, and as it was.
 */
export const remakes: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const other = await (await connect()).protocol.channel()
  const [front, passing, taken] = ['front', 'passing', 'taken']
  await protocol.exchangeDeclare(front, 'topic')
  await protocol.exchangeDeclare(passing, 'topic', { autoDelete: true })
  await protocol.exchangeBind(passing, front, '#')
  await protocol.queueDeclare(taken)
  const channels = [await protocol.channel(), await protocol.channel()]
  const named = outing.number % 2 === 0 ? '' : 'named'
  const { queue } = await protocol.queueDeclare(named, { autoDelete: true })
  await protocol.queueBind(queue, passing, 'key')
  const before = control.evidence().entities.size
  const seen: string[] = []
  const failures: string[] = []
  protocol.on('recoveryFailed', (what, error) => failures.push(`${what}: ${error.message}`))
  const see = (_channel: Channel, body: Buffer): void => void seen.push(body.toString())
  for (const channel of channels) {
    await channel.basicConsume(see, queue, { noAck: true })
    await channel.basicConsume(see, taken, { noAck: true })
  }
  for (let round = 1; round <= 2; round++) {
    own.refuse(true)
    own.cut()
    await outing.sleep(50)
    const { consumerTag } = await other.basicConsume(() => {}, taken, { exclusive: true })
    own.refuse(false)
    await protocol.ready({ timeout: 20_000 })
    await outing.sleep(1_500)
    outing.equal(control.evidence().entities.size, before, `queues, exchanges and bindings after loss ${round}`)
    const isBack = await reaches(own, front, 'key').catch(() => false)
    outing.expect(isBack, `a queue that went with its consumers is not reached after loss ${round}`)
    await outing.until(
      () => seen.length === 1,
      `a message of a queue that went with its consumers, loss ${round}`,
      5_000,
    )
    seen.length = 0
    await other.basicCancel(consumerTag)
    await outing.sleep(1_500)
    outing.equal(control.evidence().consumers.get(taken)?.length, 2, `consumers that were refused, loss ${round}`)
  }
  outing.equal(failures, [], 'what could not be made again')
  await lose(outing, own)
  outing.equal(control.evidence().entities.size, before, 'queues, exchanges and bindings after the last loss')
}
