import type { LogWriter } from '../../diagnostics/logger.ts'
import { FrameTrace } from './frame-trace.ts'
import type { MakeTransport } from './socket-transport.ts'
import type { Transport, TransportPeer } from './transport.ts'

/** A transport that writes a line for each frame that leaves. */
class TracingTransport implements Transport {
  readonly #transport: Transport
  readonly #trace: FrameTrace
  #greeted = false

  constructor(transport: Transport, trace: FrameTrace) {
    this.#transport = transport
    this.#trace = trace
  }

  get pending(): number {
    return this.#transport.pending
  }

  get peer(): TransportPeer {
    return this.#transport.peer
  }

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    for (const segment of segments) {
      if (this.#greeted) this.#trace.pass(segment)
      else this.#trace.protocolHeader(segment)
      this.#greeted = true
    }
    return this.#transport.write(segments, sent)
  }

  pause(): void {
    this.#transport.pause()
  }

  resume(): void {
    this.#transport.resume()
  }

  end(agreed?: boolean): void {
    this.#transport.end(agreed)
  }

  destroy(error?: Error): void {
    this.#transport.destroy(error)
  }
}

/** Transports whose frames are traced, both ways. */
export function tracing(makeTransport: MakeTransport, log: LogWriter): MakeTransport {
  return async (target, handler, signal, onStep) => {
    const server = `${target.host}:${target.port}`
    const incoming = new FrameTrace(log, `← ${server}`)
    const outgoing = new FrameTrace(log, `→ ${server}`, frameMax => {
      incoming.frameMax = frameMax
    })
    const transport = await makeTransport(
      target,
      {
        onBytes: (buffer, length) => {
          incoming.pass(buffer, length)
          handler.onBytes(buffer, length)
        },
        onDrain: () => handler.onDrain(),
        onEnd: () => handler.onEnd(),
        onClose: error => handler.onClose(error),
      },
      signal,
      onStep,
    )
    return new TracingTransport(transport, outgoing)
  }
}
