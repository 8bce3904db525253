import assert from 'node:assert/strict'
import type { AmqpProtocol, ConnectOptions } from '../../src/index.ts'

/** Milliseconds before the first attempt, at most. It is random, so that many clients do not dial in one tick. */
const FIRST_PAUSE = 50
/** How often a client may have to wait for the broker before it writes on. */
const TURNS = 6

/**
 * A recovery by what a client does: its attempts, the pauses before them, and how often it waits for the broker. How long all
 * takes is the machine's: where it is busy a node answers some tenths of a second later, to whatever client.
 */
export class RecoveryWatch {
  /** What the options of the connection need. */
  readonly tracing: Pick<ConnectOptions, 'logger' | 'traceFrames'> = {
    logger: { debug: line => this.#frame(line), info() {}, warn() {}, error() {} },
    traceFrames: true,
  }
  readonly #attempts: [attempt: number, delay: number][] = []
  #turns = 0
  #lostAt = 0
  #took: number | undefined
  #recovers = false
  #hasRead = false

  #frame(line: string): void {
    if (!this.#recovers) return
    if (line.startsWith('→') && this.#hasRead) this.#turns++
    this.#hasRead = line.startsWith('←')
  }

  /** Watch its next recovery. */
  follow(protocol: AmqpProtocol): void {
    this.#attempts.length = 0
    this.#turns = 0
    this.#took = undefined
    const attempt = (...values: [number, number]): void => void this.#attempts.push(values)
    protocol.once('disconnected', () => {
      this.#lostAt = performance.now()
      this.#recovers = true
    })
    protocol.on('recovering', attempt)
    protocol.once('recovered', () => {
      this.#took = performance.now() - this.#lostAt
      this.#recovers = false
      protocol.off('recovering', attempt)
    })
  }

  get isOver(): boolean {
    return this.#took !== undefined
  }

  /** Checks that one attempt was enough, nearly at once, and that it waited for the broker no more than it must. */
  checkQuick(): void {
    const [[attempt, pause] = [0, 0], ...further] = this.#attempts
    assert.deepEqual([attempt, further], [1, []], 'the first attempt was enough')
    assert.ok(pause <= FIRST_PAUSE, `a pause of ${pause} ms`)
    assert.ok(this.#turns > 0 && this.#turns <= TURNS, `${this.#turns} turns`)
  }

  toString(): string {
    return `recovered ${this.#took?.toFixed(0)} ms after the loss in ${this.#turns} turns`
  }
}
