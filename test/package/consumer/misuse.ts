// Wrong uses. Each line under a @ts-expect-error must not compile: if it does, the compiler reports the comment.
import { connect, int8, MessageReturnedError } from 'asyncamqp'
import { encodeMethod, FrameReader, QueueBind, QueueDeclare } from 'asyncamqp/codec'

// @ts-expect-error: a variable of the environment may not be set
void connect(process.env['AMQP_URL'])
// @ts-expect-error: the option is `login`
await connect('amqp://localhost', { username: 'alice' })
// @ts-expect-error: seconds are a number
await connect('amqp://localhost', { heartbeat: '10' })
// @ts-expect-error: no such mechanism by name
await connect('amqp://localhost', { loginMethod: 'GSSAPI' })

const protocol = await connect('amqp://localhost')
// @ts-expect-error: a protocol has one `close`, with options
await protocol.close(true)
// @ts-expect-error: state is read only
protocol.state = 'closed'
// @ts-expect-error: no such state
if (protocol.state === 'dead') await protocol.close()
// @ts-expect-error: no such event
protocol.on('error', () => {})
// @ts-expect-error: the listener is given a string
protocol.on('blocked', (reason: number) => reason)

// @ts-expect-error: the option is `publisherConfirms`
const channel = await protocol.channel({ confirms: true })
// @ts-expect-error: a queue name is a string
await channel.queueDeclare(5)
// @ts-expect-error: the option is `autoDelete`
await channel.queueDeclare('q', { auto_delete: true })
// @ts-expect-error: a known argument of another type
await channel.queueDeclare('q', { arguments: { 'x-message-ttl': 'a minute' } })
// @ts-expect-error: no such way to overflow
await channel.queueDeclare('q', { arguments: { 'x-overflow': 'drop-tail' } })
// @ts-expect-error: no such retry
await channel.queueDeclare('q', { arguments: { 'x-delayed-retry-type': 'some' } })
// @ts-expect-error: a number of milliseconds
await channel.queueDeclare('q', { arguments: { 'x-consumer-timeout': '5m' } })
// @ts-expect-error: true or false
await channel.queueDeclare('q', { arguments: { 'x-single-active-consumer': 1 } })
// @ts-expect-error: an interval has a unit
await channel.queueDeclare('q', { arguments: { 'x-max-age': '7' } })
// @ts-expect-error: no such place in a stream
await channel.basicConsume(() => {}, 'q', { arguments: { 'x-stream-offset': 'frist' } })
// @ts-expect-error: minutes are `m`
await channel.basicConsume(() => {}, 'q', { arguments: { 'x-stream-offset': '5 minutes' } })
// @ts-expect-error: an interval begins with a number
await protocol.consumer('q', { arguments: { 'x-stream-offset': 'm' } })
// @ts-expect-error: values of the header are texts
await protocol.consumer('q', { arguments: { 'x-stream-filter': [5] } })
// @ts-expect-error: a priority is a number
await protocol.consumer('q', { arguments: { 'x-priority': 'high' } })
// @ts-expect-error: the type of an exchange is required
await channel.exchangeDeclare('e')
// @ts-expect-error: `noWait` has no counterpart in queue.unbind
await channel.queueUnbind('q', 'e', 'k', { noWait: true })
// @ts-expect-error: a payload is bytes or a string
await channel.basicPublish({ id: 1 }, 'e', 'k')
// @ts-expect-error: an exchange and a routing key are required
await channel.basicPublish('text')
// @ts-expect-error: the property is `contentType`
await channel.basicPublish('text', 'e', 'k', { content_type: 'text/plain' })
// @ts-expect-error: delivery mode is 1 or 2
await channel.basicPublish('text', 'e', 'k', { deliveryMode: 'persistent' })
// @ts-expect-error: a timestamp is a Date
await channel.basicPublish('text', 'e', 'k', { timestamp: 1700000000 })
// @ts-expect-error: a header value cannot be a function
await channel.basicPublish('text', 'e', 'k', { headers: { f: () => 1 } })
// @ts-expect-error: RabbitMQ has no `immediate`
await channel.basicPublish('text', 'e', 'k', {}, { immediate: true })
// @ts-expect-error: the callback comes first
await channel.basicConsume('q', () => {})
// @ts-expect-error: a body is a Buffer
await channel.basicConsume((_channel, body: string) => body, 'q')
// @ts-expect-error: what is not there is null
await channel.basicGet('q').then(message => message.body)
// @ts-expect-error: a delivery tag is a number
await channel.basicClientAck('1')
// @ts-expect-error: basic.reject has no `multiple`
await channel.basicReject(1, { multiple: true })
// @ts-expect-error: a number is not a message
await protocol.publish(5, 'e', 'k')
// @ts-expect-error: the option is `exchangeName`
await protocol.publisher({ exchange: 'e' })
// @ts-expect-error: two arguments
int8(1, 2)

try {
  await channel.close()
} catch (error) {
  // @ts-expect-error: the code of this class is another
  if (error instanceof MessageReturnedError && error.code === 'PUBLISH_FAILED') throw error
}

// @ts-expect-error: `onFailure` needs a handler
await protocol.consumer('q', { onFailure: 'reject' })
// @ts-expect-error: no such action
await protocol.consumer('q', () => {}, { onFailure: 'again' })
// @ts-expect-error: no such event
;(await protocol.consumer('q')).on('error', () => {})
// @ts-expect-error: a reply is a string, bytes, or an object
await protocol.rpcServer('q', () => 5)

// @ts-expect-error: queue.bind needs an exchange
encodeMethod(1, QueueBind, { queueName: 'orders' })
// @ts-expect-error: the argument is `queueName`
encodeMethod(1, QueueDeclare, { queue: 'orders' })
// @ts-expect-error: a ticket is reserved
encodeMethod(1, QueueDeclare, { ticket: 1 })
for (const frame of new FrameReader().push(Buffer.alloc(0))) {
  // @ts-expect-error: a queue.declare has no `messageCount`
  if (frame.type === 'method' && frame.name === 'queue.declare') frame.args.messageCount
  // @ts-expect-error: there is no such method
  if (frame.type === 'method' && frame.name === 'queue.decline') frame.args
}
