const SLOTS = 256
const LONGEST = 64

/** Strings of ASCII only, so that equal codes mean equal bytes. Each slot holds the last one that fell there. */
const strings: string[] = Array.from({ length: SLOTS }, () => '')

/** What `Buffer.toString` calls, without its way there: half the cost of a short string. */
interface SlicedBuffer extends Buffer {
  latin1Slice(start: number, end: number): string
}

/**
 * The UTF-8 text from `start` to `end`, which is usually one that came before: consumer tags, routing keys and header
 * names repeat. That one is found by comparing bytes, without making a string. The table never grows.
 */
export function internShortstr(buffer: Buffer, start: number, end: number): string {
  const length = end - start
  if (length <= 0) return ''
  if (length > LONGEST) return buffer.toString('utf8', start, end)

  const middle = buffer[start + (length >> 1)] as number
  const last = buffer[end - 1] as number
  const slot = (length * 5 + (buffer[start] as number) * 33 + middle * 57 + last * 13) & (SLOTS - 1)
  const known = strings[slot] as string
  if (known.length === length) {
    let i = 0
    while (i < length && known.charCodeAt(i) === buffer[start + i]) i++
    if (i === length) return known
  }
  for (let i = start; i < end; i++) {
    if ((buffer[i] as number) > 127) return buffer.toString('utf8', start, end)
  }
  const text = (buffer as SlicedBuffer).latin1Slice(start, end)
  strings[slot] = text
  return text
}
