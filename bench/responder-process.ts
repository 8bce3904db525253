/** Answers the requests of one queue of RabbitMQ with themselves, the same way for every client that asks. */
import { connect } from 'amqplib'

const [, , url = '', queueName = ''] = process.argv
const connection = await connect(url, { noDelay: true })
const channel = await connection.createChannel()
await channel.consume(
  queueName,
  message => {
    if (message === null) return
    const { replyTo, correlationId } = message.properties
    channel.publish('', replyTo, message.content, { correlationId })
  },
  { noAck: true },
)
process.on('disconnect', () => process.exit())
process.send?.('ready')
