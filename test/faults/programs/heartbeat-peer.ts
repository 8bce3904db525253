/** A server in a thread of its own: it opens one connection, beats and reads, whatever the client does. */
import { parentPort } from 'node:worker_threads'
import { openScriptedServer } from '../../support/scripted-server.ts'

const server = await openScriptedServer()
parentPort?.postMessage(server.port)
const peer = await server.accept()
await peer.handshake({ heartbeat: 1 })
setInterval(() => peer.sendHeartbeat(), 400)
