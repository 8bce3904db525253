// A strict program with schemas and codecs. It is compiled, never run.
import {
  type AmqpProtocol,
  type Codec,
  type CodecsOption,
  type Consumer,
  type ContentCodec,
  DecodeError,
  EncodeError,
  type EncodingCodec,
  type FailureOptions,
  type LoopOptions,
  type Message,
  type MessageHandler,
  type Publisher,
  type PublisherOptions,
  type RpcClient,
  type RpcReply,
  type RpcSchema,
  type SchemaInput,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
  type TypedPublishOptions,
} from 'asyncamqp'
import { createMessage } from 'asyncamqp/testing'

interface Order {
  readonly id: number
  readonly item: string
}

/** As libraries declare it: what goes in and what comes out differ, and there is more than the interface. */
interface LibrarySchema<Input, Output> extends StandardSchema<Input, Output> {
  parse(value: unknown): Output
}

declare const protocol: AmqpProtocol
declare const order: LibrarySchema<{ id: number | string; item?: string }, Order>
/** Those of ArkType can be called. */
declare const total: StandardSchema<number> & ((value: unknown) => number)

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function same<A, B>(_same: Same<A, B>): void {}

// ---- consumers

const handled = await protocol.consumer('q', message => same<typeof message, Message<Order>>(true), { schema: order })
same<typeof handled, Consumer<Order>>(true)
await protocol.consumer('q', async message => console.log(message.json().item.length), {
  schema: order,
  onFailure: (message, error) => {
    const issues: readonly SchemaIssue[] = (error instanceof DecodeError && error.issues) || []
    console.log(
      message.bytes().length,
      issues.map(({ path, message: text }) => `${path}: ${text}`),
    )
    return 'reject'
  },
})
await protocol.consumer('q', messages => console.log(messages.map(message => message.json().id + 1)), {
  schema: order,
  batch: { size: 10 },
})
const loop = await protocol.consumer('q', { schema: order, onFailure: 'reject' })
for await (const message of loop) console.log(message.json().id + 1)
for await (const batch of loop.batches({ size: 2 })) console.log(batch.map(message => message.json().id + 1))
const { value } = await loop.next()
console.log(value?.json().id)
const options: LoopOptions<number> = { schema: total, onFailure: 'drop' }
same<Awaited<ReturnType<typeof withOptions>>, Consumer<number>>(true)
const withOptions = () => protocol.consumer('q', options)
const handler: MessageHandler<Order> = message => message.json().id
handler(createMessage({ id: 1, item: 'tea' }))
await protocol.consumer('q', handler, { schema: order })
await protocol.consumer('q', (message: Message) => message.json<Order>().id)
await protocol.consumer('q', (message: Message) => message.text(), { schema: order })
// @ts-expect-error: the handler is for something else
await protocol.consumer('q', (message: Message<{ name: string }>) => message.json(), { schema: order })
// @ts-expect-error: there is no such property
await protocol.consumer('q', message => message.json().price, { schema: order })
// @ts-expect-error: a schema has the interface of Standard Schema
await protocol.consumer('q', () => {}, { schema: { parse: () => 1 } })
// @ts-expect-error: of what is not checked nothing is known
await protocol.consumer('q', message => message.json().id)
// @ts-expect-error: nothing can fail
await protocol.consumer('q', { onFailure: 'reject' })
const failing: FailureOptions = { onFailure: 'drop' }
await protocol.consumer('q', { ...failing, codecs: [] })

// ---- publishers

const publisher = await protocol.publisher({ schema: order })
same<typeof publisher, Publisher<{ id: number | string; item?: string }>>(true)
await publisher.publish({ id: 'one' }, 'q')
// @ts-expect-error: `id` is missing
await publisher.publish({ item: 'tea' }, 'q')
// @ts-expect-error: bytes do not fit
await publisher.publish(Buffer.from('x'), 'q')
await (await protocol.publisher({ schema: total })).publish(5, 'q')
const plain: Publisher = await protocol.publisher({ exchangeName: 'e' })
await plain.publish({ any: 'thing' }, 'q')
const publishing: PublisherOptions<number> = { schema: total, maxInFlight: 1 }
await (await protocol.publisher(publishing)).publish(5, 'q')

await protocol.publish({ id: 1 }, '', 'q', {}, { schema: order, timeout: 5 })
await protocol.publish(5, '', 'q', undefined, { schema: total })
const packing: TypedPublishOptions<undefined> = { codecs: [], mandatory: true }
await protocol.publish({ any: 'thing' }, '', 'q', { contentEncoding: 'gzip' }, packing)
// @ts-expect-error: it does not fit
await protocol.publish({ name: 'x' }, '', 'q', {}, { schema: order })
try {
  await publisher.publish({ id: 1 }, 'q')
} catch (error) {
  if (error instanceof EncodeError) console.log(error.issues?.[0]?.path, error.outcome)
}

// ---- RPC

const schema = { request: order, reply: total }
const described: RpcSchema<typeof order, typeof total> = schema
const client = await protocol.rpcClient({ schema: described, codecs: [] })
same<typeof client, RpcClient<{ id: number | string; item?: string }, number>>(true)
console.log((await client.call('q', { id: 1 })).json() + 1)
// @ts-expect-error: it does not fit
await client.call('q', { name: 'x' })
await protocol.rpcServer('q', request => request.json().id, { schema })
await protocol.rpcServer('q', async request => request.json().id, { schema })
// @ts-expect-error: the reply does not fit
await protocol.rpcServer('q', request => request.json().item, { schema })
// @ts-expect-error: the reply is missing
await protocol.rpcServer('q', async () => {}, { schema })
await protocol.rpcServer('q', async () => {})
await protocol.rpcServer('q', request => (request.json().item.length > 0 ? 'yes' : undefined), {
  schema: { request: order },
})
const reply: RpcReply = undefined
await protocol.rpcServer('q', () => reply)

// ---- codecs

const csv: ContentCodec = {
  contentType: 'text/csv',
  encode: value => String(value),
  decode: body => body.toString().split(','),
}
const zstd: EncodingCodec = {
  contentEncoding: 'zstd',
  encode: async body => body,
  decode: (body, maxSize) => body.subarray(0, maxSize),
}
const codecs: readonly Codec[] = [csv, zstd]
const option: CodecsOption = { codecs }
await protocol.consumer('q', message => message.json<string[]>().length, option)
await protocol.publisher(option)
// @ts-expect-error: a codec is for a content type or for a content encoding
await protocol.publisher({ codecs: [{ encode: () => '', decode: () => '' }] })

// ---- a schema by hand

const byHand: StandardSchema<Order> = {
  '~standard': {
    version: 1,
    vendor: 'mine',
    validate: (given): SchemaResult<Order> =>
      typeof given === 'object'
        ? { value: given as Order }
        : { issues: [{ message: 'not an object', path: ['a', 0] }] },
  },
}
const input: SchemaInput<typeof byHand> = { id: 1, item: 'tea' }
console.log(input.id)
