import type { LogWriter } from '../../diagnostics/logger.ts'
import { inspect } from '../../lib/platform.ts'
import { FrameParser, type FrameSink } from '../../protocol/frame-parser.ts'
import { decodeMethod } from '../../protocol/method-codec.ts'
import {
  ConnectionSecureOk,
  ConnectionStartOk,
  ConnectionTuneOk,
  ConnectionUpdateSecret,
} from '../../protocol/methods.ts'

/** Arguments that hold a password. */
const SECRETS: Readonly<Record<number, string>> = {
  [ConnectionStartOk.key]: 'response',
  [ConnectionSecureOk.key]: 'response',
  [ConnectionUpdateSecret.key]: 'newSecret',
}

/** Bytes of a frame before the sizes are agreed on. */
const FRAME_MAX_BEFORE_TUNE = 131_072
const NO_LIMIT = 0xffff_ffff

/** Writes a line for each frame of one direction: passwords masked, of contents only their size. */
export class FrameTrace implements FrameSink {
  readonly #log: LogWriter
  readonly #prefix: string
  readonly #parser: FrameParser
  readonly #agreed: (frameMax: number) => void
  #bodyBytes = 0

  /** `agreed` is called with the size of a frame that connection.tune-ok agrees to. */
  constructor(log: LogWriter, prefix: string, agreed: (frameMax: number) => void = () => {}) {
    this.#parser = new FrameParser(this, FRAME_MAX_BEFORE_TUNE)
    this.#log = log
    this.#prefix = prefix
    this.#agreed = agreed
  }

  /** The size agreed with the server; 0 is no limit. */
  set frameMax(bytes: number) {
    this.#parser.frameMax = bytes === 0 ? NO_LIMIT : bytes
  }

  /** The client has greeted the server. */
  protocolHeader(header: Uint8Array): void {
    this.#line(`protocol header ${Buffer.from(header).toString('latin1', 0, 4)} ${header.subarray(4, 8).join('-')}`)
  }

  /** See the bytes from 0 to `length` of `buffer` go by. */
  pass(buffer: Uint8Array, length = buffer.length): void {
    try {
      this.#parser.push(Buffer.from(buffer.buffer, buffer.byteOffset, length), length)
    } catch (error) {
      this.#line(`bytes that are not a frame: ${String(error)}`)
    }
  }

  methodFrame(channel: number, buffer: Buffer, start: number, end: number): number {
    const { method, args } = decodeMethod(buffer, start, end)
    const secret = SECRETS[method.key]
    const shown = secret === undefined ? args : { ...args, [secret]: '***' }
    this.#line(
      `channel ${channel} ${method.name} ${inspect(shown, { breakLength: Number.POSITIVE_INFINITY, depth: 4 })}`,
    )
    if (method.key === ConnectionTuneOk.key) {
      this.frameMax = Number(args['frameMax'])
      this.#agreed(Number(args['frameMax']))
    }
    return end + 1
  }

  headerFrame(channel: number, buffer: Buffer, start: number): void {
    this.#line(`channel ${channel} content header, ${buffer.readBigUInt64BE(start + 4)} bytes`)
  }

  bodyFrame(channel: number, _buffer: Buffer, start: number, end: number, ended: boolean): void {
    this.#bodyBytes += end - start
    if (!ended) return
    this.#line(`channel ${channel} body, ${this.#bodyBytes} bytes`)
    this.#bodyBytes = 0
  }

  heartbeatFrame(): void {
    this.#line('heartbeat')
  }

  #line(text: string): void {
    this.#log.line('debug', `${this.#prefix} ${text}`)
  }
}
