/** What programs and the broker call things. */

export const queueName = (queue: number): string => `queue ${queue}`
export const keyName = (key: number): string => `key ${key}`
/** Where a message goes that is published by a key: to whatever queues are bound by it, or back. */
export const byKeyName = keyName
export const isByKey = (destination: string): boolean => destination.startsWith('key ')
export const EXCHANGE = 'orders'
export const RPC_QUEUE = 'questions'
export const STREAM = 'the log'
export const ERROR_QUEUE = 'errors'
/** There is no such queue. */
export const NOWHERE = 'nowhere'

const LONGEST_BODY = 70_000
const fillings = new Map<number, Buffer>()

/** Bytes of which a body is full. */
function filling(value: number): Buffer {
  const known = fillings.get(value)
  if (known !== undefined) return known
  const filled = Buffer.alloc(LONGEST_BODY, value)
  fillings.set(value, filled)
  return filled
}

/** A body that says whose it is, and whose every byte is known. */
export function bodyOf(id: string, size: number): Buffer {
  const body = Buffer.allocUnsafe(id.length + 1 + size)
  body.write(id, 'latin1')
  body[id.length] = 0
  filling(id.length).copy(body, id.length + 1, 0, size)
  return body
}

/** It is the body of that id, whole. */
export function isBodyOf(id: string, body: Buffer): boolean {
  const start = id.length + 1
  return (
    body.toString('latin1', 0, id.length) === id &&
    body[id.length] === 0 &&
    filling(id.length).compare(body, start, body.length, 0, body.length - start) === 0
  )
}

type Looks = Readonly<Record<string, unknown>>
const flags = (of: Looks, names: readonly string[]): string => names.filter(name => of[name] === true).join(' ')
/** The type that a queue gets by itself is left out. */
const table = (values: unknown): string =>
  JSON.stringify(
    Object.entries(values ?? {})
      .filter(([, value]) => value !== 'classic')
      .sort(),
  )

/** What a queue is, in words that two can be compared by. */
export const describeQueue = (queue: object): string =>
  `${flags({ ...queue }, ['durable', 'autoDelete', 'exclusive'])} ${table((queue as Looks)['arguments'])}`
export const describeExchange = (exchange: object): string =>
  `${(exchange as Looks)['type']} ${flags({ ...exchange }, ['durable', 'autoDelete', 'internal'])} ${table((exchange as Looks)['arguments'])}`
export const describeBinding = (source: string, destination: string, key: string, args: unknown): string =>
  `binding ${source} ${destination} ${key} ${table(args)}`
/** Its place in a stream is another one each time. */
export const describeConsumer = (
  prefetch: number,
  noAck: boolean,
  priority: number,
  exclusive = false,
  args: Looks = {},
): string => {
  const { 'x-stream-offset': _place, 'x-priority': _priority, ...others } = args
  const looks = [
    `limit ${noAck ? 0 : prefetch}`,
    noAck ? ' no-ack' : '',
    priority === 0 ? '' : ` priority ${priority}`,
    exclusive ? ' exclusive' : '',
    Object.keys(others).length === 0 ? '' : ` ${table(others)}`,
  ]
  return looks.join('')
}
