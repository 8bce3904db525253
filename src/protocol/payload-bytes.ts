import { EncodeError } from '../errors.ts'
import { isBytes, isDetached } from './bytes.ts'
import { inspectShort } from './inspect-short.ts'
import { hasLoneSurrogate } from './text.ts'

/** RabbitMQ takes 512 MiB at most; below 2^31 the upper half of a body size is always 0. */
const MAX_PAYLOAD = 0x7fff_ffff
/** Payloads up to this size are copied in a loop: faster than the call into C++, by 10 ns. */
const LOOPED = 16

/** `size` is the size of the text in UTF-8, if that is known. */
export function checkText(payload: string, size?: number): void {
  if (size === undefined ? !payload.isWellFormed() : hasLoneSurrogate(payload, size)) {
    throw new EncodeError('basic.publish: payload has a lone surrogate, which has no UTF-8')
  }
}

export function checkBytes(payload: unknown): void {
  if (!isBytes(payload)) {
    throw new EncodeError(`basic.publish: payload must be a Uint8Array or a string, not ${inspectShort(payload)}`)
  }
  const length = sizeOf(payload)
  if (length > MAX_PAYLOAD) {
    throw new EncodeError(`basic.publish: a payload of ${length} bytes is above the limit of 2 GiB`)
  }
  if (length === 0 && isDetached(payload)) throw detached()
}

/** The error for a payload whose memory was transferred, with a hint. */
export const TRANSFERRED_AWAY =
  'was transferred away (by postMessage or structuredClone) before it was sent; transfer a copy, or wait for the promise of the publish first'

export function detached(): EncodeError {
  return new EncodeError(`basic.publish: the memory of payload ${TRANSFERRED_AWAY}`)
}

/**
 * What the engine knows of a typed array. A subclass may have a getter of the same name, and no code of the program may run
 * while a message is half written.
 */
function intrinsic<T>(name: 'length' | 'buffer' | 'byteOffset'): (this: Uint8Array) => T {
  const { get } = Object.getOwnPropertyDescriptor(
    Object.getPrototypeOf(Uint8Array.prototype),
    name,
  ) as PropertyDescriptor
  return get as (this: Uint8Array) => T
}

const lengthOf = intrinsic<number>('length')
const bufferOf = intrinsic<ArrayBuffer>('buffer')
const offsetOf = intrinsic<number>('byteOffset')

/** How many bytes there are. */
export function sizeOf(bytes: Uint8Array): number {
  return lengthOf.call(bytes)
}

/** The same memory, from `start` on. */
export function pieceOf(bytes: Uint8Array, start: number, size: number): Uint8Array {
  return new Uint8Array(bufferOf.call(bytes), offsetOf.call(bytes) + start, size)
}

/** Each payload is another buffer: unlike for reads, a `DataView` of it would cost more than it saves. */
export function writePayload(buffer: Buffer, view: DataView, at: number, payload: Uint8Array, length: number): void {
  if (length > LOOPED) {
    buffer.set(payload, at)
    return
  }
  let i = 0
  for (const last = length - 3; i < last; i += 4) {
    const half = (payload[i] as number) | ((payload[i + 1] as number) << 8)
    view.setInt32(at + i, half | ((payload[i + 2] as number) << 16) | ((payload[i + 3] as number) << 24), true)
  }
  for (; i < length; i++) view.setInt8(at + i, payload[i] as number)
}
