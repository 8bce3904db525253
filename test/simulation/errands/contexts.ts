import type { AmqpProtocol, Consumer, Message } from '../../../src/index.ts'
import type { Errand, Outing } from './errand.ts'
import { watch } from './said.ts'

const schema = {
  '~standard': {
    version: 1 as const,
    vendor: 'errand',
    validate: (value: unknown) => (value === 'bad' ? { issues: [{ message: 'it is bad' }] } : { value: `${value}` }),
  },
}

/** Each message is settled in another way, and those that are given back in two. */
function settle(message: Message<string>): void {
  const { isRedeliver } = message.envelope
  switch (message.json()) {
    case 'one':
      message.ack()
      // It is settled already, which says so.
      message.reject()
      return
    case 'two':
      message.nack({ requeue: !isRedeliver })
      return
    case 'three':
      message.reject({ requeue: !isRedeliver })
  }
}

const TYPED = { schema, onFailure: 'reject' } as const

interface Way {
  readonly name: string
  readonly begin: (protocol: AmqpProtocol, queue: string, outing: Outing) => Promise<{ close(): Promise<unknown> }>
  readonly says: readonly string[]
}

async function nexts(consumer: Consumer<string>): Promise<void> {
  for (let next = await consumer.next(); next.value !== undefined; next = await consumer.next()) settle(next.value)
}

async function loop(consumer: Consumer<string>): Promise<void> {
  for await (const message of consumer) settle(message)
}

async function batchLoop(consumer: Consumer<string>): Promise<void> {
  for await (const messages of consumer.batches({ size: 3, wait: 20 })) messages.forEach(settle)
}

