/** Rows of growth without a socket: what many of something cost each, done with few and with very many. */
import { type AmqpProtocol, connect } from 'asyncamqp'
import { Block, MemoryPeer } from '../guard/memory-peer.ts'
import { measureSpan } from '../measure.ts'
import { bodyOf } from '../message.ts'
import type { Task, TaskResult } from '../task.ts'
import * as wire from '../wire.ts'

/** Done once, with `size` of something. */
type Once = (size: number) => Promise<void>
type Make = () => Promise<Once>

const BODY = bodyOf(16)
const KEY = 'bench'
const MANY = 10_000_000
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

async function open(): Promise<{ peer: MemoryPeer; protocol: AmqpProtocol }> {
  const peer = new MemoryPeer()
  const protocol = await connect('amqp://memory', {
    heartbeat: 0,
    createTransport: peer.createTransport,
    maxWaiting: MANY,
    recovery: { initialDelay: 1 },
  })
  return { peer, protocol }
}

const makes: { readonly [of: string]: Make } = {
  /** The first is never confirmed, and all after it are. */
  async stuck() {
    const { peer, protocol } = await open()
    return async size => {
      peer.quiet = false
      const channel = await protocol.channel({ publisherConfirms: true })
      peer.quiet = true
      channel.publish(BODY, '', KEY).catch(() => undefined)
      const all = Array.from({ length: size }, () => channel.publish(BODY, '', KEY))
      await turn()
      const acks = Block.acks(peer, size, 1).next()
      peer.onBytes(acks, acks.length)
      await Promise.all(all)
      peer.quiet = false
      await channel.close()
    }
  },

  async waiting() {
    const { peer, protocol } = await open()
    const channel = await protocol.channel({ publisherConfirms: true })
    peer.quiet = true
    let lastTag = 0
    return async size => {
      const blocked = wire.method(0, 10, 60, wire.shortstr('memory'))
      const unblocked = wire.method(0, 10, 61)
      peer.onBytes(blocked, blocked.length)
      const all = Array.from({ length: size }, () => channel.publish(BODY, '', KEY))
      peer.onBytes(unblocked, unblocked.length)
      await turn()
      const acks = Block.acks(peer, size, lastTag).next()
      lastTag += size
      peer.onBytes(acks, acks.length)
      await Promise.all(all)
    }
  },

  async signals() {
    const { peer, protocol } = await open()
    const channel = await protocol.channel({ publisherConfirms: true })
    peer.quiet = true
    return async size => {
      const controller = new AbortController()
      const { signal } = controller
      const all = Array.from({ length: size }, () => channel.publish(BODY, '', KEY, undefined, { signal }))
      controller.abort()
      await Promise.allSettled(all)
    }
  },

  /** From the declares on: the server gives other names after the loss. */
  async renames() {
    return async size => {
      const { peer, protocol } = await open()
      const channel = await protocol.channel()
      await Promise.all(Array.from({ length: size }, () => channel.queueDeclare('', { exclusive: true })))
      const recovered = new Promise<void>(resolve => protocol.once('recovered', () => resolve()))
      peer.lose()
      await recovered
      await protocol.close()
    }
  },
}

export async function inMemory({ row: { of, size } }: Task): Promise<TaskResult> {
  const make = makes[of]
  if (make === undefined) throw new Error(`nothing in memory is called ${of}`)
  const once = await make()
  // As warm in both sizes.
  for (let done = 0; done < 10_000; done += 1_000) await once(1_000)
  let total = 0
  return measureSpan(
    async () => {
      for (let left = of === 'renames' ? 10_000 : 100_000; left > 0; left -= size) {
        await once(size)
        total += size
      }
    },
    () => total,
  )
}
