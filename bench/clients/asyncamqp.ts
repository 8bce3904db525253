import { type Channel, connect } from 'asyncamqp'
import { messageProperties, readProperties } from '../message.ts'
import type { Client, Connection, ConnectOptions, Incoming, Outgoing } from './client.ts'
import { repeat } from './repeat.ts'

export const client: Client = { connect: open }

const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to'

async function open(url: string, { frameMax, confirms, ca }: ConnectOptions): Promise<Connection> {
  const protocol = await connect(url, { heartbeat: 0, frameMax, ssl: ca === undefined ? undefined : { ca } })
  const first = await protocol.channel({ publisherConfirms: confirms })
  const openChannels = async (count: number): Promise<Channel[]> => {
    const more = await Promise.all(Array.from({ length: count - 1 }, () => protocol.channel()))
    return [first, ...more]
  }

  return {
    async publisher(message: Outgoing) {
      const { body, routingKey, withProperties } = message
      const channels = await openChannels(message.channels)
      await first.queueDeclare(routingKey, { durable: true })
      return async count => {
        for (let number = 0; number < count; number += 1) {
          const channel = channels[number % channels.length] ?? first
          await channel.basicPublish(body, '', routingKey, withProperties ? messageProperties(number) : undefined)
        }
        await first.queueDeclare(routingKey, { passive: true })
      }
    },

    async burst(message: Outgoing) {
      const { body, routingKey, withProperties } = message
      await first.queueDeclare(routingKey, { durable: true })
      return async count => {
        const publishes: Promise<void>[] = []
        for (let number = 0; number < count; number += 1) {
          publishes.push(
            first.basicPublish(body, '', routingKey, withProperties ? messageProperties(number) : undefined),
          )
        }
        await Promise.all(publishes)
        await first.queueDeclare(routingKey, { passive: true })
      }
    },

    async confirmer(message: Outgoing, window: number) {
      const { body, withProperties } = message
      await first.queueDeclare(message.routingKey, { durable: true })
      return repeat.windowed(window, number =>
        first.publish(body, '', message.routingKey, withProperties ? messageProperties(number) : undefined),
      )
    },

    async consumer(incoming: Incoming) {
      const { queueName, ack, keep, read, tally, use } = incoming
      if (ack) await first.basicQos({ prefetchCount: incoming.prefetch })
      await repeat.together(incoming.consumers, () =>
        first.basicConsume(
          (channel, body, envelope, properties) => {
            tally.deliver(body, read ? readProperties(properties) : 0, keep ? { body, envelope, properties } : body)
            use?.(body)
            if (ack) void channel.basicClientAck(envelope.deliveryTag)
          },
          queueName,
          { noAck: !ack },
        ),
      )
    },

    async caller(queueName: string, body: Buffer) {
      const calls = new Map<string | undefined, () => void>()
      let lastId = 0
      await first.basicConsume(
        (_channel, _body, _envelope, { correlationId }) => {
          calls.get(correlationId)?.()
          calls.delete(correlationId)
        },
        DIRECT_REPLY_TO,
        { noAck: true },
      )
      return () =>
        new Promise((resolve, reject) => {
          lastId += 1
          const correlationId = String(lastId)
          calls.set(correlationId, resolve)
          first.basicPublish(body, '', queueName, { correlationId, replyTo: DIRECT_REPLY_TO }).catch(reject)
        })
    },

    async declarer() {
      return async queueNames => {
        await Promise.all(queueNames.map(queueName => first.queueDeclare(queueName, { exclusive: true })))
      }
    },

    async cycleChannel() {
      const channel = await protocol.channel()
      await channel.close()
    },

    close: () => protocol.close(),
  }
}
