import type { TransportHandler, TransportTarget } from '../../../src/connection/wire/transport.ts'
import { type AmqpProtocol, type ConnectOptions, connect, connectInBackground } from '../../../src/index.ts'
import { startSimulatedBroker } from '../broker-control.ts'
import { type Host, LATE_SERVER, NO_SERVER, Outing, type OwnBroker, type OwnConnection } from '../errands/errand.ts'
import { ERRANDS, type ErrandName } from '../errands/errands.ts'
import { type Link, Network } from '../network.ts'
import { Random } from '../random.ts'
import { releaseOf } from '../releases.ts'
import type { Desk, StepOf } from './desk.ts'
import { ProgramClock } from './program-clock.ts'

/** Milliseconds after the close of a connection in which its timers may end. */
const WINDING_UP = 100
/** The same for those that keep no process alive: a look at slow handlers may come once more. */
const FADING = 15_000

/** Milliseconds until a late server is there. */
const LATE = 50
/** Stands for every server. */
const ALL = ''

/** Lets errands go, on the program's connection and on those of their own. */
export class ErrandRuns implements Host {
  readonly #desk: Desk
  readonly #network: Network
  readonly #password: () => string
  #count = 0

  constructor(desk: Desk, network: Network, password: () => string) {
    this.#desk = desk
    this.#network = network
    this.#password = password
  }

  get clock() {
    return this.#desk.clock
  }

  get password(): string {
    return this.#password() || 'guest'
  }

  /** It comes to its end, whatever happens; if nothing disturbs it, all is as it should be. */
  go(protocol: AmqpProtocol, { what, calm = false, form }: StepOf<'errand'>): void {
    const { journal, number } = this.#desk
    const outing = this.#outing(protocol, what, form)
    const gone = journal.track(`errand ${what} of program ${number}`, outing.run(ERRANDS[what]))
    const judge = (complaints: readonly string[]): void => {
      if (calm) for (const each of complaints) journal.violations.push(`errand ${what} of program ${number}: ${each}`)
    }
    gone.then(
      () => judge(outing.complaints),
      (error: unknown) => judge([...outing.complaints, `${error}`]),
    )
  }

  #outing(protocol: AmqpProtocol, what: ErrandName, form: number | undefined): Outing {
    const count = this.#count++
    return new Outing(form ?? count, `errand ${this.#desk.number} ${count} ${what}`, protocol, this)
  }

  connect(given: ConnectOptions, inBackground: boolean): Promise<OwnConnection> {
    return this.#connect(this.#network, { password: () => this.password, ...given }, inBackground)
  }

  startBroker(channelMax?: number): OwnBroker {
    const release = releaseOf(Math.floor(2 ** 31 * this.clock.random()))
    const control = startSimulatedBroker(this.clock, release, channelMax)
    const network = new Network(this.clock, new Random(Math.floor(this.clock.random() * 2 ** 31)))
    network.listener = control.listener
    return { control, release, connect: (given = {}) => this.#connect(network, given, false) }
  }

  async #connect(network: Network, given: ConnectOptions, inBackground: boolean): Promise<OwnConnection> {
    const clock = new ProgramClock(this.clock)
    const links = new Set<Link>()
    const refused = new Set<string>([NO_SERVER])
    const silent = new Set<string>()
    const open = (): Link[] => [...links].filter(({ closed }) => !closed)
    const waiting: (() => void)[] = []
    const wrote = new Map<number, number>()
    // It heeds no signal.
    const late = async (target: TransportTarget, handler: TransportHandler): Promise<Link> => {
      await new Promise<void>(resolve => this.clock.after(LATE, resolve))
      return network.createTransport(target, handler, new AbortController().signal)
    }
    const options: ConnectOptions = {
      onError: () => {},
      connectionName: `errand of program ${this.#desk.number}`,
      ...given,
      clock,
      createTransport: async (target, handler, signal) => {
        if (refused.has(ALL) || refused.has(target.host))
          throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
        const link = await (target.host === LATE_SERVER
          ? late(target, handler)
          : network.createTransport(target, handler, signal))
        links.add(link)
        link.complainOfFrames = what => this.#desk.journal.violations.push(`an own connection: ${what}`)
        link.frames.onMethod = key => wrote.set(key, (wrote.get(key) ?? 0) + 1)
        if (silent.has(target.host)) link.freeze()
        for (const linked of waiting.splice(0)) linked()
        return link
      },
    }
    const protocol = inBackground ? connectInBackground(options) : await connect(options)
    const { violations } = this.#desk.journal
    let ends = 0
    protocol.on('closed', () => ends++)
    const ended = (): void => {
      this.clock.after(WINDING_UP, () => {
        if (ends !== 1) violations.push(`an own connection is closed, and has said so ${ends} times`)
      })
    }
    protocol.waitClosed().then(ended, ended)
    protocol.once('closed', () => {
      this.clock.after(WINDING_UP, () => {
        if (clock.keeping > 0) violations.push('an own connection is closed, and a timer keeps the process alive')
      })
      this.clock.after(FADING, () => {
        if (clock.running > 0) violations.push(`an own connection is closed, and ${clock.running} timers run`)
      })
    })
    return {
      protocol,
      get keeping() {
        return clock.keeping
      },
      get open() {
        return open().length
      },
      wrote: ({ key }) => wrote.get(key) ?? 0,
      cut: which => {
        for (const [n, link] of open().entries()) if (which === undefined || n === which) link.cut()
      },
      halfClose: () => {
        for (const link of open()) link.serverEnds()
      },
      refuse: (does, host = ALL) => {
        if (does) refused.add(host)
        else refused.delete(host)
      },
      silence: host => {
        silent.add(host)
      },
      freeze: way => {
        for (const link of links) {
          if (way === undefined) link.freeze()
          else link[way].frozen = true
        }
      },
      thaw: way => {
        for (const link of links) {
          if (way === undefined) link.thaw()
          else link[way].thaw()
        }
      },
      linked: () => new Promise(resolve => waiting.push(resolve)),
    }
  }
}
