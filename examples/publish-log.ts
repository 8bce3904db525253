// Log fan-out: publish each line of the standard input to everybody who follows.
import { createInterface } from 'node:readline'
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const [appId = 'stdin'] = process.argv.slice(2)

await using protocol = await connect(AMQP_URL)
await protocol.exchangeDeclare('log', 'fanout')

// Lines need not outlive the broker; a hundred may be on their way, then reading waits.
await using publisher = await protocol.publisher({ exchangeName: 'log', persistent: false, maxInFlight: 100 })
let count = 0
for await (const line of createInterface(process.stdin)) {
  await publisher.publish(line, '', { appId })
  count++
}
console.log(` [x] Published ${count} lines`)
