import type { Message, StandardSchema } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

interface Order {
  readonly id: number
}

const order: StandardSchema<Order> = {
  '~standard': {
    version: 1,
    vendor: 'simulation',
    validate: value =>
      typeof (value as Partial<Order> | null)?.id === 'number'
        ? { value: value as Order }
        : { issues: [{ message: 'it has no id' }] },
  },
}
const total: StandardSchema<{ readonly total: number }> = {
  '~standard': {
    version: 1,
    vendor: 'simulation',
    validate: value =>
      typeof (value as { total?: unknown } | null)?.total === 'number'
        ? { value: value as { total: number } }
        : { issues: [{ message: 'it has no total' }] },
  },
}
const backwards = {
  contentType: 'text/backwards',
  encode: (value: unknown) => [...JSON.stringify(value)].reverse().join(''),
  decode: (body: Buffer): unknown => JSON.parse([...body.toString()].reverse().join('')),
}

/** What fits the schema arrives as it was; what does not is not sent, or not handled. */
export const typed: Errand = async outing => {
  const { protocol } = outing
  const parked = await outing.queue()
  const queue = await outing.queue()
  const publisher = outing.keep(await protocol.publisher({ schema: order, codecs: [backwards] }))
  const failed = publisher.publish({ name: 'no order' } as unknown as Order, queue)
  outing.equal(
    (await failed.catch((error: unknown) => error as { outcome: string }))?.outcome,
    'notSent',
    'what does not fit',
  )
  const coded = { contentType: backwards.contentType }
  await Promise.all([1, 2, 3].map(id => publisher.publish({ id }, queue, id === 2 ? coded : {})))
  await outing.publish(queue, 'no JSON')
  await publisher.publish({ id: 4 }, queue)
  const seen: number[] = []
  const consumer = outing.keep(
    await protocol.consumer(queue, message => void seen.push(message.json().id), {
      schema: order,
      codecs: [backwards],
      concurrency: 1,
      onFailure: { exchangeName: '', routingKey: parked },
    }),
  )
  await outing.until(() => seen.length === 4, 'four orders')
  outing.equal(seen, [1, 2, 3, 4], 'the orders')
  await outing.holds(parked, 1, 'what does not fit')
  outing.equal(await outing.takeAll(parked), ['no JSON'], 'what does not fit')
  await consumer.close()
  await outing.holds(queue, 0, 'messages that are left')
  // What is given up while it is encoded lets none overtake the one before it.
  const slow = {
    contentType: 'text/slow',
    encode: async (value: number) => {
      await outing.sleep(value)
      return `${value}`
    },
    decode: (body: Buffer): unknown => body.toString(),
  }
  const late = outing.keep(await protocol.publisher<number>({ codecs: [slow] }))
  const sent = (value: number, timeout: number): Promise<void> =>
    outing.meanwhile(late.publish(value, queue, { contentType: 'text/slow' }, { timeout }))
  const first = sent(100, 20_000)
  const givenUp = outing.failure(sent(50, 20), 'TimeoutError', 'a publish that takes too long to encode')
  await Promise.all([first, givenUp, sent(1, 20_000)])
  outing.equal(await outing.takeAll(queue), ['100', '1'], 'the order of what is encoded')
}

/** What is packed twice is unpacked twice, within the size of a message; a publish has no more time than it says, and a close waits. */
export const encodings: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect({ maxMessageSize: 5_000 })
  for (const queue of ['packed', 'parked']) await protocol.queueDeclare(queue)
  const codecs = [
    {
      contentEncoding: 'hex',
      encode: (body: Buffer) => Buffer.from(body.toString('hex')),
      decode: (body: Buffer) => Buffer.from(body.toString(), 'hex'),
    },
    {
      contentEncoding: 'wrapped',
      encode: (body: Buffer) => Buffer.from(`<${body}>`),
      decode: (body: Buffer) => body.subarray(1, -1),
    },
    { contentEncoding: 'swollen', encode: (body: Buffer) => body, decode: () => Buffer.alloc(5_001) },
    {
      contentType: 'text/slow',
      encode: (value: unknown) => outing.sleep(100).then(() => `${value}`),
      decode: (body: Buffer) => body.toString(),
    },
  ]
  const publisher = await protocol.publisher<string>({ codecs })
  const seen: string[] = []
  await protocol.consumer('packed', message => void seen.push(message.bytes().toString()), {
    codecs,
    onFailure: { exchangeName: '', routingKey: 'parked' },
  })
  for (const contentEncoding of ['hex, wrapped', 'swollen'])
    await publisher.publish('text', 'packed', { contentType: 'text/plain', contentEncoding })
  await outing.until(() => control.evidence().queued.get('parked')?.length === 1, 'what is too large unpacked', 2_000)
  outing.equal(seen, ['text'], 'what was packed')
  control.withholdConfirms()
  const began = outing.clock.now()
  const late = publisher.publish('late', 'packed', { contentType: 'text/slow' }, { timeout: 150 })
  await outing.failure(late, 'TimeoutError', 'a publish that is encoded for long')
  outing.took(began, 150, 170, 'a publish that is encoded for long')
  control.releaseConfirms()
  const last = outing.meanwhile(publisher.publish('last', 'packed', { contentType: 'text/slow' }))
  await publisher.close()
  await last
}

