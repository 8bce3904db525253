/** What the guard measures: small programs over the package, and the same over the prototype. */
import { type AmqpProtocol, type Channel, connect } from 'asyncamqp'
import { Prototype } from '../clients/prototype.ts'
import { bodyOf, messageProperties, readProperties } from '../message.ts'
import { Block, MemoryPeer } from './memory-peer.ts'

/** One slice of work: `prepare` is not measured, `run` is. */
export interface Program {
  prepare(): void
  run(): Promise<void>
}

const KEY = 'guard'
const BODY = bodyOf(16)
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Publishes, each awaited. */
function publishing(count: number, publish: (number: number) => Promise<void>): Program {
  return {
    prepare: () => undefined,
    async run() {
      for (let number = 0; number < count; number += 1) await publish(number)
      await turn()
    },
  }
}

/** Publishes, all confirmed together. */
function confirming(peer: MemoryPeer, count: number, publish: () => Promise<void>, lastTag = 0): Program {
  const block = Block.acks(peer, count, lastTag)
  let acks: Buffer = Buffer.alloc(0)
  return {
    prepare() {
      acks = block.next()
    },
    async run() {
      const publishes: Promise<void>[] = []
      for (let number = 0; number < count; number += 1) publishes.push(publish())
      await turn()
      peer.onBytes(acks, acks.length)
      await Promise.all(publishes)
    },
  }
}

/** Deliveries, until `received` says that all have come. */
function consuming(peer: MemoryPeer, count: number, withProperties: boolean, received: () => number): Program {
  const block = Block.deliveries(peer, BODY, withProperties, count)
  let deliveries: Buffer = Buffer.alloc(0)
  let all = 0
  return {
    prepare() {
      deliveries = block.next()
      all = received() + count
    },
    async run() {
      peer.onBytes(deliveries, deliveries.length)
      while (received() < all) await turn()
    },
  }
}

async function connected(): Promise<{ peer: MemoryPeer; protocol: AmqpProtocol; channel: Channel }> {
  const peer = new MemoryPeer()
  const protocol = await connect('amqp://memory', { heartbeat: 0, createTransport: peer.createTransport })
  return { peer, protocol, channel: await protocol.channel() }
}

function prototype(peer: MemoryPeer): Prototype {
  return new Prototype({
    socket: {
      write(bytes: Uint8Array) {
        peer.take(bytes)
        return true
      },
      writableLength: 0,
      writableNeedDrain: false,
      once: () => undefined,
    },
    handOver(onBytes) {
      peer.onBytes = onBytes
    },
  })
}

const quiet = (peer: MemoryPeer, program: Program): Program => {
  peer.quiet = true
  return program
}

type Make = (count: number) => Promise<Program>

export const prototypes = {
  async publish(count: number) {
    const peer = new MemoryPeer()
    const client = prototype(peer)
    return quiet(
      peer,
      publishing(count, () => client.publish(BODY, '', KEY)),
    )
  },

  async confirm(count: number) {
    const peer = new MemoryPeer()
    const client = prototype(peer)
    return quiet(
      peer,
      confirming(peer, count, () => client.confirmed(BODY, '', KEY)),
    )
  },

  consume: (count: number) => prototypeConsumer(count, false),
  consumeAndAck: (count: number) => prototypeConsumer(count, true),
} satisfies { readonly [name: string]: Make }

async function prototypeConsumer(count: number, ack: boolean): Promise<Program> {
  const peer = new MemoryPeer()
  const client = prototype(peer)
  let received = 0
  client.onDelivery = (_body, { deliveryTag }) => {
    received += 1
    if (ack) client.ack(deliveryTag)
  }
  return quiet(
    peer,
    consuming(peer, count, false, () => received),
  )
}

async function publisher(count: number, withProperties: boolean): Promise<Program> {
  const { peer, channel } = await connected()
  return quiet(
    peer,
    publishing(count, number =>
      channel.basicPublish(BODY, '', KEY, withProperties ? messageProperties(number) : undefined),
    ),
  )
}

async function consumer(count: number, ack: boolean, read: boolean): Promise<Program> {
  const { peer, channel } = await connected()
  let received = 0
  let sum = 0
  await channel.basicConsume(
    (own, _body, { deliveryTag }, properties) => {
      received += 1
      if (read) sum += readProperties(properties)
      if (ack) void own.basicClientAck(deliveryTag)
    },
    KEY,
    { noAck: !ack },
  )
  if (sum > 0) throw new Error('nothing was delivered yet')
  return quiet(
    peer,
    consuming(peer, count, read, () => received),
  )
}

export const ours = {
  publish: (count: number) => publisher(count, false),
  publishProperties: (count: number) => publisher(count, true),

  async confirm(count: number) {
    const { peer, protocol } = await connected()
    const channel = await protocol.channel({ publisherConfirms: true })
    return quiet(
      peer,
      confirming(peer, count, () => channel.publish(BODY, '', KEY)),
    )
  },

  consume: (count: number) => consumer(count, false, false),
  consumeProperties: (count: number) => consumer(count, false, true),
  consumeAndAck: (count: number) => consumer(count, true, false),

  async protocolPublish(count: number) {
    const { peer, protocol } = await connected()
    const first = protocol.publish(BODY, '', KEY)
    while (peer.channel === 1) await turn()
    await turn()
    const ack = Block.acks(peer, 1).next()
    peer.onBytes(ack, ack.length)
    await first
    return quiet(
      peer,
      confirming(peer, count, () => protocol.publish(BODY, '', KEY), 1),
    )
  },

  async handler(count: number) {
    const { peer, protocol } = await connected()
    let received = 0
    await protocol.consumer(KEY, () => {
      received += 1
    })
    return quiet(
      peer,
      consuming(peer, count, false, () => received),
    )
  },
} satisfies { readonly [name: string]: Make }
