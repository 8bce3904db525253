// Ask the RPC service for several prices at once: ask-prices apple pear
import { connect, RemoteError } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const items = process.argv.length > 2 ? process.argv.slice(2) : ['apple']

await using protocol = await connect(AMQP_URL)
await using client = await protocol.rpcClient({ timeout: 5_000 })

await Promise.all(
  items.map(async item => {
    try {
      const reply = await client.call('prices', { item, count: 10 })
      console.log(` [.] 10 x ${item}: ${reply.json<{ readonly total: number }>().total}`)
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      console.log(` [!] ${error.remoteName}: ${error.message}`)
    }
  }),
)
