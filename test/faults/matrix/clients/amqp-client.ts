import { AMQPSession } from '@cloudamqp/amqp-client'
import { type Open, withHeartbeat } from './client.ts'

export const open: Open = async (url, settings, onLost) => {
  const session = await AMQPSession.connect(
    withHeartbeat(url, settings),
    onLost === undefined ? {} : { ondisconnect: onLost },
  )
  const exchange = await session.directExchange('')
  return {
    publish: (body, queue) => exchange.publish(body, { routingKey: queue }),
    declare: queue => session.queue(queue, { durable: true }),
    close: () => session.stop(),
  }
}
