import type { VirtualClock } from '../support/virtual-clock.ts'
import type { BrokerControl } from './broker-control.ts'
import type { Journal } from './journal.ts'
import { RPC_QUEUE, STREAM } from './names.ts'
import type { Program } from './program/program.ts'
import type { Running } from './program/running.ts'
import { releaseOf } from './releases.ts'
import { Trials } from './trials.ts'

/** Virtual milliseconds after the last fault in which connections may still be lost to it: an end may wait to be read. */
const AFTERMATH = 120_000
/** Virtual milliseconds in which at least one message leaves a queue that a consumer empties, and one promise ends. */
const PATIENCE = 180_000

/**
 * Messages that a program may be sent and not see: what waits for a handler when its consumer ends goes back, and comes
 * again.
 */
const MOST_UNSEEN = 20_000
/**
 * Virtual milliseconds after which most histories have settled: a connection that was swallowed is noticed, and another
 * is there.
 */
const CALM = 40_000
/** Virtual milliseconds after the last fault in which everything has to come to its end. */
const SETTLING = 180_000
/** Virtual milliseconds for closing. */
const CLOSING = 60_000
/** After each it is seen whether messages go round in circles, or all is done. */
const PART = 20_000

/** What must hold when all faults are over, and everything had time to settle. */
export class Rest {
  readonly #programs: readonly Program[]
  readonly #journal: Journal
  readonly #broker: BrokerControl
  readonly #clock: VirtualClock
  /** Whether exchanges that are not durable survive a restart, as in RabbitMQ 4.3. */
  readonly #keepsExchanges: boolean
  readonly #trials: Trials

  constructor(
    programs: readonly Program[],
    journal: Journal,
    broker: BrokerControl,
    clock: VirtualClock,
    seed: number,
  ) {
    this.#programs = programs
    this.#journal = journal
    this.#broker = broker
    this.#clock = clock
    this.#keepsExchanges = releaseOf(seed) === '4.3'
    this.#trials = new Trials(programs, journal, clock, seed)
  }

  /** Everything comes to its end. `healed` is when the faults were over, `restarted` when the broker last started. */
  async judge(healed: number, restarted: number): Promise<string[]> {
    const circling = await this.#settle(CALM)
    if (circling.length > 0) return circling
    let wrong = await this.#look(healed, restarted)
    if (wrong.length > 0) {
      wrong = await this.#settle(SETTLING - CALM)
      if (wrong.length === 0) wrong = await this.#look(healed, restarted)
    }
    wrong.push(...(await this.#trials.run()))
    return wrong
  }

  /** Let time pass, unless messages are given back as soon as they come, for ever. */
  async #settle(milliseconds: number): Promise<string[]> {
    for (let left = milliseconds; left > 0; left -= PART) {
      await this.#clock.advance(Math.min(left, PART))
      for (const { protocol, number } of this.#programs) {
        const { delivered = 0 } = protocol?.stats() ?? {}
        const seen = this.#journal.handled.length
        if (delivered > seen + MOST_UNSEEN)
          return [`program ${number} was sent ${delivered} messages, and all saw ${seen}`]
      }
    }
    return []
  }

  /** What is wrong with the connections and the broker at the moment. */
  async #look(healed: number, restarted: number): Promise<string[]> {
    const wrong = await this.#allEnds()
    for (const { protocol, number, lostAt, publisherLostAt } of this.#programs) {
      if (protocol === undefined) continue
      if (protocol.state !== 'open') wrong.push(`program ${number} is ${protocol.state}`)
      if (protocol.blocked !== undefined) wrong.push(`program ${number} takes its broker for blocked`)
      if (Math.max(lostAt, publisherLostAt) > healed + AFTERMATH)
        wrong.push(`program ${number} lost its connection, and nobody broke it`)
    }
    wrong.push(...(await this.#runEmpty()), ...this.#consumers(), ...this.#entities(), ...this.#fleeting(restarted))
    wrong.push(...this.#stream(), ...this.#bound())
    return wrong
  }

  /** Pending work comes to its end, but not at once if the client has so little room that it reads in small pieces. */
  async #allEnds(): Promise<string[]> {
    for (let before = this.#journal.pending; before.length > 0; before = this.#journal.pending) {
      await this.#clock.advance(PATIENCE)
      if (this.#journal.pending.length < before.length) continue
      return before.map(what => `${what} is pending, though all faults are over`)
    }
    return []
  }

  /** Consumers of programs that are not closed. */
  get #running(): readonly Running[] {
    return this.#programs.flatMap(({ protocol, running }) => (protocol === undefined ? [] : running))
  }

  /** A queue whose consumer takes every message runs empty. */
  async #runEmpty(): Promise<string[]> {
    const running = this.#running
    const taken = new Set(
      running
        .filter(({ takesAll, consuming }) => takesAll && !consuming.closed)
        .map(({ consuming }) => consuming.queue),
    )
    const left = (queue: string): number => this.#broker.evidence().queued.get(queue)?.length ?? 0
    const wrong: string[] = []
    for (const queue of taken) {
      for (let before = left(queue); before > 0; before = left(queue)) {
        await this.#clock.advance(PATIENCE)
        if (left(queue) < before) continue
        wrong.push(`${queue} keeps ${before} messages, though a consumer takes them`)
        break
      }
    }
    return wrong
  }

  /** The broker has the programs' consumers, with their limits, and no others. */
  #consumers(): string[] {
    const wanted = new Map<string, string[]>()
    for (const { consuming } of this.#running) {
      const { queue, closed, look } = consuming
      if (!closed) wanted.set(queue, [...(wanted.get(queue) ?? []), look].sort())
    }
    const wrong: string[] = []
    for (const [queue, there] of this.#broker.evidence().consumers) {
      if (!queue.startsWith('queue ') && queue !== STREAM) continue
      const [should, is] = [wanted.get(queue) ?? [], there].map(looks => looks.join(', '))
      if (should !== is) wrong.push(`${queue} has consumers [${is}] and not [${should}]`)
    }
    const answering = this.#programs.filter(({ answers }) => answers).length
    const servers = this.#broker.evidence().consumers.get(RPC_QUEUE)?.length ?? 0
    if (servers !== answering) wrong.push(`${answering} programs answer questions, and the broker knows ${servers}`)
    return wrong
  }