/** What the protocol publishes by a schema arrives in order, also if the connection is closed at once; what does not fit is not sent. */
export const typedAtOnce: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect()
  await protocol.queueDeclare('typed')
  const ends: string[] = []
  const publish = async (content: unknown, messageId: string, options = {}): Promise<void> => {
    const properties = { messageId, ...(messageId === 'coded' && { contentType: backwards.contentType }) }
    const published = protocol.publish(content as Order, '', 'typed', properties, { schema: order, ...options })
    const end = await published.catch((error: unknown) => error as { outcome: string })
    ends.push(`${messageId} ${end?.outcome ?? 'arrived'}`)
  }
  const published = [
    publish({ id: 1 }, 'first'),
    publish({ name: 'no order' }, 'none'),
    publish({ id: 2 }, 'second'),
    publish({ id: 3 }, 'coded', { codecs: [backwards] }),
  ]
  await protocol.close()
  await Promise.all(published)
  outing.equal(ends.sort(), ['coded arrived', 'first arrived', 'none notSent', 'second arrived'], 'ends of publishes')
  outing.equal(control.evidence().queued.get('typed'), ['first', 'second', 'coded'], 'what arrived by a schema')
}

/** Both sides of a call are checked. */
export const typedQuestions: Errand = async outing => {
  const { protocol } = outing
  const queue = await outing.queue()
  const schema = { request: order, reply: total }
  outing.keep(await protocol.rpcServer(queue, request => ({ total: request.json().id + 1 }), { schema }))
  const client = outing.keep(await protocol.rpcClient({ schema }))
  outing.equal((await client.call(queue, { id: 1 })).json(), { total: 2 }, 'the answer')
  const wrong = client.call(queue, { name: 'x' } as unknown as Order)
  outing.expect((await wrong.catch((error: unknown) => error)) instanceof Error, 'what does not fit is sent')
  const plain = outing.keep(await protocol.rpcClient())
  await outing.failure(plain.call(queue, { name: 'x' }), 'RemoteError', 'a request that does not fit')
}

/** A reply that has come is that of its call, whatever becomes of the connection while it is decoded; a later one comes too late. */
export const lostWhileAnswered: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const queue = await outing.queue()
  outing.keep(await outing.protocol.rpcServer(queue, request => ({ total: request.json<Order>().id })))
  const { validate } = total['~standard']
  const slow: typeof total = {
    '~standard': { ...total['~standard'], validate: value => outing.sleep(30).then(() => validate(value)) },
  }
  const client = outing.keep(await own.protocol.rpcClient({ schema: { request: order, reply: slow } }))
  for (const id of [1, 2, 3]) {
    const answer = outing.meanwhile(client.call(queue, { id }))
    await outing.sleep(10)
    if (id === 2) own.cut()
    const reply = await answer.then(
      message => message.json(),
      (error: unknown) => `${error}`,
    )
    outing.equal(reply, { total: id }, 'a reply that was decoded')
  }
}

/** A message that is lost while it is decoded is not handed out: it comes again. */
export const lostWhileDecoded: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const queue = await outing.queue()
  const slow = {
    ...backwards,
    decode: async (body: Buffer): Promise<unknown> => {
      await outing.sleep(30)
      return backwards.decode(body)
    },
  }
  const seen: number[] = []
  const handler = (message: Message<Order>): void => {
    outing.expect(!message.signal.aborted, 'a message that was lost while it was decoded is handed out')
    seen.push(message.json().id)
  }
  outing.keep(await own.protocol.consumer(queue, handler, { schema: order, codecs: [slow] }))
  const publisher = outing.keep(await outing.protocol.publisher({ schema: order, codecs: [backwards] }))
  for (const id of [1, 2, 3]) await publisher.publish({ id }, queue, { contentType: backwards.contentType })
  await outing.sleep(10)
  own.cut()
  await outing.until(() => seen.length >= 3, 'what was lost while it was decoded', 5_000)
  await outing.sleep(200)
  outing.equal([...seen].sort(), [1, 2, 3], 'what was decoded')
  await outing.holds(queue, 0, 'messages that are left')
}

/** Messages whose decoding takes longer for some than for others wait for the end of a pause in the order in which they came. */
export const decodedInOrder: Errand = async outing => {
  const queue = await outing.queue()
  const seen: number[] = []
  let begun = 0
  const numbers = Array.from({ length: 24 }, (_, n) => n)
  const schema = {
    '~standard': {
      version: 1 as const,
      vendor: 'errand',
      validate: async (value: unknown) => {
        begun++
        await outing.sleep(1_000 + Math.floor(outing.clock.random() * 100))
        return { value: Number(value) }
      },
    },
  }
  await outing.publish(queue, ...numbers.map(String))
  const decoding = (value: number): void => void seen.push(value)
  const consumer = outing.keep(
    await outing.protocol.consumer(queue, message => decoding(message.json() as number), {
      schema,
      prefetchCount: 50,
      concurrency: 50,
    }),
  )
  await outing.until(() => begun === numbers.length, 'all messages are being decoded', 900)
  consumer.pause()
  await outing.sleep(2_000)
  outing.equal(seen, [], 'messages that are handled in a pause')
  consumer.resume()
  await outing.until(() => seen.length === numbers.length, 'all messages', 5_000)
  outing.equal(seen, numbers, 'the order of messages that were decoded')
}
