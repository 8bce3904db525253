import type { VirtualClock } from '../support/virtual-clock.ts'
import { propertiesOf } from './content.ts'
import { ERRAND_NAMES } from './errands/errands.ts'
import type { Journal } from './journal.ts'
import { bodyOf, EXCHANGE } from './names.ts'
import type { Program } from './program/program.ts'

/** Virtual milliseconds that anything may take if nothing is wrong: a client may have its hands full. */
const SOON = 60_000
/** Virtual milliseconds after each of which it is seen whether all has ended: an idle minute costs heartbeats alone. */
const PART = 5_000

/** When all faults are over, programs try whether everything works. */
export class Trials {
  readonly #programs: readonly Program[]
  readonly #journal: Journal
  readonly #clock: VirtualClock
  readonly #seed: number

  constructor(programs: readonly Program[], journal: Journal, clock: VirtualClock, seed: number) {
    this.#programs = programs
    this.#journal = journal
    this.#clock = clock
    this.#seed = seed
  }

  /** Returns what is wrong, if the journal does not have it. */
  async run(): Promise<string[]> {
    const wrong = await this.#privateQueues()
    await this.#publishOnce()
    return wrong
  }

  /** Let time pass until nothing is pending. */
  async finish(milliseconds: number): Promise<void> {
    await this.#until(() => this.#journal.pending.length === 0, milliseconds)
  }

  async #until(isOver: () => boolean, milliseconds: number): Promise<void> {
    for (let left = milliseconds; left > 0; left -= PART) {
      await this.#clock.advance(PART)
      if (isOver()) return
    }
  }

  /** What is published to a queue that the broker named reaches its consumer. */
  async #privateQueues(): Promise<string[]> {
    const sent: string[] = []
    for (const { protocol, number, privateQueues } of this.#programs) {
      for (const { key } of privateQueues.all) {
        const published = this.#journal.publishing(number, 'protocol', key)
        const { id } = published
        const promise = protocol?.publish(bodyOf(id, 10), EXCHANGE, key, propertiesOf(id))
        if (promise === undefined) continue
        sent.push(id)
        this.#journal.track(`publish ${id}`, promise).then(
          () => {
            published.outcome = 'ok'
          },
          error => this.#journal.failed(published, error),
        )
      }
    }
    if (sent.length === 0) return []
    const lost = (): string[] => {
      const seen = new Set(this.#journal.handled.map(({ id }) => id))
      return sent.filter(id => !seen.has(id) && this.#journal.published.get(id)?.outcome !== 'refused')
    }
    await this.#until(() => lost().length === 0, SOON)
    return lost().map(id => `${id} did not reach its private queue`)
  }

  /** Each way of publishing works. */
  async #publishOnce(): Promise<void> {
    const before = new Set(this.#journal.published.keys())
    for (const program of this.#programs) {
      program.questions.unanswered.clear()
      for (const way of ['protocol', 'publisher', 'confirm', 'plain', 'transaction'] as const) {
        program.do({ do: 'publish', client: program.number, way, queue: 0, count: 2, size: 10 })
      }
      program.do({ do: 'batch', client: program.number, queue: 0, count: 2 })
      program.do({ do: 'unit', client: program.number, queue: 0, pause: 5, rollback: false })
      program.do({ do: 'ask', client: program.number, queue: 0, on: 'confirm' })
      program.do({ do: 'call', client: program.number, timeout: SOON / 2 })
    }
    await this.finish(SOON)
    const { violations, pending } = this.#journal
    for (const what of pending) violations.push(`${what} is pending, though nothing is wrong`)
    for (const { id, outcome, error } of this.#journal.published.values())
      if (!before.has(id) && outcome !== 'ok' && outcome !== 'pending')
        violations.push(`${id} ended with "${outcome}", though nothing is wrong: ${error?.message}`)
    // If the only program that could answer failed to come back, no answer comes.
    if (!this.#programs.some(({ answers }) => answers)) return
    for (const { questions, number } of this.#programs) {
      for (const question of questions.unanswered)
        violations.push(`${question} of program ${number} has no answer, though nothing is wrong`)
    }
  }

  /**
   * Programs go on errands, and nothing disturbs them: no consumer of theirs has messages in hand, for which a client
   * with little room would stop reading. Those that have closed come back for it: one history after the other, all errands have
   * their turn.
   */
  async errands(): Promise<void> {
    for (const program of this.#programs) {
      if (program.protocol === undefined) program.do({ do: 'open', client: program.number })
    }
    await this.finish(SOON)
    const { length: count } = this.#programs
    for (const [n, program] of this.#programs.entries()) {
      const turn = this.#seed * count + n
      const what = ERRAND_NAMES[turn % ERRAND_NAMES.length]
      const form = Math.floor(turn / ERRAND_NAMES.length)
      if (what !== undefined) program.do({ do: 'errand', client: n, what, calm: true, form })
    }
    await this.finish(4 * SOON)
    const { violations, pending } = this.#journal
    for (const what of pending) violations.push(`${what} is pending, though nothing is wrong`)
  }
}