  /** The broker has what a program made and did not undo. */
  #entities(): string[] {
    const { entities } = this.#broker.evidence()
    const wrong: string[] = []
    for (const key of new Set(this.#programs.flatMap(program => [...program.entities.keys]))) {
      const known = this.#programs.map(program => program.entities.isThere(key)).filter(there => there !== null)
      // The order in which two programs changed one entity is not known.
      const [only, ...others] = known
      if (others.length > 0 || only === undefined) continue
      if (only !== entities.has(key)) wrong.push(`the ${key} is ${only ? 'missing' : 'still there'}`)
      const [owner] = this.#programs.filter(program => program.entities.isThere(key) !== null)
      const [should, is] = [owner?.entities.look(key) ?? '', entities.get(key)]
      if (only && should !== '' && is !== undefined && is !== should)
        wrong.push(`the ${key} is [${is}] and not [${should}]`)
    }
    const known = new Set(this.#programs.flatMap(program => [...program.entities.keys]))
    for (const key of entities.keys()) {
      if (/(queue|exchange|binding) of \d/.test(key) && !known.has(key)) wrong.push(`nobody made the ${key}`)
    }
    return wrong
  }

  #fleeting(restarted: number): string[] {
    const { entities } = this.#broker.evidence()
    const wrong: string[] = []
    const keeps = (kind: string) => kind === 'exchange' && this.#keepsExchanges
    for (const { kind, name, asked, declared } of this.#programs.flatMap(({ topology }) => topology.fleeting)) {
      if (declared === undefined) continue
      const what = `${kind} ${name}`
      const there = entities.has(what)
      if (declared < restarted && there && !keeps(kind)) wrong.push(`${what} was to end with its broker, and is there`)
      if ((asked > restarted || keeps(kind)) && !there) wrong.push(`${what} is missing`)
    }
    return wrong
  }

  /** A consumer that reads a stream from its first message on has seen all of it. */
  #stream(): string[] {
    const { queued, forgot } = this.#broker.evidence()
    const log = queued.get(STREAM) ?? []
    const wrong: string[] = []
    // What was read and is forgotten gives its place to another message.
    if ([...forgot].some(id => id.includes(STREAM))) return wrong
    wrong.push(...this.#programs.flatMap(({ stream }) => stream.wrong))
    for (const { consuming } of this.#running) {
      if (consuming.way !== 'stream' || consuming.closed) continue
      const seen = new Set(this.#journal.handled.filter(each => each.consumer === consuming.number).map(({ id }) => id))
      const missing = log.find(id => !seen.has(id))
      if (missing !== undefined) wrong.push(`consumer ${consuming.number} left ${missing} of the stream out`)
    }
    return wrong
  }

  /** A queue that the broker named has its binding and its consumer. */
  #bound(): string[] {
    const { entities, consumers } = this.#broker.evidence()
    const wrong: string[] = []
    for (const { number, privateQueues } of this.#programs) {
      for (const { key, name, consuming } of privateQueues.all) {
        if (!entities.has(`binding ${name} ${key}`))
          wrong.push(`${name} is not bound by ${key}, as program ${number} has it`)
        const count = consumers.get(name)?.length ?? 0
        if (count !== (consuming.closed ? 0 : 1))
          wrong.push(`${name}, which has one consumer, has ${count} at the broker`)
      }
    }
    return wrong
  }

  /** Consumers were stopped: errands go well, no consumer has a message in hand, and nothing waits for anything. */
  async judgeIdle(): Promise<string[]> {
    await this.#trials.finish(CLOSING)
    await this.#trials.errands()
    if (this.#idle().length > 0) await this.#clock.advance(CLOSING)
    return this.#idle()
  }

  #idle(): string[] {
    const wrong: string[] = []
    const { unacked, consumers } = this.#broker.evidence()
    for (const [queue, count] of unacked) {
      if (count > 0 && !queue.startsWith('amq.')) wrong.push(`somebody keeps ${count} messages of ${queue} unacked`)
    }
    for (const [queue, there] of consumers) {
      if (queue.startsWith('queue ') && there.length > 0) wrong.push(`${queue} has consumers that nobody runs`)
    }
    for (const program of this.#programs) {
      if (program.protocol !== undefined) wrong.push(...program.leftovers, ...program.unfinished)
    }
    return wrong
  }

  /** All programs have closed. */
  async judgeClosed(): Promise<string[]> {
    await this.#clock.advance(CLOSING)
    return this.#programs.flatMap(({ remains }) => remains)
  }
}
