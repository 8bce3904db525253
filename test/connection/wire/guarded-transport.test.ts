import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Transport, TransportFactory } from '../../../src/connection/wire/transport.ts'
import { ConnectionFailedError, ConnectionLostError, connect, EncodeError } from '../../../src/index.ts'
import { FakeBroker } from '../../support/fake-broker.ts'
import { rejection } from '../../support/rejection.ts'
import { turn } from '../../support/settled.ts'

/** The transport of a broker in memory, of which some members are another's. */
function withMembers(broker: FakeBroker, members: Partial<Record<keyof Transport, () => never>>): TransportFactory {
  return async (...args) => {
    const transport = await broker.createTransport(...args)
    return new Proxy(transport, {
      get(target, key) {
        const own = members[key as keyof Transport]
        if (key === 'pending' && own !== undefined) return own()
        if (own !== undefined) return own
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
  }
}

const fail = (): never => {
  throw new Error('it is broken')
}

describe('a transport of the program’s own', () => {
  for (const member of ['write', 'pending'] as const) {
    it(`that throws from ${member} once it is open breaks its connection, and nothing else`, async () => {
      const broker = new FakeBroker()
      const members: Partial<Record<keyof Transport, () => never>> = {}
      const createTransport = withMembers(broker, members)
      const protocol = await connect({ createTransport, recovery: false, heartbeat: 0, onError: () => {} })
      members[member] = fail
      const lost = rejection(protocol.waitClosed(), ConnectionLostError)
      void protocol.channel().catch(() => {})
      assert.match((await lost).message, /was lost: it is broken/)
      assert.equal(protocol.state, 'closed')
    })
  }

  it('that ends as soon as it is made fails the attempt', async () => {
    const broker = new FakeBroker()
    const createTransport: TransportFactory = async (target, handler, ...others) => {
      const transport = await broker.createTransport(target, handler, ...others)
      queueMicrotask(() => handler.onClose(new Error('it is gone')))
      return transport
    }
    const connecting = connect({ createTransport, recovery: false, heartbeat: 0 })
    assert.match((await rejection(connecting, ConnectionFailedError)).message, /was lost: it is gone/)
  })

  it('may throw from all that ends it', async () => {
    const broker = new FakeBroker()
    const members = { end: fail, destroy: fail, pause: fail, resume: fail }
    const createTransport = withMembers(broker, members)
    const protocol = await connect({ createTransport, recovery: false, heartbeat: 0 })
    await protocol.close()
    await turn()
    assert.equal(protocol.state, 'closed')
  })

  it('that is none, or that createTransport throws at, fails the attempt', async () => {
    for (const createTransport of [
      () => undefined,
      () => ({}),
      fail,
      () => Promise.reject(new Error('it is broken')),
    ]) {
      const error = await rejection(
        connect({ createTransport: createTransport as never, recovery: false }),
        ConnectionFailedError,
      )
      assert.ok(error.cause instanceof EncodeError || /it is broken/.test(error.message))
    }
  })

  it('may not know its peer', async () => {
    const broker = new FakeBroker()
    const createTransport: TransportFactory = async (...args) => {
      const transport = await broker.createTransport(...args)
      return new Proxy(transport, {
        get: (target, key) => {
          const value: unknown = key === 'peer' ? undefined : Reflect.get(target, key, target)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    }
    const protocol = await connect({ createTransport, recovery: false, heartbeat: 0, onError: () => {} })
    assert.equal(protocol.peer.host, '')
    broker.peers[0]?.finish()
    await rejection(protocol.waitClosed(), ConnectionLostError)
  })
})
