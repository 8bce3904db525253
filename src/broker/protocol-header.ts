import { PROTOCOL_HEADER } from '../protocol/constants.ts'
import type { Release } from './release.ts'

export const HEADER_SIZE = 8

/** AMQP 0-9, as some old clients say; RabbitMQ takes it as 0-9-1. */
const AMQP_0_9: Uint8Array = Buffer.from('AMQP\x01\x01\0\x09')
/** How a version of AMQP 0 from 0-9 on starts, beside its minor version. */
const AMQP_0: Uint8Array = Buffer.from('AMQP\0\0')
const MINOR_VERSION = 9

/** The header that answers a client which speaks another protocol; undefined if it speaks AMQP 0-9-1. */
export function answerTo(header: Buffer, release: Release): Uint8Array | undefined {
  if (header.equals(PROTOCOL_HEADER) || header.equals(AMQP_0_9)) return undefined
  const minor = header[AMQP_0.length] ?? 0
  return header.subarray(0, AMQP_0.length).equals(AMQP_0) && minor >= MINOR_VERSION ? PROTOCOL_HEADER : release.header
}
