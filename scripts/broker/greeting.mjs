/**
 * Asks a port whether AMQP 0-9-1 is spoken there.
 */
import { connect } from 'node:net'

const protocolHeader = Buffer.from('AMQP\0\0\x09\x01', 'latin1')
const methodFrame = 1
const frameHeaderSize = 7

/**
 * What a server's connection.start says of it, or undefined if none comes. A port that is open alone is not yet a
 * broker that takes connections.
 *
 * @param {{ host: string, port: number, timeout?: number }} address
 * @returns {Promise<{ version: string | undefined, clusterName: string | undefined } | undefined>}
 */
export function greet({ host, port, timeout = 2000 }) {
  return new Promise(resolve => {
    const socket = connect({ host, port })
    let received = Buffer.alloc(0)
    /** @param {Buffer} [start] */
    const finish = start => {
      socket.destroy()
      resolve(start && { version: property(start, 'version'), clusterName: property(start, 'cluster_name') })
    }
    socket.setTimeout(timeout, () => finish())
    socket.on('error', () => finish())
    socket.on('close', () => finish())
    socket.on('connect', () => socket.write(protocolHeader))
    socket.on('data', chunk => {
      received = Buffer.concat([received, chunk])
      if (received.readUInt8(0) !== methodFrame) return finish()
      if (received.length < frameHeaderSize) return
      if (received.length > frameHeaderSize + received.readUInt32BE(3)) finish(received)
    })
  })
}

/**
 * A long string of the server-properties, found by its name: all that is needed of the table.
 *
 * @param {Buffer} frame
 * @param {string} name
 */
function property(frame, name) {
  const at = frame.indexOf(Buffer.concat([Buffer.of(name.length), Buffer.from(`${name}S`)]))
  if (at === -1) return undefined
  const start = at + 1 + name.length + 1 + 4
  return frame.toString('utf8', start, start + frame.readUInt32BE(start - 4))
}
