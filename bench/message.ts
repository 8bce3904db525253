/** The messages that are published and delivered: the same for every client. */
import { Buffer } from 'node:buffer'

export interface MessageHeaders {
  readonly [name: string]: string | number | boolean
  readonly 'x-tenant': string
  readonly 'x-attempt': number
  readonly 'x-trace': string
  readonly 'x-sampled': boolean
  readonly 'x-source': string
}

export interface MessageProperties {
  readonly contentType: string
  readonly deliveryMode: number
  readonly correlationId: string
  readonly messageId: string
  readonly appId: string
  readonly headers: MessageHeaders
}

/** Not text and not JSON: one of the peers would parse such bodies. */
export const CONTENT_TYPE = 'application/octet-stream'

const ID_COUNT = 1024
const ids = Array.from({ length: ID_COUNT }, (_, number) => `order-${String(number).padStart(6, '0')}`)

/** An id that changes with every message, as ids do, made beforehand so that making it is not measured. */
export const messageId = (number: number): string => ids[number & (ID_COUNT - 1)] ?? ''

/** 5 properties and 5 headers, a fresh object each time. */
export function messageProperties(number: number): MessageProperties {
  const id = messageId(number)
  return {
    contentType: CONTENT_TYPE,
    deliveryMode: 1,
    correlationId: id,
    messageId: id,
    appId: 'benchmark',
    headers: messageHeaders(id),
  }
}

export function messageHeaders(id: string): MessageHeaders {
  return { 'x-tenant': 'acme', 'x-attempt': 70_000, 'x-trace': id, 'x-sampled': true, 'x-source': 'checkout' }
}

interface ReadableProperties {
  readonly contentType?: unknown
  readonly deliveryMode?: unknown
  readonly correlationId?: unknown
  readonly messageId?: unknown
  readonly appId?: unknown
  readonly headers?: { readonly [name: string]: unknown } | null | undefined
}

const lengthOf = (value: unknown): number => (typeof value === 'string' ? value.length : 0)

/** Reads all 10 values of a delivered message; `READ_SUM` when each had its value. */
export function readProperties(properties: ReadableProperties): number {
  const headers = properties.headers
  if (headers === undefined || headers === null) return 0
  return (
    lengthOf(properties.contentType) +
    (properties.deliveryMode === 1 ? 1 : 0) +
    lengthOf(properties.correlationId) +
    lengthOf(properties.messageId) +
    lengthOf(properties.appId) +
    lengthOf(headers['x-tenant']) +
    (headers['x-attempt'] === 70_000 ? 1 : 0) +
    lengthOf(headers['x-trace']) +
    (headers['x-sampled'] === true ? 1 : 0) +
    lengthOf(headers['x-source'])
  )
}

export const READ_SUM = readProperties(messageProperties(0))

/** A body whose bytes are all alike: what is in it costs no client anything. */
export const bodyOf = (size: number): Buffer => Buffer.alloc(size, 0x61)

/** One of about `size` bytes that can be parsed. */
export function jsonBodyOf(size: number): Buffer {
  const line = { id: 4711, name: 'a line of an order', price: 12.5, isGift: false }
  const lines = Math.max(1, Math.round(size / (JSON.stringify(line).length + 1)))
  return Buffer.from(JSON.stringify(Array.from({ length: lines }, () => line)))
}

export const bodyOfRow = (row: { readonly bodySize: number; readonly json?: boolean | undefined }): Buffer =>
  row.json ? jsonBodyOf(row.bodySize) : bodyOf(row.bodySize)
