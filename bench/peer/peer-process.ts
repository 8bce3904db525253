/** The synthetic peer: a process that speaks just enough of a broker to cost less than any client. */
import { Buffer } from 'node:buffer'
import { createServer, type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { PeerConnection } from './peer-connection.ts'
import type { PeerStats, Workload } from './workload.ts'

const READ_BYTES = 1024 * 1024

type PeerRequest = { readonly prepare: Workload } | { readonly deliver: number } | { readonly stats: true }

let work: Workload | undefined
let connection: PeerConnection | undefined
let closed: Promise<void> = Promise.resolve()
let stats: PeerStats = { published: 0, settled: 0, delivered: 0, cpuMicros: 0, wallMicros: 0 }

/**
 * A server's sockets take no `onread` option, and a 'data' event allocates 64 KiB for every read: so the accepted
 * handle is given to a socket that reads large chunks into one buffer.
 */
function adopt(accepted: Socket, work: Workload): Socket {
  const store = Buffer.alloc(READ_BYTES)
  let kept = 0
  const handle: unknown = Reflect.get(accepted, '_handle')
  const onread: OnReadOpts = {
    buffer: () => store.subarray(kept),
    callback: (count: number): boolean => {
      const end = kept + count
      const done = taken.read(store, end)
      if (done > 0) store.copyWithin(0, done, end)
      kept = end - done
      return true
    },
  }
  const options: SocketConstructorOpts & { handle: unknown; onread: OnReadOpts } = {
    handle,
    onread,
    readable: true,
    writable: true,
  }
  const socket = new Socket(options)
  const taken = new PeerConnection(socket, work, stats)
  connection = taken
  return socket
}

const server = createServer({ pauseOnConnect: true }, accepted => {
  stats = { published: 0, settled: 0, delivered: 0, cpuMicros: 0, wallMicros: 0 }
  const counted = stats
  const cpu = process.cpuUsage()
  const start = performance.now()
  if (work === undefined) throw new Error('a client came before its workload')
  const socket = adopt(accepted, work)
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  socket.on('end', () => socket.end())
  closed = new Promise(resolve => {
    socket.on('close', () => {
      const used = process.cpuUsage(cpu)
      counted.cpuMicros = used.user + used.system
      counted.wallMicros = (performance.now() - start) * 1000
      resolve()
    })
  })
})

process.on('message', async (request: PeerRequest) => {
  if ('prepare' in request) {
    work = request.prepare
    process.send?.({ prepared: true })
  } else if ('deliver' in request) {
    connection?.deliver(request.deliver)
  } else {
    await closed
    process.send?.({ stats })
  }
})
process.on('disconnect', () => process.exit())

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the peer has no port')
  process.send?.({ port: address.port })
})
