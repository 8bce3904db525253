import { type AmqpProtocol, type ConnectOptions, connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { type FaultProxy, type FaultProxyOptions, openFaultProxy } from '../support/fault-proxy.ts'
import { PROTOCOL_EVENTS, type SeenEvent } from '../support/protocol-events.ts'
import { until } from '../support/until.ts'

/** A connection to the shared broker by way of a proxy that can break it. */
export class Recovering implements AsyncDisposable {
  readonly proxy: FaultProxy
  readonly protocol: AmqpProtocol
  readonly events: SeenEvent[] = []
  /** What `onError` was called with. */
  readonly errors: Error[]
  #recoveries = 0

  constructor(proxy: FaultProxy, protocol: AmqpProtocol, errors: Error[]) {
    this.proxy = proxy
    this.protocol = protocol
    this.errors = errors
    for (const name of PROTOCOL_EVENTS) {
      protocol.on(name, (...args: unknown[]) => {
        this.events.push([name, ...args])
        if (name === 'recovered') this.#recoveries++
      })
    }
  }

  /** The arguments of every event of this name. */
  seen(name: (typeof PROTOCOL_EVENTS)[number]): unknown[][] {
    return this.events.filter(([each]) => each === name).map(([, ...args]) => args)
  }

  /** Resolves when the connection has been recovered this many times since `act` was called. */
  async recoveredAfter(act: () => void | Promise<void>, timeout = 20_000): Promise<void> {
    const wanted = this.#recoveries + 1
    await act()
    await until('the connection is recovered', () => this.#recoveries >= wanted, { interval: 5, timeout })
  }

  /** Reset the connection and wait until all is back. */
  async cut(): Promise<void> {
    await this.recoveredAfter(() => this.proxy.reset())
  }

  /** Reset the connection and keep new ones away, until `heal`. */
  async outage(): Promise<void> {
    await this.proxy.refuse()
    this.proxy.reset()
    await until('the loss is noticed', () => this.protocol.state === 'recovering', { interval: 2 })
  }

  async heal(): Promise<void> {
    await this.recoveredAfter(() => this.proxy.heal())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.protocol.close({ timeout: 1_000 })
    await this.proxy[Symbol.asyncDispose]()
  }
}

/** Connects to `vhostUrl` through a proxy of its own. */
export async function openRecovering(
  vhostUrl: string,
  options: ConnectOptions = {},
  proxyOptions: FaultProxyOptions = {},
): Promise<Recovering> {
  const proxy = await openFaultProxy(broker.host, broker.port, proxyOptions)
  const errors: Error[] = []
  const protocol = await connect(proxy.url(vhostUrl), { onError: error => errors.push(error), ...options })
  return new Recovering(proxy, protocol, errors)
}
