import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Outing } from './errand.ts'

/** Fields of the context of each operation, which docs/observability.md lists, in the order in which they are shown. */
const FIELDS = {
  publish:
    'exchangeName routingKey bodySize mandatory confirmed messageId correlationId replyTo headers attempts deliveryTag outcome',
  process: 'kind messageId deliveryTag redelivered deliveryCount attempt bodySize noAck outcome',
  settle: 'method deliveryTag multiple requeue sent',
  call: 'method target options',
  'rpc.call': 'exchangeName routingKey bodySize replySize outcome',
  'rpc.handle': 'queueName routingKey bodySize replySize deliveryTag redelivered outcome',
} as const

type Fields = Readonly<Record<string, unknown>>

function shown(value: unknown): string {
  if (value === undefined) return '-'
  // Names that are other ones each time.
  if (typeof value === 'string')
    return value.replace(/[0-9a-f]{32}-/, 'its ').replace(/reply-to\..*/, 'reply-to of it') || "''"
  return typeof value === 'object' ? JSON.stringify(value).replaceAll('"', '') : `${value}`
}

/** What the operations of the errand's connection say when they are over, in order; messages come from `queue`. */
export function watch(outing: Outing, queue: () => string): string[] {
  const lines: string[] = []
  for (const [operation, names] of Object.entries(FIELDS)) {
    const see = (context: unknown): void => {
      const fields = context as Fields
      const { connectionName, serverAddress, serverPort, virtualHost, error } = fields
      if (connectionName !== outing.name) return
      outing.equal([serverAddress, serverPort, virtualHost], ['localhost', 5672, '/'], `where a ${operation} is`)
      if (operation === 'process') {
        const { queueName, exchangeName, routingKey } = fields
        outing.equal([queueName, exchangeName, routingKey], [queue(), '', queue()], 'where a message comes from')
      }
      const says = names.split(' ').map(name => shown(fields[name]))
      lines.push([operation, ...says, ...(error instanceof Error ? [error.name] : [])].join(' '))
    }
    const name = `tracing:asyncamqp:${operation}:${operation === 'settle' ? 'end' : 'asyncEnd'}`
    subscribe(name, see)
    outing.keep({ close: async () => unsubscribe(name, see) })
  }
  return lines
}
