import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { VirtualClock } from '../support/virtual-clock.ts'
import { GOOD_LINK, type LinkConditions } from './lane.ts'
import { Network, type ServerSocket } from './network.ts'
import { Random } from './random.ts'

const TARGET = { host: 'broker', port: 5672, tls: undefined }

/** A connection whose client notes the bytes of each read. */
async function connected(conditions: LinkConditions = GOOD_LINK) {
  const clock = new VirtualClock()
  const network = new Network(clock, new Random(1))
  network.conditions = conditions
  const reads: Buffer[] = []
  const end: { socket?: ServerSocket } = {}
  network.listener = socket => {
    end.socket = socket
    return { bytes: () => {}, ended: () => {}, closed: () => {} }
  }
  const handler = {
    onBytes: (buffer: Buffer, length: number) => void reads.push(Buffer.from(buffer.subarray(0, length))),
    onDrain: () => {},
    onEnd: () => {},
    onClose: () => {},
  }
  const link = await clock.until(network.createTransport(TARGET, handler, new AbortController().signal))
  return { clock, link, reads, write: (bytes: Buffer) => end.socket?.write(bytes) }
}

describe('A link of the simulation', () => {
  it('gives what has arrived in one read after a pause, as a socket does', async () => {
    const { clock, link, reads, write } = await connected()
    link.pause()
    for (const text of ['one', 'two', 'three']) write(Buffer.from(text))
    await clock.advance(10)
    assert.deepEqual(reads, [])
    link.resume()
    await clock.advance(10)
    assert.deepEqual(reads.map(String), ['onetwothree'])
  })

  it('gives no more in one read than its buffer holds', async () => {
    const { clock, link, reads, write } = await connected()
    link.pause()
    const all = Buffer.from(Array.from({ length: 150_000 }, (_, at) => at % 251))
    write(all)
    await clock.advance(10)
    link.resume()
    await clock.advance(10)
    assert.deepEqual(
      reads.map(read => read.length),
      [65_536, 65_536, 18_928],
    )
    assert.ok(Buffer.concat(reads).equals(all))
  })

  it('cuts at any byte what its conditions say', async () => {
    const { clock, reads, write } = await connected({ ...GOOD_LINK, chunk: 1, rate: 1 })
    write(Buffer.from('abc'))
    await clock.advance(10)
    assert.deepEqual(reads.map(String), ['a', 'b', 'c'])
  })
})
