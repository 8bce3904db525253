import { connect } from '../../../../src/index.ts'
import type { Open } from './client.ts'

export const open: Open = async (url, settings, onLost) => {
  const protocol = await connect(url, settings)
  if (onLost !== undefined) protocol.on('disconnected', onLost)
  const channel = await protocol.channel({ publisherConfirms: true })
  return {
    publish: (body, queue) => channel.publish(body, '', queue, { deliveryMode: 2 }),
    declare: queue => channel.queueDeclare(queue, { durable: true }),
    close: timeout => protocol.close(timeout === undefined ? {} : { timeout }),
  }
}
