import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const PROTOCOL_HEADER = 'AMQP\0\0\x09\x01'

const closed = (socket: Socket) => new Promise(resolve => socket.once('close', resolve))

/** A client that goes no further than connection.start. */
async function hesitating(broker: Broker) {
  const socket = connectSocket(broker.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(PROTOCOL_HEADER)
  await once(socket, 'data')
  return socket
}

describe('A client that is still logging in to a broker for tests', () => {
  const cuts: readonly (readonly [string, (broker: Broker) => void])[] = [
    ['cut', broker => broker.cutConnections()],
    ['reset', broker => broker.resetConnections()],
  ]
  for (const [name, cut] of cuts) {
    it(`is ${name} with the others`, async () => {
      await using broker = await startBroker()
      const socket = await hesitating(broker)
      const end = closed(socket)
      cut(broker)
      await end
    })
  }

  it('is ended when it takes too long, also after the broker was frozen', async () => {
    const clock = new VirtualClock()
    await using broker = await startBroker({ clock })
    const socket = await hesitating(broker)
    const end = closed(socket)
    broker.freeze()
    await clock.advance(10_000)
    broker.thaw()
    await clock.advance(10_000)
    await end
  })
})
