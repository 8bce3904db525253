import { viewOf } from './bytes.ts'
import { FRAME_END, FRAME_OVERHEAD, FrameType } from './constants.ts'
import type { Envelope } from './envelope.ts'
import { internShortstr } from './intern.ts'
import type { Writer } from './writer.ts'

/** `basic` methods, class and method number in one, that are read and written without the table. */
export const BASIC_PUBLISH = 0x003c0028
export const BASIC_DELIVER = 0x003c003c
export const BASIC_ACK = 0x003c0050
export const BASIC_REJECT = 0x003c005a
export const BASIC_NACK = 0x003c0078

/** Bytes of basic.ack, basic.nack and basic.reject. */
const SETTLEMENT = 21

/** Write basic.ack, basic.nack or basic.reject, which are alike: a delivery tag and an octet of bits. */
export function writeSettlement(
  writer: Writer,
  channel: number,
  method: number,
  deliveryTag: number,
  bits: number,
): void {
  writer.begin()
  writer.reserve(SETTLEMENT)
  const { view, position } = writer
  view.setInt32(position, (FrameType.METHOD << 24) | (channel << 8))
  view.setInt32(position + 3, SETTLEMENT - FRAME_OVERHEAD)
  view.setInt32(position + 7, method)
  view.setInt32(position + 11, deliveryTag / 0x1_0000_0000)
  view.setInt32(position + 15, deliveryTag)
  view.setInt8(position + 19, bits)
  view.setUint8(position + 20, FRAME_END)
  writer.position = position + SETTLEMENT
}

/** A 64-bit tag at `position`, exact up to 2^53. */
export function readTag(view: DataView, position: number): number {
  const high = view.getUint32(position)
  const low = view.getUint32(position + 4)
  return high === 0 ? low : high * 0x1_0000_0000 + low
}

/**
 * The arguments of basic.deliver, which start at `start`, as an envelope whose tag is raised by `offset`. Returns
 * undefined if they do not end at `end`, or the tag is past 2^53 - 1: the table of methods then says what is wrong.
 */
export function readDeliver(buffer: Buffer, start: number, end: number, offset: number): Envelope | undefined {
  const view = viewOf(buffer)
  const tagEnd = start + 1 + view.getUint8(start)
  const exchangeStart = tagEnd + 9
  if (exchangeStart >= end) return undefined
  const exchangeEnd = exchangeStart + 1 + view.getUint8(exchangeStart)
  if (exchangeEnd >= end) return undefined
  const keyEnd = exchangeEnd + 1 + view.getUint8(exchangeEnd)
  const tag = readTag(view, tagEnd)
  if (keyEnd !== end || tag > Number.MAX_SAFE_INTEGER) return undefined
  return {
    consumerTag: internShortstr(buffer, start + 1, tagEnd),
    deliveryTag: tag + offset,
    exchangeName: internShortstr(buffer, exchangeStart + 1, exchangeEnd),
    routingKey: internShortstr(buffer, exchangeEnd + 1, keyEnd),
    isRedeliver: (view.getUint8(tagEnd + 8) & 1) !== 0,
  }
}
