/** Sends HTTP requests to a port, over a few connections, each after the answer to the one before. */
import { Agent, request } from 'node:http'

const CONNECTIONS = 16
const port = Number(process.argv[2])
const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS })

const ask = (): Promise<void> =>
  new Promise((resolve, reject) => {
    request({ port, host: '127.0.0.1', agent }, response => response.resume().once('end', resolve))
      .once('error', reject)
      .end()
  })

process.on('message', async ({ count }: { readonly count: number }) => {
  let left = count
  const asking = Array.from({ length: CONNECTIONS }, async () => {
    while (left > 0) {
      left -= 1
      await ask()
    }
  })
  await Promise.all(asking)
  process.send?.('done')
})
process.on('disconnect', () => process.exit())
