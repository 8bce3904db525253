/** What the synthetic peer does on the connections that come next. */
export interface Workload {
  /** Publishes are confirmed one basic.ack each, or one for all that came. */
  readonly confirm: 'single' | 'multiple'
  /** Publishes that must be unconfirmed before any is confirmed; 1 confirms at the end of each read. */
  readonly confirmAfter: number
  /** Messages to deliver, and the number of consumers: delivery begins when all consumers are there and the task asks for it. */
  readonly bodySize: number
  readonly json?: boolean | undefined
  readonly withProperties: boolean
  /** The largest frame of a delivery; the negotiated limit holds beside it. */
  readonly deliveryFrameMax: number
  readonly consumers: number
}

/** What the last connection did, for checking that nothing was lost and that the peer was not the limit. */
export interface PeerStats {
  published: number
  settled: number
  delivered: number
  cpuMicros: number
  wallMicros: number
}
