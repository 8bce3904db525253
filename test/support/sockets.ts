import net from 'node:net'
import type { TestContext } from 'node:test'

/** The sockets that are connected while the test runs, in order. */
export function watchSockets(t: TestContext): readonly net.Socket[] {
  const sockets: net.Socket[] = []
  const connect = net.Socket.prototype.connect
  t.mock.method(net.Socket.prototype, 'connect', function (this: net.Socket, ...args: Parameters<typeof connect>) {
    sockets.push(this)
    return connect.apply(this, args)
  })
  return sockets
}

/** Whether TCP_NODELAY is set on a socket; Node has no public way to ask. */
export function hasNoDelay(socket: net.Socket): boolean {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'kSetNoDelay')
  return symbol !== undefined && Reflect.get(socket, symbol) === true
}

/** Reset a connection (RST). Node leaves it open for good, and spins at exit, if it is in the middle of its shutdown. */
export function resetSocket(socket: net.Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}
