import {
  type Attributes,
  type BatchObservableCallback,
  type Counter,
  createNoopMeter,
  type Histogram,
  type Meter,
  type Observable,
} from '@opentelemetry/api'
import type { Endpoint } from '../diagnostics/server-context.ts'
import type { ConnectionStats } from '../diagnostics/stats.ts'
import { ATTRIBUTES, DURATION_BUCKETS, FORMER_NAMES, METRICS, RECOVERY_BUCKETS, SYSTEM } from './conventions.ts'
import { Tally } from './tally.ts'

/** Each is reported, with 0 if no connection is in it, so that a query for what is missing needs no special case. */
const STATES = ['connecting', 'open', 'blocked', 'recovering', 'closing'] as const

/** What is read from `protocol.stats()`, by its name there. */
const FIGURES = [
  ['openChannels', METRICS.channels],
  ['bufferedBytes', METRICS.buffered],
  ['unconfirmed', METRICS.unconfirmed],
  ['waiting', METRICS.waiting],
  ['unacknowledged', METRICS.unacknowledged],
  ['handlersRunning', METRICS.handlers],
] as const

/** Readers of the figures of each connection, by `connectionId`. */
export type Connected = ReadonlyMap<number, () => ConnectionStats>

/** The instruments of one meter. */
export class Metrics {
  /** Without a provider, nothing is measured. */
  readonly areRead: boolean
  readonly operationDuration: Histogram
  readonly processDuration: Histogram
  readonly recoveryDuration: Histogram
  readonly blockedDuration: Counter
  readonly reconnects: Counter
  readonly resent: Counter
  readonly cancellations: Counter
  readonly sent = new Tally()
  readonly consumed = new Tally()
  readonly #connected: Connected
  /** The attributes of connections so far. */
  readonly #seen = new Map<string, Attributes>()
  /** Stop each reading. */
  readonly #closers: (() => void)[] = []

  /** @param connected the connections that there are when somebody reads */
  constructor(meter: Meter, connected: Connected) {
    this.#connected = connected
    this.areRead = meter !== createNoopMeter()
    const histogram = ({ name, ...options }: Metric, explicitBucketBoundaries: number[]) =>
      meter.createHistogram(name, { ...options, advice: { explicitBucketBoundaries } })
    const counter = ({ name, ...options }: Metric) => meter.createCounter(name, options)
    const gauge = ({ name, ...options }: Metric) => meter.createObservableUpDownCounter(name, options)
    this.operationDuration = histogram(METRICS.operationDuration, DURATION_BUCKETS)
    this.processDuration = histogram(METRICS.processDuration, DURATION_BUCKETS)
    this.recoveryDuration = histogram(METRICS.recoveryDuration, RECOVERY_BUCKETS)
    this.blockedDuration = counter(METRICS.blockedDuration)
    this.reconnects = counter(METRICS.reconnects)
    this.resent = counter(METRICS.resent)
    this.cancellations = counter(METRICS.cancellations)

    const observe = (observables: Observable[], callback: BatchObservableCallback) => {
      meter.addBatchObservableCallback(callback, observables)
      this.#closers.push(() => meter.removeBatchObservableCallback(callback, observables))
    }
    for (const [metric, tally] of [
      [METRICS.sentMessages, this.sent],
      [METRICS.consumedMessages, this.consumed],
    ] as const) {
      const { name, ...options } = metric
      const sum = meter.createObservableCounter(name, options)
      observe([sum], result => tally.observe((count, attributes) => result.observe(sum, count, attributes)))
    }
    const connections = gauge(METRICS.connections)
    const figures = FIGURES.map(([figure, metric]) => [figure, gauge(metric)] as const)
    observe([connections, ...figures.map(([, observable]) => observable)], result => {
      for (const { attributes, byState, sums } of this.#byAttributes()) {
        for (const state of STATES) {
          result.observe(connections, byState[state] ?? 0, { ...attributes, [ATTRIBUTES.connectionState]: state })
        }
        for (const [figure, observable] of figures) result.observe(observable, sums[figure], attributes)
      }
    })
  }

  /** Nothing more is observed. */
  close(): void {
    for (const close of this.#closers) close()
  }

  /** The figures of all connections, added up for those whose attributes are the same. */
  #byAttributes() {
    const sets = new Map<string, Figures>()
    // The SDK repeats the last value of a metric that is not observed any more, so a closed connection must report 0.
    for (const [key, attributes] of this.#seen) sets.set(key, { attributes, byState: {}, sums: { ...NOTHING } })
    for (const read of this.#connected.values()) {
      const stats = read()
      const attributes = connectionAttributes(stats)
      const key = JSON.stringify(attributes)
      const set = sets.get(key) ?? { attributes, byState: {}, sums: { ...NOTHING } }
      sets.set(key, set)
      if (this.#seen.size < MAX_SEEN) this.#seen.set(key, attributes)
      const state = stats.state === 'open' && stats.blockedReason !== undefined ? 'blocked' : stats.state
      set.byState[state] = (set.byState[state] ?? 0) + 1
      for (const [figure] of FIGURES) set.sums[figure] += stats[figure]
    }
    return sets.values()
  }
}

interface Metric {
  readonly name: string
  readonly unit: string
  readonly description: string
}

interface Figures {
  readonly attributes: Attributes
  readonly byState: Partial<Record<string, number>>
  readonly sums: Sums
}

/** A program may give each of its connections a name of its own. */
const MAX_SEEN = 1_000

type Sums = Record<(typeof FIGURES)[number][0], number>
const NOTHING: Sums = Object.fromEntries(FIGURES.map(([figure]) => [figure, 0])) as Sums

/** The attributes of what is measured of a whole connection. */
export function connectionAttributes({ serverAddress, serverPort, virtualHost, connectionName }: Endpoint): Attributes {
  return {
    [ATTRIBUTES.system]: SYSTEM,
    [FORMER_NAMES.system]: SYSTEM,
    [ATTRIBUTES.serverAddress]: serverAddress,
    [ATTRIBUTES.serverPort]: serverPort,
    [ATTRIBUTES.virtualHost]: virtualHost,
    [ATTRIBUTES.clientId]: connectionName,
  }
}