/** What works on the messages 'one', 'two', 'bad', 'three', 'four', and what operations say of it. */
const WAYS: readonly Way[] = [
  {
    name: 'handler',
    begin: (protocol, queue) => protocol.consumer(queue, settle, { ...TYPED, concurrency: 1 }),
    says: [
      'settle basic.ack 1 false false true; process handler one 1 false 0 1 5 false acked',
      'settle basic.nack 2 false true true; process handler two 2 false 0 1 5 false requeued',
      'settle basic.reject 3 false false true; process handler bad 3 false 0 1 5 false rejected DecodeError',
      'settle basic.reject 4 false true true; process handler three 4 false 0 1 7 false requeued',
      'settle basic.ack 5 false false true; process handler four 5 false 0 1 6 false acked',
      'settle basic.nack 6 false false true; process handler two 6 true 1 1 5 false rejected',
      'settle basic.reject 7 false false true; process handler three 7 true 1 1 7 false rejected',
    ],
  },
  {
    name: 'handler without acks',
    begin: (protocol, queue) => protocol.consumer(queue, () => {}, { schema, noAck: true }),
    says: [
      'process handler one 1 false 0 1 5 true noAck; process handler two 2 false 0 1 5 true noAck',
      'process handler bad 3 false 0 1 5 true noAck DecodeError; process handler three 4 false 0 1 7 true noAck',
      'process handler four 5 false 0 1 6 true noAck',
    ],
  },
  {
    name: 'handler of batches',
    begin: (protocol, queue) =>
      protocol.consumer(queue, messages => messages.forEach(settle), { ...TYPED, batch: { size: 3, wait: 20 } }),
    says: [
      'settle basic.reject 3 false false true; process handler bad 3 false 0 1 5 false rejected DecodeError',
      'settle basic.ack 1 false false true; settle basic.nack 2 false true true',
      'settle basic.reject 4 false true true; process handler one 1 false 0 1 5 false acked',
      'process handler two 2 false 0 1 5 false requeued; process handler three 4 false 0 1 7 false requeued',
      'settle basic.nack 6 false false true; settle basic.reject 7 false false true',
      'settle basic.ack 5 false false true; process handler four 5 false 0 1 6 false acked; process handler two 6 true 1 1 5 false rejected',
      'process handler three 7 true 1 1 7 false rejected',
    ],
  },
  {
    name: 'loop',
    begin: async (protocol, queue, outing) => {
      const consumer = await protocol.consumer(queue, TYPED)
      outing.meanwhile(loop(consumer))
      return consumer
    },
    says: [
      'settle basic.ack 1 false false true; process loop one 1 false 0 1 5 false acked',
      'settle basic.nack 2 false true true; process loop two 2 false 0 1 5 false requeued',
      'settle basic.reject 3 false false true; process loop bad 3 false 0 1 5 false rejected DecodeError',
      'settle basic.reject 4 false true true; process loop three 4 false 0 1 7 false requeued',
      'settle basic.ack 5 false false true; process loop four 5 false 0 1 6 false acked',
      'settle basic.nack 6 false false true; process loop two 6 true 1 1 5 false rejected',
      'settle basic.reject 7 false false true; process loop three 7 true 1 1 7 false rejected',
    ],
  },
  {
    name: 'loop over batches',
    begin: async (protocol, queue, outing) => {
      const consumer = await protocol.consumer(queue, TYPED)
      outing.meanwhile(batchLoop(consumer))
      return consumer
    },
    says: [
      'settle basic.reject 3 false false true; process loop bad 3 false 0 1 5 false rejected DecodeError',
      'settle basic.ack 1 false false true; settle basic.nack 2 false true true',
      'settle basic.reject 4 false true true; process loop one 1 false 0 1 5 false acked',
      'process loop two 2 false 0 1 5 false requeued; process loop three 4 false 0 1 7 false requeued',
      'settle basic.nack 6 false false true; settle basic.reject 7 false false true',
      'process loop two 6 true 1 1 5 false rejected; process loop three 7 true 1 1 7 false rejected',
      'settle basic.ack 5 false false true; process loop four 5 false 0 1 6 false acked',
    ],
  },
  {
    name: 'next',
    begin: async (protocol, queue, outing) => {
      const consumer = await protocol.consumer(queue, TYPED)
      outing.meanwhile(nexts(consumer))
      return consumer
    },
    says: [
      'settle basic.ack 1 false false true; process next one 1 false 0 1 5 false acked',
      'settle basic.nack 2 false true true; process next two 2 false 0 1 5 false requeued',
      'settle basic.reject 3 false false true; process loop bad 3 false 0 1 5 false rejected DecodeError',
      'settle basic.reject 4 false true true; process next three 4 false 0 1 7 false requeued',
      'settle basic.nack 6 false false true; process next two 6 true 1 1 5 false rejected',
      'settle basic.reject 7 false false true; process next three 7 true 1 1 7 false rejected',
      'process next four 5 false 0 1 6 false requeued',
    ],
  },
  {
    name: 'callback',
    begin: async (protocol, queue) => {
      const channel = await protocol.channel()
      await channel.basicConsume((on, body, { deliveryTag, isRedeliver }) => {
        const text = JSON.parse(body.toString())
        if (text === 'one') on.basicClientAck(deliveryTag)
        if (text === 'two') on.basicClientNack(deliveryTag, { requeue: !isRedeliver })
        if (text === 'bad') on.basicReject(deliveryTag, { requeue: false })
        if (text === 'four') on.basicClientAck(deliveryTag, { multiple: true })
      }, queue)
      return channel
    },
    says: [
      'settle basic.ack 1 false false true; process callback one 1 false 0 1 5 false acked',
      'settle basic.nack 2 false true true; process callback two 2 false 0 1 5 false requeued',
      'settle basic.reject 3 false false true; process callback bad 3 false 0 1 5 false rejected',
      'settle basic.ack 5 true false true; process callback four 5 false 0 1 6 false acked',
      'process callback three 4 false 0 1 7 false acked; settle basic.nack 6 false false true',
      'process callback two 6 true 1 1 5 false rejected',
    ],
  },
  {
    name: 'stream',
    begin: (protocol, queue) =>
      protocol.consumer(queue, settle, { ...TYPED, concurrency: 1, arguments: { 'x-stream-offset': 'first' } }),
    says: [
      'settle basic.ack 1 false false true; process handler one 1 false 0 1 5 false acked',
      'settle basic.nack 2 false true true; process handler two 2 false 0 1 5 false requeued',
      'settle basic.reject 3 false false true; process handler bad 3 false 0 1 5 false rejected DecodeError',
      'settle basic.reject 4 false true true; process handler three 4 false 0 1 7 false requeued',
      'settle basic.ack 5 false false true; process handler four 5 false 0 1 6 false acked',
      'settle basic.nack 2 false false true; process handler two 2 true 1 1 5 false rejected',
      'settle basic.reject 4 false false true; process handler three 4 true 1 1 7 false rejected',
    ],
  },
]

/** Runs that have all ways. */
const PARTS = 2

