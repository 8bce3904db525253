// A proxy: stands between any client and RabbitMQ, and prints the conversation. Give it a port, and connect to that.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { type Frame, FrameReader } from 'asyncamqp/codec'

const { AMQP_URL = 'amqp://localhost' } = process.env
const { hostname, port } = new URL(AMQP_URL)
const [listenPort = '5673'] = process.argv.slice(2)

/** One line of text for a frame. */
function show(frame: Frame): string {
  switch (frame.type) {
    case 'protocol-header':
      return `AMQP ${frame.major}-${frame.minor}-${frame.revision}`
    case 'method':
      return `${frame.channel} ${frame.name} ${JSON.stringify(frame.args, hideSecrets)}`
    case 'header':
      return `${frame.channel} content of ${frame.bodySize} bytes ${JSON.stringify(frame.properties)}`
    case 'body':
      return `${frame.channel} body of ${frame.payload.length} bytes`
    case 'malformed':
      return `${frame.channel} malformed: ${frame.error.message}`
    case 'heartbeat':
      return 'heartbeat'
  }
}

function hideSecrets(name: string, value: unknown): unknown {
  if (name === 'response' || name === 'newSecret') return '(hidden)'
  return typeof value === 'bigint' ? String(value) : value
}

/** Passes on what comes, and prints it. The bytes go as they came, whether they can be read or not. */
function relay(name: string, from: Socket, to: Socket): void {
  const frames = new FrameReader({ frameMax: 0 })
  let readable = true
  from.on('data', data => {
    const chunk = data as Buffer // no encoding is set, so that it is never a string
    if (!to.write(chunk)) from.pause()
    try {
      if (readable) for (const frame of frames.push(chunk)) console.log(`${name} ${show(frame)}`)
    } catch (error) {
      readable = false // what follows has no frames that could be found
      console.log(`${name} not AMQP: ${String(error)}`)
    }
  })
  to.on('drain', () => from.resume())
  from.on('error', () => {}) // 'close' follows
  from.on('close', () => to.destroySoon())
}

let connections = 0
const proxy = createServer(client => {
  const server = connect(Number(port || 5672), hostname)
  const name = `[${++connections}]`
  relay(`${name} -->`, client, server)
  relay(`${name} <--`, server, client)
})
proxy.listen(Number(listenPort), () => {
  const address = proxy.address() as AddressInfo
  console.log(` [*] Listening on port ${address.port}. To exit press CTRL+C`)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit())
