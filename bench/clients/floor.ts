/**
 * The floor: the same bytes, encoded beforehand, through a bare `net.Socket`, and what comes in read and counted but
 * not looked at. No client that lives on Node's sockets can cost less.
 */
import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import * as wire from '../wire.ts'
import type { Client, Connection, Incoming, Outgoing, Repeat } from './client.ts'
import { RawConnection } from './raw-connection.ts'

export const client: Client = { connect: open }

const CHUNK_BYTES = 64 * 1024
const FRAME_MAX = 131_072
const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to'

const OPEN_CHANNEL = wire.method(2, 20, 10, wire.shortstr(''))
const CLOSE_CHANNEL = wire.method(2, 20, 40, wire.short(200), wire.shortstr(''), wire.short(0), wire.short(0))
const EXCLUSIVE = 4

const declareExclusive = (queueName: string): Buffer =>
  wire.method(1, 50, 10, wire.short(0), wire.shortstr(queueName), wire.octet(EXCLUSIVE), wire.table({}))

const frameSize = (bytes: Buffer): number =>
  bytes.length < wire.FRAME_OVERHEAD ? Number.POSITIVE_INFINITY : bytes.readUInt32BE(3) + wire.FRAME_OVERHEAD

interface Block {
  readonly bytes: Buffer
  readonly messages: number
  readonly messageSize: number
}

function blockOf(message: Outgoing): Block {
  const { routingKey, body, withProperties } = message
  const encode = (channel: number) => wire.publish({ channel, routingKey, body, withProperties, frameMax: FRAME_MAX })
  const messageSize = encode(1).length
  const messages = Math.max(1, Math.floor(CHUNK_BYTES / messageSize))
  const encoded = Array.from({ length: messages }, (_, number) => encode(1 + (number % message.channels)))
  return { bytes: Buffer.concat(encoded), messages, messageSize }
}

/** Writes `count` messages from a block, waiting for the socket whenever it asks for that. */
async function writeMessages(raw: RawConnection, block: Block, count: number): Promise<void> {
  for (let left = count; left > 0; ) {
    const messages = Math.min(left, block.messages)
    left -= messages
    if (!raw.socket.write(block.bytes.subarray(0, messages * block.messageSize))) await once(raw.socket, 'drain')
  }
}

async function open(url: string): Promise<Connection> {
  const raw = await RawConnection.open(url)

  const publisher = async (message: Outgoing): Promise<Repeat> => {
    await raw.openChannels(message.channels)
    const block = blockOf(message)
    return async count => {
      await writeMessages(raw, block, count)
      await raw.queueDeclare(message.routingKey)
    }
  }

  return {
    publisher,
    burst: publisher,

    async confirmer(message: Outgoing, window: number) {
      await raw.queueDeclare(message.routingKey)
      await raw.confirmSelect()
      const block = blockOf(message)
      let published = 0
      let confirmed = 0
      let target = 0
      // Several at a time: each has a window of its own.
      const calls: { readonly last: number; readonly resolve: () => void }[] = []
      let partial = Buffer.alloc(0)
      const write = () => {
        const most = window * calls.length
        while (published < target && published - confirmed < most) {
          const messages = Math.min(block.messages, target - published, most - (published - confirmed))
          raw.socket.write(block.bytes.subarray(0, messages * block.messageSize))
          published += messages
        }
      }
      raw.handOver((read, length) => {
        const bytes = Buffer.concat([partial, read.subarray(0, length)])
        const whole = bytes.length - (bytes.length % wire.ACK_SIZE)
        partial = bytes.subarray(whole)
        if (whole === 0) return
        confirmed = bytes.readUInt32BE(whole - wire.ACK_SIZE + wire.ACK_TAG_OFFSET)
        while (calls[0] !== undefined && calls[0].last <= confirmed) calls.shift()?.resolve()
        write()
      })
      return count => {
        target += count
        return new Promise(resolve => {
          calls.push({ last: target, resolve })
          write()
        })
      }
    },

    async consumer(incoming: Incoming) {
      const { tally, deliverySize, bodySize } = incoming
      if (incoming.ack) await raw.basicQos(incoming.prefetch)
      await raw.basicConsume(incoming.queueName, !incoming.ack, incoming.consumers)
      const acks = Buffer.alloc(wire.ACK_SIZE * incoming.prefetch, wire.ack(1, 1, false))
      let partial = 0
      raw.handOver((_, length) => {
        partial += length
        const messages = Math.floor(partial / deliverySize)
        partial -= messages * deliverySize
        if (messages === 0) return
        tally.deliverBytes(messages, messages * bodySize)
        if (incoming.ack) raw.socket.write(acks.subarray(0, messages * wire.ACK_SIZE))
      })
    },

    async caller(queueName: string, body: Buffer) {
      await raw.basicConsume(DIRECT_REPLY_TO, true)
      const request = wire.request(queueName, body, DIRECT_REPLY_TO)
      let replied: () => void = () => undefined
      // A reply is one small write of the peer's with Nagle off, and the next is not asked for before it: one read.
      raw.handOver(() => replied())
      return () =>
        new Promise(resolve => {
          replied = resolve
          raw.socket.write(request)
        })
    },

    declarer: async () => {
      let answers = 0
      let all = Number.POSITIVE_INFINITY
      let answered: () => void = () => undefined
      let rest = Buffer.alloc(0)
      raw.handOver((read, length) => {
        rest = Buffer.concat([rest, read.subarray(0, length)])
        for (let size = frameSize(rest); size <= rest.length; size = frameSize(rest)) {
          rest = rest.subarray(size)
          answers += 1
          if (answers === all) answered()
        }
      })
      return queueNames => {
        const bytes = Buffer.concat(queueNames.map(declareExclusive))
        return new Promise(resolve => {
          answered = resolve
          all = answers + queueNames.length
          raw.socket.write(bytes)
        })
      }
    },

    async cycleChannel() {
      await raw.ask(OPEN_CHANNEL, 20, 11)
      await raw.ask(CLOSE_CHANNEL, 20, 41)
    },
    close: async () => raw.close(),
  }
}
