// Send jobs to the work distributor, each with the milliseconds that it takes: send-jobs 500 100 100
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const durations = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [500, 100, 100]

await using protocol = await connect(AMQP_URL)
await Promise.all(
  durations.map((milliseconds, i) => protocol.publish({ name: `job ${i + 1}`, milliseconds }, '', 'jobs')),
)
console.log(` [x] Sent ${durations.length} jobs`)
