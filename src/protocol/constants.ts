import { FRAME_HEADER_SIZE, frameHeader, PROTOCOL_HEADER_SIZE, protocolHeader } from './layouts.ts'

/** The first octet of a frame (§4.2.3). */
export const FrameType = { METHOD: 1, HEADER: 2, BODY: 3, HEARTBEAT: 8 } as const

/** The octet that ends every frame (§4.2.3). */
export const FRAME_END = 206

/** Bytes of a frame that are not payload: its header and its end octet. */
export const FRAME_OVERHEAD: number = FRAME_HEADER_SIZE + 1

/** Every peer takes whole frames of up to this many bytes, before any size is agreed (§4.2.3). */
export const FRAME_MIN_SIZE = 4096

/** What a client sends first: AMQP 0-9-1 (§4.2.2). */
export const PROTOCOL_HEADER: Uint8Array = protocolHeaderBytes()

/** A whole heartbeat frame: empty, on channel 0 (§4.2.7). */
export const HEARTBEAT_FRAME: Uint8Array = heartbeatFrame()

function protocolHeaderBytes(): Uint8Array {
  const bytes = Buffer.alloc(PROTOCOL_HEADER_SIZE)
  protocolHeader.encode({ literal: Buffer.from('AMQP'), protocolId: 0, major: 0, minor: 9, revision: 1 }, bytes)
  return bytes
}

function heartbeatFrame(): Uint8Array {
  const bytes = Buffer.alloc(FRAME_OVERHEAD)
  frameHeader.encode({ type: FrameType.HEARTBEAT, channel: 0, size: 0 }, bytes)
  bytes[FRAME_HEADER_SIZE] = FRAME_END
  return bytes
}

/** Reply codes of the specification and of RabbitMQ, by their names there. */
export const ReplyCode = {
  REPLY_SUCCESS: 200,
  CONTENT_TOO_LARGE: 311,
  NO_ROUTE: 312,
  NO_CONSUMERS: 313,
  CONNECTION_FORCED: 320,
  INVALID_PATH: 402,
  ACCESS_REFUSED: 403,
  NOT_FOUND: 404,
  RESOURCE_LOCKED: 405,
  PRECONDITION_FAILED: 406,
  FRAME_ERROR: 501,
  SYNTAX_ERROR: 502,
  COMMAND_INVALID: 503,
  CHANNEL_ERROR: 504,
  UNEXPECTED_FRAME: 505,
  RESOURCE_ERROR: 506,
  NOT_ALLOWED: 530,
  NOT_IMPLEMENTED: 540,
  INTERNAL_ERROR: 541,
} as const

const replyCodeNames = new Map<number, string>(Object.entries(ReplyCode).map(([name, code]) => [code, name]))

/** The name of a reply code, such as `NOT_FOUND` for 404; `UNKNOWN` if it has none. */
export function replyCodeName(code: number): string {
  return replyCodeNames.get(code) ?? 'UNKNOWN'
}
