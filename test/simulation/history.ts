import { turns, VirtualClock } from '../support/virtual-clock.ts'
import { type BrokerControl, startSimulatedBroker } from './broker-control.ts'
import { Journal } from './journal.ts'
import { judge } from './judge.ts'
import { GOOD_LINK } from './lane.ts'
import { queueName } from './names.ts'
import { Network } from './network.ts'
import { Program } from './program/program.ts'
import type { Running } from './program/running.ts'
import { Random } from './random.ts'
import { releaseOf } from './releases.ts'
import { Rest } from './rest.ts'
import { CLIENTS, QUEUES, type Step } from './steps.ts'

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
  readonly #seed: number
  readonly #random: Random
  readonly #clock: VirtualClock
  readonly #network: Network
  readonly #broker: BrokerControl
  readonly #journal: Journal
  readonly #programs: Program[]
  readonly #isSlowReader: boolean
  /** When the broker was restarted last. */
  #restarted = Number.NEGATIVE_INFINITY
  #secrets = 0

  constructor(seed: number, journal: Journal) {
    this.#seed = seed
    this.#random = new Random(seed)
    this.#clock = new VirtualClock({ seed, turn: () => turns(1) })
    this.#network = new Network(this.#clock, this.#random)
    this.#broker = startSimulatedBroker(this.#clock, releaseOf(seed))
    this.#network.listener = this.#broker.listener
    this.#journal = journal
    const maxBuffered = this.#random.pick([1, 1_000, 100_000, 16_777_216])
    this.#isSlowReader = maxBuffered <= 1_000
    const options = {
      maxBuffered,
      channelMax: this.#random.pick([30, 0]),
      ...(this.#random.chance(0.2) && { maxWaiting: 10 }),
      frameMax: this.#random.pick([8_192, 0]),
      // What has no promise is reported here; nothing else has to be done with it.
      onError: () => {},
    }
    this.#programs = Array.from({ length: CLIENTS }, (_, n) => {
      const connections = n > 0 && seed % 2 === 0 ? 'separate' : 'shared'
      return new Program(n, { ...options, connections }, this.#clock, this.#network, journal)
    })
  }

  async run(steps: readonly Step[]): Promise<string[]> {
    for (const program of this.#programs) await this.#clock.until(program.start())
    for (const step of steps) {
      this.#do(step)
      await this.#clock.advance(step.do === 'wait' ? step.ms : this.#random.pick([0, 0, 1, 5]))
      if (step.do === 'publish') this.#programs[step.client]?.judgeLimits()
    }
    this.#heal()
    const healed = this.#clock.now()
    const rest = new Rest(this.#programs, this.#journal, this.#broker, this.#clock, this.#seed)
    const wrong = await rest.judge(healed, this.#restarted)
    for (const running of this.#programs.flatMap(program => program.running.splice(0))) this.#stop(running)
    wrong.push(...(await rest.judgeIdle()))
    for (const program of this.#programs) program.close()
    wrong.push(...(await rest.judgeClosed()))
    const { size } = this.#network.links
    if (size > 0) wrong.push(`${size} connections to the broker are left`)
    wrong.push(...judge(this.#journal, this.#broker.evidence(), this.#isSlowReader))
    this.#broker.stop()
    return wrong
  }

  #stop({ consuming, stop }: Running): void {
    const stopped = this.#journal.track(`end of consumer ${consuming.number}`, stop())
    stopped.then(
      () => {
        consuming.closed = true
        consuming.runsOn = false
      },
      () => {},
    )
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
      case 'new secret': {
        const secret = `secret ${++this.#secrets}`
        broker.setPassword(secret)
        for (const program of this.#programs) program.secret.change(secret)
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
            this.#restarted = clock.now()
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
          case 'close at login':
            broker.closeNext(true)
            return
          case 'nack':
            broker.nackNext(this.#random.pick([1, 5, 40]))
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

  #disturb(what: 'cut' | 'half-close' | 'freeze' | 'swallow' | 'slow' | 'refuse', ms: number): void {
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
      case 'swallow':
        if (link !== undefined) link.swallows = true
        link?.freeze()
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
    this.#stop(running)
  }

  /** Every fault is over. */
  #heal(): void {
    this.#listen()
    this.#network.conditions = GOOD_LINK
    for (const link of this.#network.links) link.heal()
    this.#broker.closeNext(false)
    this.#broker.unblock()
    this.#broker.releaseConfirms()
    this.#broker.stopNacks()
  }
}