/** Each operation says what it was, with all that there is to say of it. */
export const contexts: Errand = async outing => {
  const { connect } = outing.startBroker()
  const { protocol } = await connect({ connectionName: outing.name })
  let queue = ''
  const lines = watch(outing, () => queue)
  const expect = (what: string, should: readonly string[], is = lines.splice(0)): void =>
    outing.equal(is.join('; '), should.join('; '), `what operations say of a ${what}`)
  for (const [n, { name, begin, says }] of WAYS.entries()) {
    // Each time other ones.
    if (n % PARTS !== outing.number % PARTS) continue
    queue = name
    await protocol.queueDeclare(name, name === 'stream' ? { arguments: { 'x-queue-type': 'stream' } } : {})
    for (const text of ['one', 'two', 'bad', 'three', 'four'])
      await protocol.publish(JSON.stringify(text), '', name, { messageId: text })
    lines.length = 0
    const working = await begin(protocol, name, outing)
    await outing.sleep(1_500)
    await working.close()
    // What begins and ends it is always the same.
    expect(
      name,
      says,
      lines.splice(0).filter(line => !line.startsWith('call')),
    )
  }
  if (outing.number % PARTS === 0) return
  const channel = await protocol.channel({ publisherConfirms: true })
  await channel.exchangeDeclare('exchange', 'topic', { durable: true })
  await channel.queueDeclare('queue', { arguments: { 'x-max-length': 10 } })
  await channel.queueBind('queue', 'exchange', 'key', { arguments: { n: 1 } })
  await channel.exchangeBind('exchange', 'amq.topic', 'key')
  await channel.exchangeUnbind('exchange', 'amq.topic', 'key')
  await channel.queueUnbind('queue', 'exchange', 'key', { arguments: { n: 1 } })
  await channel.exchangeDelete('exchange', { ifUnused: true })
  await protocol.queueDeclare('queue', { passive: true })
  await outing.failure(protocol.queueDeclare('none', { passive: true }), 'ChannelClosedError', 'a declare')
  const named = { messageId: 'm', correlationId: 'c', replyTo: 'r', headers: { h: 1 } }
  await channel.publish('one', '', 'queue', named)
  await channel.publish('three', 'amq.topic', 'none', {}, { mandatory: false })
  await outing.failure(channel.publish('six', '', 'none', {}, { mandatory: true }), 'MessageReturnedError', 'a publish')
  await channel.basicPublish('five5', '', 'queue')
  await protocol.publish('seven77', '', 'queue')
  await outing.failure(protocol.publish('x', 'none', 'key'), 'ChannelClosedError', 'a publish')
  await channel.basicQos({ prefetchCount: 3 })
  await channel.basicGet('queue', { noAck: true })
  const tag = (await channel.basicGet('queue'))?.envelope.deliveryTag ?? 0
  await channel.basicClientNack(tag, { requeue: true })
  await channel.queuePurge('queue')
  await channel.waitForConfirms()
  await channel.queueDelete('queue', { ifEmpty: true })
  expect('channel', [
    'call exchange.declare exchange {durable:true}; call queue.declare queue {arguments:{x-max-length:10}}',
    'call queue.bind queue {arguments:{n:1}}; call exchange.bind exchange {}; call exchange.unbind exchange {}',
    'call queue.unbind queue {arguments:{n:1}}; call exchange.delete exchange {ifUnused:true}',
    'call queue.declare queue {passive:true}; call queue.declare none {passive:true} ChannelClosedError',
    "publish '' queue 3 false true m c r {h:1} 1 1 confirmed",
    'publish amq.topic none 5 false true - - - {} 1 2 confirmed',
    "publish '' none 3 true true - - - {} 1 3 returned MessageReturnedError",
    "publish '' queue 5 false false - - - {} 1 - sent; publish '' queue 7 true true - - - {} 1 21 confirmed",
    'publish none key 1 false true - - - {} 1 1 refused ChannelClosedError; call basic.qos - {prefetchCount:3}',
    'call basic.get queue {noAck:true}; call basic.get queue {}; settle basic.nack 2 false true true',
    'call queue.purge queue {}; call waitForConfirms - {}; call queue.delete queue {ifEmpty:true}',
  ])
  const answer = (request: Message): string => {
    if (request.text() === 'bad') throw new RangeError('no answer')
    return 'answer'
  }
  queue = 'asked'
  await protocol.queueDeclare(queue)
  await protocol.rpcServer(queue, answer)
  const client = await protocol.rpcClient({ timeout: 2_000 })
  lines.length = 0
  await client.call(queue, 'question')
  await outing.failure(client.call(queue, 'bad'), 'RemoteError', 'a call')
  await outing.failure(client.call('none', 'x'), 'MessageReturnedError', 'a call')
  await outing.sleep(50)
  expect('question', [
    "publish '' asked 8 true true - its 1 amq.rabbitmq.reply-to {} 1 1 confirmed",
    "publish '' amq.rabbitmq.reply-to of it 6 false true - its 1 - {} 1 1 confirmed",
    "rpc.call '' asked 8 6 replied; rpc.handle asked asked 8 6 1 false replied",
    'settle basic.ack 1 false false true; process handler - 1 false 0 1 8 false acked',
    "publish '' asked 3 true true - its 2 amq.rabbitmq.reply-to {} 1 2 confirmed",
    "publish '' amq.rabbitmq.reply-to of it 9 false true - its 2 - {x-exception-name:RangeError,x-exception-message:no answer} 1 2 confirmed",
    "rpc.call '' asked 3 - failed RemoteError; rpc.handle asked asked 3 9 2 false failed RangeError",
    'settle basic.ack 2 false false true; process handler - 2 false 0 1 3 false acked',
    "rpc.call '' none 1 - returned MessageReturnedError",
    "publish '' none 1 true true - its 3 amq.rabbitmq.reply-to {} 1 3 returned MessageReturnedError",
  ])
}
