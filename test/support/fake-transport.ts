import type { Transport, TransportPeer } from '../../src/connection/wire/transport.ts'

/** A transport that does nothing by itself and remembers what it was asked. */
export class FakeTransport implements Transport {
  readonly peer: TransportPeer = { host: 'fake', port: 5672, localPort: 1, encrypted: false }
  readonly writes: Buffer[] = []
  readonly calls: string[] = []
  /** Called by a test once the bytes of a write have left. */
  readonly sent: (() => void)[] = []
  pending = 0
  /** Whether the socket takes what is written at once. */
  open = true

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    const bytes = Buffer.concat(segments)
    this.writes.push(bytes)
    if (sent !== undefined) this.sent.push(sent)
    if (!this.open) this.pending += bytes.length
    return this.open
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
