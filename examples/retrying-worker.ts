// A worker with retries: a task that fails is tried again, and after three tries it goes to a dead-letter queue.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const tries = 3

interface Invoice {
  readonly customer: string
  readonly amount: number
}

async function charge({ customer, amount }: Invoice): Promise<void> {
  if (amount <= 0) throw new RangeError(`cannot charge ${customer} ${amount}`)
  console.log(` [x] Charged ${customer} ${amount}`)
}

await using protocol = await connect(AMQP_URL)
// close() lets the invoice in hand end and acks it; what was not begun goes to another worker.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

// The broker moves messages that the worker rejects to the dead-letter queue. A quorum queue counts deliveries.
await protocol.queueDeclare('invoices.dead', { durable: true })
await protocol.queueDeclare('invoices', {
  durable: true,
  arguments: {
    'x-queue-type': 'quorum',
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'invoices.dead',
  },
})

// An invoice is acked when charge() returns. One that fails is held back for a second, then two, and requeued.
await protocol.consumer('invoices', message => charge(message.json<Invoice>()), {
  concurrency: 4,
  onFailure: (message, error) => {
    const attempt = message.deliveryCount + 1
    console.log(` [!] Attempt ${attempt} failed: ${String(error)}`)
    return attempt < tries ? 'requeue' : 'reject'
  },
})

console.log(' [*] Waiting for invoices. To exit press CTRL+C')
await protocol.waitClosed()
