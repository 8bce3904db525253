import { type Channel, Connection as RabbitConnection } from 'rabbitmq-client'
import { CONTENT_TYPE, messageHeaders, messageId, readProperties } from '../message.ts'
import type { Client, Connection, ConnectOptions, Incoming, Outgoing } from './client.ts'
import { repeat } from './repeat.ts'

export const client: Client = { connect: open }

/** Publishes that may wait for the socket at a time: awaiting each one costs it more. */
const WRITE_WINDOW = 100

function envelope(routingKey: string, withProperties: boolean, number: number) {
  if (!withProperties) return { routingKey }
  const id = messageId(number)
  return {
    routingKey,
    contentType: CONTENT_TYPE,
    durable: false,
    correlationId: id,
    messageId: id,
    appId: 'benchmark',
    headers: messageHeaders(id),
  }
}

async function open(url: string, { frameMax, prompt, ca }: ConnectOptions): Promise<Connection> {
  const connection = new RabbitConnection({
    url,
    heartbeat: 0,
    frameMax,
    noDelay: prompt,
    tls: ca === undefined ? false : { ca },
  })
  const first = await connection.acquire()
  const opened: Channel[] = [first]
  const openChannels = async (count: number): Promise<Channel[]> => {
    const more = await Promise.all(Array.from({ length: count - opened.length }, () => connection.acquire()))
    opened.push(...more)
    return opened
  }
  let closeRpc: () => Promise<void> = async () => undefined

  return {
    async publisher(message: Outgoing) {
      const { body, routingKey, withProperties } = message
      const channels = await openChannels(message.channels)
      await first.queueDeclare({ queue: routingKey, durable: true })
      const publish = repeat.windowed(WRITE_WINDOW, number =>
        (channels[number % channels.length] ?? first).basicPublish(envelope(routingKey, withProperties, number), body),
      )
      return async count => {
        await publish(count)
        await first.queueDeclare({ queue: routingKey, passive: true })
      }
    },

    async burst(message: Outgoing) {
      const { body, routingKey, withProperties } = message
      await first.queueDeclare({ queue: routingKey, durable: true })
      return async count => {
        const publishes: Promise<void>[] = []
        for (let number = 0; number < count; number += 1) {
          publishes.push(first.basicPublish(envelope(routingKey, withProperties, number), body))
        }
        await Promise.all(publishes)
        await first.queueDeclare({ queue: routingKey, passive: true })
      }
    },

    async confirmer(message: Outgoing, window: number) {
      const { body, withProperties } = message
      await first.confirmSelect()
      await first.queueDeclare({ queue: message.routingKey, durable: true })
      return repeat.windowed(window, number =>
        first.basicPublish(envelope(message.routingKey, withProperties, number), body),
      )
    },

    async consumer(incoming: Incoming) {
      const { queueName, ack, keep, read, tally, use } = incoming
      if (ack) await first.basicQos({ prefetchCount: incoming.prefetch })
      await repeat.together(incoming.consumers, () =>
        first.basicConsume({ queue: queueName, noAck: !ack }, message => {
          tally.deliver(message.body, read ? readProperties(message) : 0, keep ? message : message.body)
          use?.(message.body)
          if (ack) first.basicAck({ deliveryTag: message.deliveryTag })
        }),
      )
    },

    async caller(queueName: string, body: Buffer) {
      const rpc = connection.createRPCClient()
      closeRpc = () => rpc.close()
      return async () => {
        await rpc.send(queueName, body)
      }
    },

    async declarer() {
      return async queueNames => {
        await Promise.all(queueNames.map(queue => first.queueDeclare({ queue, exclusive: true })))
      }
    },

    async cycleChannel() {
      const channel = await connection.acquire()
      await channel.close()
    },

    async close() {
      await closeRpc()
      await Promise.all(opened.map(channel => channel.close()))
      await connection.close()
    },
  }
}
