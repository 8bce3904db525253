/** What programs and the broker call things. */

export const queueName = (queue: number): string => `queue ${queue}`
export const keyName = (key: number): string => `key ${key}`
/** Where a message goes that is published by a key: to whatever queues are bound by it, or back. */
export const byKeyName = keyName
export const isByKey = (destination: string): boolean => destination.startsWith('key ')
export const EXCHANGE = 'orders'
export const RPC_QUEUE = 'questions'
export const STREAM = 'log'
export const ERROR_QUEUE = 'errors'
/** There is no such queue. */
export const NOWHERE = 'nowhere'

/** A body that says whose it is, and whose every byte is known. */
export function bodyOf(id: string, size: number): Buffer {
  const body = Buffer.alloc(Buffer.byteLength(id) + 1 + size, id.length)
  body.write(id)
  body[Buffer.byteLength(id)] = 0
  return body
}
