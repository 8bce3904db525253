import type { Transport, TransportPeer } from '../../src/connection/wire/transport.ts'

const HIGH_WATER_MARK = 65_536

/** A transport that does nothing by itself and records its calls. */
export class FakeTransport implements Transport {
  readonly peer: TransportPeer = { host: 'fake', port: 5672, localPort: 1, encrypted: false }
  readonly writes: Buffer[] = []
  readonly calls: string[] = []
  readonly #sent: (() => void)[] = []
  pending = 0
  /** Whether the socket takes writes at once. */
  open = true

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    const bytes = Buffer.concat(segments)
    this.writes.push(bytes)
    if (sent !== undefined) this.#sent.push(sent)
    if (!this.open) this.pending += bytes.length
    return this.pending < HIGH_WATER_MARK
  }

  /** The bytes of the oldest `count` writes have left, and `pending` still wait. */
  left(count: number, pending: number): void {
    this.pending = pending
    for (const sent of this.#sent.splice(0, count)) sent()
  }

  get paused(): boolean {
    return this.calls.findLast(call => call === 'pause' || call === 'resume') === 'pause'
  }

  pause(): void {
    this.calls.push('pause')
  }

  resume(): void {
    this.calls.push('resume')
  }

  end(): void {
    this.calls.push('end')
  }

  destroy(): void {
    this.calls.push('destroy')
  }
}
