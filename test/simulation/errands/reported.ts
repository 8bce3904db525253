import type { AmqpProtocol, Channel, Consumer } from '../../../src/index.ts'
import type { Errand, Outing, OwnBroker, OwnConnection } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** What a part of the errand has. */
interface Scene {
  readonly outing: Outing
  readonly own: OwnConnection
  readonly protocol: AmqpProtocol
  readonly control: OwnBroker['control']
  readonly channel: Channel
  readonly queue: string
}

interface Part {
  readonly what: string
  play(scene: Scene): Promise<unknown>
  /** The errors that `onError` gets, in order: how they begin. */
  readonly reported: readonly string[]
}

/** Of an error: enough to distinguish it. */
const WORDS = 3
const FAULT = 'RangeError: a fault of'
const fail = (): never => {
  throw new RangeError('a fault of the program')
}

const PARTS: readonly Part[] = [
  {
    what: 'a copy that no queue takes',
    play: async ({ outing, protocol, queue }) => {
      const consumer = await protocol.consumer(queue, fail, { onFailure: { exchangeName: '', routingKey: 'none' } })
      await protocol.publish('x', '', queue)
      await outing.sleep(20)
      await consumer.close()
    },
    reported: [FAULT, 'MessageReturnedError: the copy of'],
  },
  {
    what: 'a decision that fails',
    play: async ({ outing, protocol, queue }) => {
      const consumer = await protocol.consumer(queue, fail, { onFailure: fail })
      await protocol.publish('x', '', queue)
      await outing.sleep(20)
      await consumer.close()
    },
    reported: [FAULT, FAULT],
  },
  {
    what: 'callbacks that fail',
    play: async ({ outing, channel, queue, protocol }) => {
      const { consumerTag } = await channel.basicConsume(fail, queue, { noAck: true })
      await protocol.publish('x', '', queue)
      await outing.sleep(20)
      await channel.basicCancel(consumerTag)
      const later = await channel.basicConsume(async () => fail(), queue, { noAck: true })
      await protocol.publish('x', '', queue)
      await outing.sleep(20)
      await channel.basicCancel(later.consumerTag)
    },
    reported: [FAULT, FAULT],
  },
  {
    what: 'a store that fails',
    play: async ({ outing, protocol }) => {
      await protocol.queueDeclare('stream', { arguments: { 'x-queue-type': 'stream' } })
      const consumer = await protocol.consumer('stream', () => {}, {
        offsetStore: { load: async () => undefined, save: fail },
        arguments: { 'x-stream-offset': 'first' },
      } as never)
      await protocol.publish('x', '', 'stream')
      await outing.sleep(8_000)
      await consumer.close()
    },
    reported: [FAULT, FAULT],
  },
  {
    what: 'a consumer that the broker cancels',
    play: async ({ outing, control, channel, queue }) => {
      await channel.basicConsume(() => {}, queue)
      control.cancelConsumers(queue)
      await outing.sleep(50)
    },
    reported: ['ConsumerCancelledError: the server cancelled'],
  },
  {
    what: 'consumers that the broker cancels, of which one has a listener',
    play: async ({ outing, control, protocol, queue }) => {
      const consumers: Consumer[] = []
      for (const onCancel of [undefined, undefined, fail]) {
        const consumer = await protocol.consumer(queue, () => {}, { onCancel })
        consumers.push(consumer)
      }
      consumers[0]?.on('cancelled', () => {})
      control.cancelConsumers(queue)
      await outing.sleep(3_000)
      for (const consumer of consumers) await consumer.close()
    },
    reported: ['ConsumerCancelledError: the server cancelled', FAULT],
  },
  {
    what: 'a message that came back',
    play: async ({ outing, channel }) => {
      void channel.basicPublish('x', '', 'none', {}, { mandatory: true })
      await outing.sleep(50)
      channel.returnCallback = fail
      void channel.basicPublish('x', '', 'none', {}, { mandatory: true })
      await outing.sleep(50)
    },
    reported: ['MessageReturnedError: publish of a', FAULT],
  },
  {
    what: 'settlements of a channel that is over',
    play: async ({ outing, channel }) => {
      channel.basicClientAck(99)
      await outing.sleep(50)
      channel.basicClientAck(98)
      await outing.sleep(50)
    },
    reported: ['ChannelClosedError: channel was closed'],
  },
  {
    what: 'a channel whose consumers go on',
    play: async ({ outing, protocol, control, queue }) => {
      const consumer = await protocol.consumer(queue, () => {})
      control.closeChannels(541, 'INTERNAL_ERROR')
      await outing.sleep(3_000)
      await consumer.close()
    },
    reported: [
      'ChannelClosedError: channel was closed',
      'ChannelClosedError: channel was closed',
      'ChannelClosedError: consuming from failed:',
    ],
  },
  {
    what: 'a message that cannot be decoded',
    play: async ({ outing, protocol, queue }) => {
      const schema = {
        '~standard': { version: 1, vendor: 'errand', validate: () => ({ issues: [{ message: 'no' }] }) },
      }
      const consumer = await protocol.consumer(queue, () => {}, { schema, onFailure: 'drop' } as never)
      await protocol.publish({ no: 1 }, '', queue)
      await outing.sleep(50)
      await consumer.close()
    },
    reported: ['DecodeError: the body of'],
  },
  {
    what: 'listeners that fail',
    play: async ({ outing, protocol, control, queue }) => {
      protocol.once('blocked', fail)
      control.block('low on memory')
      const sent = outing.meanwhile(protocol.publish('x', '', queue))
      await outing.sleep(50)
      control.unblock()
      await sent
    },
    reported: [FAULT],
  },
  {
    what: 'a loss',
    play: async ({ outing, own }) => {
      own.cut()
      await outing.sleep(1_000)
    },
    reported: [],
  },
]
/** Its first words, without numbers and names. */
function beginning(message: string): string {
  return message
    .replace(/ [\d"].*?(?= |$)/g, '')
    .split(' ')
    .slice(0, WORDS)
    .join(' ')
}

/** What no promise says is given to `onError`, each once, and nothing else is. */
export const reported: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const errors: string[] = []
  const own = await connect({
    recovery: QUICK,
    onError: ({ name, message }) => void errors.push(`${name}: ${beginning(message)}`),
  })
  const { protocol } = own
  for (const [n, { what, play, reported: should }] of PARTS.entries()) {
    const queue = `queue ${n}`
    await protocol.queueDeclare(queue)
    const channel = await protocol.channel()
    errors.length = 0
    await play({ outing, own, protocol, control, channel, queue })
    outing.equal(errors, should, `what is reported of ${what}`)
    await channel.close()
  }
}
