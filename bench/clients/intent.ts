/** The same package at its intent level: publishes that are sent again, consumers with handlers, RPC clients. */
import { connect } from 'asyncamqp'
import { messageProperties, readProperties } from '../message.ts'
import type { Client, Connection, ConnectOptions, Incoming, Outgoing } from './client.ts'
import { repeat } from './repeat.ts'

export const client: Client = { connect: open }

async function open(url: string, { frameMax }: ConnectOptions): Promise<Connection> {
  const protocol = await connect(url, { heartbeat: 0, frameMax })
  const refuse = async (): Promise<never> => {
    throw new Error('the intent level has no channels')
  }
  return {
    publisher: refuse,
    burst: refuse,
    declarer: refuse,
    cycleChannel: refuse,

    async confirmer(message: Outgoing, window: number) {
      const { body, withProperties } = message
      return repeat.windowed(window, number =>
        protocol.publish(body, '', message.routingKey, withProperties ? messageProperties(number) : undefined),
      )
    },

    async consumer({ queueName, ack, prefetch, read, tally, use }: Incoming) {
      await protocol.consumer(
        queueName,
        ({ body, properties }) => {
          tally.deliver(body, read ? readProperties(properties) : 0)
          use?.(body)
        },
        { noAck: !ack, prefetchCount: ack ? prefetch : undefined },
      )
    },

    async caller(queueName: string, body: Buffer) {
      const rpc = await protocol.rpcClient()
      return async () => {
        await rpc.call(queueName, body)
      }
    },

    close: () => protocol.close(),
  }
}
