import { once } from 'node:events'
import { type Channel, type ConfirmChannel, connect } from 'amqplib'
import { messageProperties, readProperties } from '../message.ts'
import type { Client, Connection, ConnectOptions, Incoming, Outgoing } from './client.ts'
import { repeat } from './repeat.ts'

export const client: Client = { connect: open }

const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to'

async function open(url: string, { frameMax, prompt, confirms, ca }: ConnectOptions): Promise<Connection> {
  const connection = await connect(`${url}?heartbeat=0&frameMax=${frameMax}`, {
    noDelay: prompt,
    ca: ca === undefined ? undefined : [ca],
  })
  const confirming = confirms ? await connection.createConfirmChannel() : undefined
  const first = confirming ?? (await connection.createChannel())

  const openChannels = async (count: number): Promise<Channel[]> => {
    const more = await Promise.all(Array.from({ length: count - 1 }, () => connection.createChannel()))
    return [first, ...more]
  }

  return {
    async publisher(message: Outgoing) {
      const { body, routingKey, withProperties } = message
      const channels = await openChannels(message.channels)
      await first.assertQueue(routingKey)
      return async count => {
        for (let number = 0; number < count; number += 1) {
          const channel = channels[number % channels.length] ?? first
          if (!channel.publish('', routingKey, body, withProperties ? messageProperties(number) : undefined)) {
            await once(channel, 'drain')
          }
        }
        await first.checkQueue(routingKey)
      }
    },

    async burst(message: Outgoing) {
      const { body, routingKey, withProperties } = message
      await first.assertQueue(routingKey)
      return async count => {
        for (let number = 0; number < count; number += 1) {
          first.publish('', routingKey, body, withProperties ? messageProperties(number) : undefined)
        }
        await first.checkQueue(routingKey)
      }
    },

    async confirmer(message: Outgoing, window: number) {
      const channel = confirming ?? (await connection.createConfirmChannel())
      await channel.assertQueue(message.routingKey)
      return count => publishConfirmed(channel, message, window, count)
    },

    async consumer(incoming: Incoming) {
      const { queueName, ack, keep, read, tally, use } = incoming
      if (ack) await first.prefetch(incoming.prefetch)
      await repeat.together(incoming.consumers, () =>
        first.consume(
          queueName,
          message => {
            if (message === null) throw new Error('the consumer was cancelled')
            tally.deliver(
              message.content,
              read ? readProperties(message.properties) : 0,
              keep ? message : message.content,
            )
            use?.(message.content)
            if (ack) first.ack(message)
          },
          { noAck: !ack },
        ),
      )
    },

    async caller(queueName: string, body: Buffer) {
      const calls = new Map<string, () => void>()
      let lastId = 0
      await first.consume(
        DIRECT_REPLY_TO,
        message => {
          const id: unknown = message?.properties.correlationId
          if (typeof id !== 'string') return
          calls.get(id)?.()
          calls.delete(id)
        },
        { noAck: true },
      )
      return () =>
        new Promise(resolve => {
          lastId += 1
          const correlationId = String(lastId)
          calls.set(correlationId, resolve)
          first.publish('', queueName, body, { correlationId, replyTo: DIRECT_REPLY_TO })
        })
    },

    async declarer() {
      return async queueNames => {
        await Promise.all(queueNames.map(queueName => first.assertQueue(queueName, { exclusive: true })))
      }
    },

    async cycleChannel() {
      const channel = await connection.createChannel()
      await channel.close()
    },

    close: () => connection.close(),
  }
}

/** With a callback for each confirm, as its documentation shows; a promise for each would only cost it more. */
function publishConfirmed(channel: ConfirmChannel, message: Outgoing, window: number, count: number): Promise<void> {
  const { body, routingKey, withProperties } = message
  return new Promise((resolve, reject) => {
    let published = 0
    let confirmed = 0
    let writable = true
    const more = () => {
      while (writable && published < count && published - confirmed < window) {
        writable = channel.publish(
          '',
          routingKey,
          body,
          withProperties ? messageProperties(published) : undefined,
          settled,
        )
        published += 1
        if (!writable) channel.once('drain', drained)
      }
    }
    const drained = () => {
      writable = true
      more()
    }
    const settled = (error: unknown) => {
      if (error !== null && error !== undefined) return reject(error)
      confirmed += 1
      if (confirmed === count) resolve()
      else more()
    }
    more()
  })
}
