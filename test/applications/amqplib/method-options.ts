import type { ConsumeOptions, ExchangeDeclareOptions, QueueDeclareOptions } from 'asyncamqp'
import { toTable } from './values.ts'

/** Options of a method: those of amqplib, which ignores others. */
export type Options = Readonly<Record<string, unknown>> | null | undefined

const QUEUE_ARGUMENTS = {
  expires: 'x-expires',
  messageTtl: 'x-message-ttl',
  deadLetterExchange: 'x-dead-letter-exchange',
  deadLetterRoutingKey: 'x-dead-letter-routing-key',
  maxLength: 'x-max-length',
  maxPriority: 'x-max-priority',
  overflow: 'x-overflow',
  queueMode: 'x-queue-mode',
}

export function queueOptions(options: Options): QueueDeclareOptions {
  const { exclusive, durable = true, autoDelete, arguments: given, ...others } = options ?? {}
  const named = Object.entries(QUEUE_ARGUMENTS).map(([option, name]) => [name, others[option]])
  const args = toTable({ ...(given as object), ...defined(named) })
  return { exclusive: !!exclusive, durable: !!durable, autoDelete: !!autoDelete, arguments: args }
}

export function exchangeOptions(options: Options): ExchangeDeclareOptions {
  const { durable = true, autoDelete, internal, alternateExchange, arguments: given } = options ?? {}
  const args = toTable({ ...(given as object), ...defined([['alternate-exchange', alternateExchange]]) })
  return { durable: !!durable, autoDelete: !!autoDelete, internal: !!internal, arguments: args }
}

export function consumeOptions(options: Options): ConsumeOptions {
  const { consumerTag, noLocal, noAck, exclusive, priority, arguments: given } = options ?? {}
  const args = toTable({ ...(given as object), ...defined([['x-priority', priority]]) })
  const flags = { noLocal: !!noLocal, noAck: !!noAck, exclusive: !!exclusive }
  return { ...flags, consumerTag: (consumerTag as string) || undefined, arguments: args }
}

function defined(entries: readonly unknown[][]): object {
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined) as [string, unknown][])
}
