// Send an invoice to the retrying worker: an object is sent as JSON, and resolves when the broker has it safe.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const [customer = 'Alice', amount = '12.50'] = process.argv.slice(2)

await using protocol = await connect(AMQP_URL)
await protocol.publish({ customer, amount: Number(amount) }, '', 'invoices')
console.log(` [x] Sent an invoice to ${customer}`)
