import { randomBytes } from 'node:crypto'

/** A name that nothing else has, for a queue, an exchange, a connection or a vhost of one test. */
export function uniqueName(prefix: string): string {
  return `${prefix}-${process.pid}-${randomBytes(4).toString('hex')}`
}
