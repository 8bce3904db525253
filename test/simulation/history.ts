import { VirtualClock } from '../support/virtual-clock.ts'
import { type BrokerControl, startSimulatedBroker } from './broker-control.ts'
import { Journal } from './journal.ts'
import { judge } from './judge.ts'
import { GOOD_LINK, Network } from './network.ts'
import { keyName, Program, queueName } from './program.ts'
import { Random } from './random.ts'
import { CLIENTS, KEYS, QUEUES, type Step } from './steps.ts'

/** Turns of the event loop after each timer: for what waits for the end of a tick, and for one `setImmediate` of one. */
const TURNS = 3
/** Virtual milliseconds after the last fault in which everything has to come to its end. */
const SETTLING = 180_000
/** Virtual milliseconds for closing. */
const CLOSING = 60_000

/** Runs a history. What it returns is wrong with it; nothing if all is right. `trace` sees what the programs learn, in order. */
export async function runHistory(
  seed: number,
  steps: readonly Step[],
  trace?: (line: string) => void,
): Promise<string[]> {
  const journal = new Journal(trace)
  const escaped = (error: unknown): void => {
    journal.violations.push(`escaped: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  }
  process.on('unhandledRejection', escaped)
  process.on('uncaughtException', escaped)
  try {
    return await new World(seed, journal).run(steps)
  } catch (error) {
    escaped(error)
    return journal.violations
  } finally {
    process.off('unhandledRejection', escaped)
    process.off('uncaughtException', escaped)
  }
}

class World {
  readonly #random: Random
  readonly #clock: VirtualClock
  readonly #network: Network
  readonly #broker: BrokerControl
  readonly #journal: Journal
  readonly #programs: Program[]

  constructor(seed: number, journal: Journal) {
    this.#random = new Random(seed)
    this.#clock = new VirtualClock({ seed, turns: TURNS })
    this.#network = new Network(this.#clock, this.#random)
    this.#broker = startSimulatedBroker(this.#clock)
    this.#network.listener = this.#broker.listener
    this.#journal = journal
    const options = {
      maxBuffered: this.#random.pick([1, 1_000, 100_000, 16_777_216]),
      channelMax: this.#random.pick([20, 0]),
      frameMax: this.#random.pick([8_192, 0]),
      createTransport: this.#network.createTransport,
      clock: this.#clock,
      // What has no promise is told here; nothing else has to be done with it.
      onError: () => {},
    }
    this.#programs = Array.from({ length: CLIENTS }, (_, n) => new Program(n, options, this.#clock, journal))
  }

  async run(steps: readonly Step[]): Promise<string[]> {
    for (const program of this.#programs) await this.#clock.until(program.start(QUEUES))
    for (const step of steps) {
      this.#do(step)
      await this.#clock.advance(step.do === 'wait' ? step.ms : this.#random.pick([0, 0, 1, 5]))
    }
    this.#heal()
    await this.#clock.advance(SETTLING)
    const wrong = [...this.#judgeBindings(), ...(await this.#judgeConsumers())]
    for (const { stop, consuming } of this.#programs.flatMap(({ running }) => running)) {
      const stopped = this.#journal.track(`end of consumer ${consuming.number}`, stop())
      stopped.then(
        () => {
          consuming.closed = true
        },
        () => {},
      )
    }
    await this.#clock.advance(CLOSING)
    for (const program of this.#programs) program.close()
    await this.#clock.advance(CLOSING)
    wrong.push(...judge(this.#journal, this.#broker.evidence()))
    this.#broker.stop()
    if (this.#clock.keeping > 0) wrong.push(`${this.#clock.keeping} timers still keep the process alive`)
    return wrong
  }

  #do(step: Step): void {
    const broker = this.#broker
    const clock = this.#clock
    switch (step.do) {
      case 'wait':
        return
      case 'stop consumer':
        this.#stopConsumer(step.which)
        return
      case 'pause': {
        const program = this.#programs[step.which % this.#programs.length]
        const running = program?.running[step.which % Math.max(1, program.running.length)]
        running?.pause?.()
        clock.after(step.ms, () => running?.resume?.())
        return
      }
      case 'network':
        this.#disturb(step.what, step.ms)
        return
      case 'cut after': {
        const link = this.#randomLink()
        if (link !== undefined) (step.toServer ? link.toServer : link.toClient).cutAfter = step.bytes
        return
      }
      case 'broker':
        switch (step.what) {
          case 'restart':
          case 'kill':
            this.#network.listener = undefined
            broker[step.what]()
            clock.after(step.ms, () => this.#listen())
            return
          case 'block':
            broker.block('low on memory')
            clock.after(step.ms, () => broker.unblock())
            return
          case 'cancel':
            broker.cancelConsumers(queueName(this.#random.between(0, QUEUES - 1)))
            return
          case 'close channels':
            broker.closeChannels(541, 'INTERNAL_ERROR')
            return
          case 'close connections':
            broker.closeConnections(320, 'CONNECTION_FORCED - broker forced connection closure')
            return
          case 'nack':
            broker.nackNext(this.#random.between(1, 5))
            return
          case 'withhold':
            broker.withholdConfirms()
            clock.after(step.ms, () => broker.releaseConfirms())
        }
        return
      default:
        this.#programs[step.client]?.do(step)
    }
  }

  #listen(): void {
    this.#broker.start()
    this.#network.listener = this.#broker.listener
  }

  #randomLink() {
    const links = [...this.#network.links]
    return links.length === 0 ? undefined : this.#random.pick(links)
  }

  #disturb(what: 'cut' | 'half-close' | 'freeze' | 'slow' | 'refuse', ms: number): void {
    const link = this.#randomLink()
    switch (what) {
      case 'cut':
        link?.cut()
        return
      case 'half-close':
        link?.serverEnds()
        return
      case 'freeze':
        link?.freeze()
        this.#clock.after(ms, () => link?.thaw())
        return
      case 'slow': {
        const slow = { delay: [1, 50], chunk: 500, rate: 20 } as const
        this.#network.conditions = slow
        this.#clock.after(ms, () => {
          this.#network.conditions = GOOD_LINK
        })
        return
      }
      case 'refuse':
        this.#network.listener = undefined
        this.#clock.after(ms, () => this.#listen())
    }
  }

  #stopConsumer(which: number): void {
    const program = this.#programs[which % this.#programs.length]
    const [running] = program?.running.splice(which % Math.max(1, program.running.length), 1) ?? []
    if (running === undefined) return
    const { consuming } = running
    const stopped = this.#journal.track(`end of consumer ${consuming.number}`, running.stop())
    stopped.then(
      () => {
        consuming.closed = true
      },
      () => {},
    )
  }

  /** Every fault is over. */
  #heal(): void {
    this.#listen()
    this.#network.conditions = GOOD_LINK
    for (const link of this.#network.links) {
      link.toClient.cutAfter = undefined
      link.toServer.cutAfter = undefined
      link.thaw()
    }
    this.#broker.unblock()
    this.#broker.releaseConfirms()
    this.#broker.nackNext(0)
  }

  /** A queue whose consumer takes every message runs empty. */
  async #judgeConsumers(): Promise<string[]> {
    const running = this.#programs.flatMap(program => program.running)
    const taken = new Set(
      running
        .filter(({ takesAll, consuming }) => takesAll && !consuming.closed)
        .map(({ consuming }) => consuming.queue),
    )
    const left = (queue: string): number => this.#broker.evidence().queued.get(queue)?.length ?? 0
    const wrong: string[] = []
    for (const queue of taken) {
      for (let before = left(queue); before > 0; before = left(queue)) {
        await this.#clock.advance(SETTLING)
        if (left(queue) < before) continue
        wrong.push(`${queue} keeps ${before} messages, though a consumer takes them`)
        break
      }
    }
    return wrong
  }

  /** After a recovery, the broker has the bindings that the programs made and did not undo. */
  #judgeBindings(): string[] {
    const wrong: string[] = []
    const { bindings } = this.#broker.evidence()
    for (let queue = 0; queue < QUEUES; queue++) {
      for (let key = 0; key < KEYS; key++) {
        const binding = `${queueName(queue)} ${keyName(key)}`
        const known = this.#programs.map(program =>
          program.bindings.has(binding) ? program.bindings.get(binding)?.bound : null,
        )
        // What two programs did to one binding has no known order.
        const [only, ...others] = known.filter(bound => bound !== null)
        if (others.length > 0 || only === undefined) continue
        if (only !== bindings.has(binding)) wrong.push(`the binding ${binding} is ${only ? 'missing' : 'still there'}`)
      }
    }
    return wrong
  }
}
