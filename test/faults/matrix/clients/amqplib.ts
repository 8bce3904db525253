import { setTimeout as sleep } from 'node:timers/promises'
import { type ConfirmChannel, connect } from 'amqplib'
import { type Open, withHeartbeat } from './client.ts'

/** With its recovery, which is off by default: it connects again, and leaves the channels to the program. */
export const open: Open = async (url, settings, onLost) => {
  const connection = await connect(withHeartbeat(url, settings), { recovery: true })
  let closing = false
  const openChannel = async (): Promise<ConfirmChannel> => {
    for (;;) {
      try {
        // Waits for the connection if there is none.
        const channel = await connection.createConfirmChannel()
        if (onLost !== undefined) channel.on('error', () => {})
        channel.once('close', reopen)
        return channel
      } catch (error) {
        if (closing) throw error
        await sleep(10)
      }
    }
  }
  let channel = openChannel()
  const reopen = (): void => {
    channel = openChannel()
    // Publishes show it.
    channel.catch(() => {})
  }
  if (onLost !== undefined) connection.on('disconnect', onLost).on('error', () => {})
  await channel
  return {
    async publish(body, queue) {
      const current = await channel
      await new Promise<void>((resolve, reject) => {
        current.publish('', queue, body, { persistent: true }, error => (error ? reject(error) : resolve()))
      })
    },
    declare: async queue => (await channel).assertQueue(queue, { durable: true }),
    async close() {
      closing = true
      await connection.close()
    },
  }
}
