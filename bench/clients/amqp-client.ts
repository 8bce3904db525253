import { type AMQPChannel, AMQPClient, AMQPSession } from '@cloudamqp/amqp-client'
import { messageProperties, readProperties } from '../message.ts'
import type { Client, Connection, ConnectOptions, Incoming, Outgoing } from './client.ts'
import { repeat } from './repeat.ts'

export const client: Client = { connect: open }

/** Publishes that may wait for the socket at a time: awaiting each one costs it more. */
const WRITE_WINDOW = 100
/** Its default and the least it takes; each publish under way takes a buffer as large as a frame, so a larger one is for large bodies only. */
const SMALL_FRAME = 8192

async function open(url: string, { frameMax, bodySize, ca }: ConnectOptions): Promise<Connection> {
  const options = `?heartbeat=0&frameMax=${bodySize < SMALL_FRAME ? SMALL_FRAME : Math.max(SMALL_FRAME, frameMax)}`
  const connection = await new AMQPClient(url + options, ca === undefined ? undefined : { ca }).connect()
  const first = await connection.channel()
  let session: AMQPSession | undefined

  const openChannels = async (count: number): Promise<AMQPChannel[]> => {
    const more = await Promise.all(Array.from({ length: count - 1 }, () => connection.channel()))
    return [first, ...more]
  }

  return {
    async publisher(message: Outgoing) {
      const { body, routingKey, withProperties } = message
      const channels = await openChannels(message.channels)
      await first.queueDeclare(routingKey)
      const publish = repeat.windowed(WRITE_WINDOW, number => {
        const channel = channels[number % channels.length] ?? first
        return channel.basicPublish('', routingKey, body, withProperties ? messageProperties(number) : undefined)
      })
      return async count => {
        await publish(count)
        await first.queueDeclare(routingKey, { passive: true })
      }
    },

    async burst(message: Outgoing) {
      const { body, routingKey, withProperties } = message
      await first.queueDeclare(routingKey)
      return async count => {
        const publishes: Promise<unknown>[] = []
        for (let number = 0; number < count; number += 1) {
          publishes.push(
            first.basicPublish('', routingKey, body, withProperties ? messageProperties(number) : undefined),
          )
        }
        await Promise.all(publishes)
        await first.queueDeclare(routingKey, { passive: true })
      }
    },

    async confirmer(message: Outgoing, window: number) {
      const { body, withProperties } = message
      await first.confirmSelect()
      await first.queueDeclare(message.routingKey)
      return repeat.windowed(window, number =>
        first.basicPublish('', message.routingKey, body, withProperties ? messageProperties(number) : undefined),
      )
    },

    async consumer(incoming: Incoming) {
      const { queueName, ack, keep, read, tally, use } = incoming
      if (ack) await first.basicQos(incoming.prefetch)
      await repeat.together(incoming.consumers, () =>
        first.basicConsume(queueName, { noAck: !ack }, message => {
          if (message.body === null) throw new Error('a delivery without its body')
          tally.deliver(message.body, read ? readProperties(message.properties) : 0, keep ? message : message.body)
          use?.(message.body)
          if (ack) void message.ack()
        }),
      )
    },

    async caller(queueName: string, body: Buffer) {
      session = await AMQPSession.connect(url + options)
      const rpc = await session.rpcClient()
      return async () => {
        await rpc.call(queueName, body)
      }
    },

    async declarer() {
      return async queueNames => {
        await Promise.all(queueNames.map(queueName => first.queueDeclare(queueName, { exclusive: true })))
      }
    },

    async cycleChannel() {
      const channel = await connection.channel()
      await channel.close()
    },

    async close() {
      await session?.stop()
      await connection.close()
    },
  }
}
