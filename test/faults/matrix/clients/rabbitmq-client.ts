import { Connection as RabbitConnection } from 'rabbitmq-client'
import { type Open, withHeartbeat } from './client.ts'

export const open: Open = async (url, settings, onLost) => {
  const connection = new RabbitConnection(withHeartbeat(url, settings))
  if (onLost !== undefined) connection.on('error', onLost)
  await connection.onConnect()
  const publisher = connection.createPublisher({ confirm: true })
  return {
    publish: (body, queue) => publisher.send({ routingKey: queue, durable: true }, body),
    declare: queue => connection.queueDeclare({ queue, durable: true }),
    async close() {
      await publisher.close()
      await connection.close()
    },
  }
}
