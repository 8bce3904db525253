import { Buffer } from 'node:buffer'

const CHUNK_BYTES = 64 * 1024
const MESSAGE_BYTES = 96
const REPEATS = 400_000
const TIMES = 5

/**
 * CPU of a fixed piece of straight-line work of the kind a client does for a message, in microseconds: the floor's few
 * tens of nanoseconds vary from run to run, this varies with nothing but the machine's speed at the moment.
 */
export function yardstickMicros(): number {
  const chunk = Buffer.alloc(CHUNK_BYTES)
  work(chunk, REPEATS)
  const results = Array.from({ length: TIMES }, () => {
    const before = process.cpuUsage()
    work(chunk, REPEATS)
    const used = process.cpuUsage(before)
    return (used.user + used.system) / REPEATS
  })
  return Math.min(...results)
}

function work(chunk: Buffer, repeats: number): void {
  let at = 0
  for (let number = 0; number < repeats; number += 1) {
    if (at + MESSAGE_BYTES > CHUNK_BYTES) at = 0
    const end = at + MESSAGE_BYTES
    chunk.writeUInt32BE(number, at)
    for (at += 4; at < end; at += 1) chunk[at] = (at ^ number) & 0xff
  }
}
