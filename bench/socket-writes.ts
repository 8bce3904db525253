import { Socket } from 'node:net'

/**
 * Counts what sockets hand to the kernel: `_writeGeneric` makes one request of the handle each time it runs. Kept out of
 * timed runs.
 */
export function countSocketWrites(): () => number {
  let count = 0
  const original: unknown = Reflect.get(Socket.prototype, '_writeGeneric')
  if (typeof original !== 'function') throw new Error('this Node.js has no Socket.prototype._writeGeneric to count')
  Reflect.set(Socket.prototype, '_writeGeneric', function counted(this: Socket, ...args: unknown[]): unknown {
    count += 1
    return Reflect.apply(original, this, args)
  })
  return () => count
}
