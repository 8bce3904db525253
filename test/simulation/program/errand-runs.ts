import { type AmqpProtocol, type ConnectOptions, connect, connectInBackground } from '../../../src/index.ts'
import { type Host, Outing, type OwnConnection } from '../errands/errand.ts'
import { ERRANDS, type ErrandName } from '../errands/errands.ts'
import type { Link, Network } from '../network.ts'
import type { Desk, StepOf } from './desk.ts'
import { ProgramClock } from './program-clock.ts'

/** Milliseconds after the close of a connection in which its timers may end. */
const WINDING_UP = 100

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
  go(protocol: AmqpProtocol, { what, calm = false }: StepOf<'errand'>): void {
    const { journal, number } = this.#desk
    const outing = this.#outing(protocol, what)
    const gone = journal.track(`errand ${what} of program ${number}`, outing.run(ERRANDS[what]))
    const judge = (complaints: readonly string[]): void => {
      if (calm) for (const each of complaints) journal.violations.push(`errand ${what} of program ${number}: ${each}`)
    }
    gone.then(
      () => judge(outing.complaints),
      (error: unknown) => judge([...outing.complaints, `${error}`]),
    )
  }

  #outing(protocol: AmqpProtocol, what: ErrandName): Outing {
    const count = this.#count++
    return new Outing(count, `errand ${this.#desk.number} ${count} ${what}`, protocol, this)
  }

  async connect(given: ConnectOptions, inBackground: boolean): Promise<OwnConnection> {
    const clock = new ProgramClock(this.clock)
    const links = new Set<Link>()
    let isRefused = false
    const options: ConnectOptions = {
      // The one that the broker wants when it is asked for.
      password: () => this.password,
      onError: () => {},
      ...given,
      clock,
      connectionName: `errand of program ${this.#desk.number}`,
      createTransport: async (target, handler, signal) => {
        if (isRefused) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
        const link = await this.#network.createTransport(target, handler, signal)
        links.add(link)
        return link
      },
    }
    const protocol = inBackground ? connectInBackground(options) : await connect(options)
    protocol.once('closed', () =>
      this.clock.after(WINDING_UP, () => {
        if (clock.keeping > 0)
          this.#desk.journal.violations.push('an own connection is closed, and a timer keeps the process alive')
      }),
    )
    return {
      protocol,
      get keeping() {
        return clock.keeping
      },
      cut: () => {
        for (const link of links) link.cut()
      },
      refuse: does => {
        isRefused = does
      },
      freeze: () => {
        for (const link of links) link.freeze()
      },
      thaw: () => {
        for (const link of links) link.thaw()
      },
    }
  }
}
