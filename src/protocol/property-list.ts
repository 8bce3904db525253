import { FrameError } from '../errors.ts'
import { decodeTable, isTooDeep, skipTable } from './field-table.ts'
import {
  APP_ID,
  CLUSTER_ID,
  CONTENT_ENCODING,
  CONTENT_TYPE,
  CORRELATION_ID,
  DELIVERY_MODE,
  EXPIRATION,
  HEADERS,
  MESSAGE_ID,
  MESSAGE_TYPE,
  PRIORITY,
  REPLY_TO,
  TIMESTAMP,
  USER_ID,
} from './properties.ts'
import { Reader } from './reader.ts'

/** Returns where the short string at `position` ends, which is past the end of the list if it is cut. */
export function skipShortstr(buffer: Buffer, position: number): number {
  return position + 1 + (buffer[position] as number)
}

const SHORT_STRINGS_BEFORE_HEADERS = [CONTENT_TYPE, CONTENT_ENCODING]
const SHORT_STRINGS_BEFORE_TIMESTAMP = [CORRELATION_ID, REPLY_TO, EXPIRATION, MESSAGE_ID]
const SHORT_STRINGS_LAST = [MESSAGE_TYPE, USER_ID, APP_ID, CLUSTER_ID]

function skipShortstrs(buffer: Buffer, position: number, end: number, flags: number, bits: readonly number[]): number {
  let at = position
  for (let i = 0; i < bits.length; i++) {
    if ((flags & (bits[i] as number)) !== 0) {
      if (at >= end) throw truncated()
      at = skipShortstr(buffer, at)
    }
  }
  return at
}

export function truncated(): FrameError {
  return new FrameError('the properties of a message are cut short', { replyCode: 502 })
}

/**
 * Walk the property list from its values to `end` without making any: a bad one is found before a message is made of it.
 * Returns false if its headers are nested deeper than this client reads.
 */
export function checkProperties(buffer: Buffer, start: number, end: number, flags: number): boolean {
  let readable = true
  if ((flags & 3) !== 0) {
    throw new FrameError('a content header has property flags that the basic class does not know', { replyCode: 502 })
  }
  let at = skipShortstrs(buffer, start, end, flags, SHORT_STRINGS_BEFORE_HEADERS)
  if ((flags & HEADERS) !== 0) {
    try {
      at = skipTable(buffer, at, end)
    } catch (error) {
      if (!isTooDeep(error)) throw error
      readable = false
      const reader = new Reader(buffer, at, end)
      reader.skipsTooDeep = true
      decodeTable(reader)
      at = reader.position
    }
  }
  if ((flags & DELIVERY_MODE) !== 0) at++
  if ((flags & PRIORITY) !== 0) at++
  at = skipShortstrs(buffer, at, end, flags, SHORT_STRINGS_BEFORE_TIMESTAMP)
  if ((flags & TIMESTAMP) !== 0) at += 8
  at = skipShortstrs(buffer, at, end, flags, SHORT_STRINGS_LAST)
  if (at > end) throw truncated()
  if (at < end) throw new FrameError(`a content header has ${end - at} bytes too many`, { replyCode: 502 })
  return readable
}
