/** Events of a `Consumer` and what their listeners get. None needs a listener. */
export interface ConsumerEvents {
  /**
   * The broker has ended the consumer. The error is a `ConsumerCancelledError`, a `ChannelClosedError` or a
   * `ConnectionLostError`. Messages in hand can no longer be settled. It consumes again, unless `onCancel` says
   * otherwise.
   */
  cancelled: [error: Error]
  /** The consumer has started again. */
  resumed: []
  /** `handlers` have run for longer than `slowHandlerThreshold`, and one of them for `milliseconds` at least. */
  slow: [handlers: number, milliseconds: number]
  /** The consumer is over; `error` says why, unless the program closed it. */
  closed: [error?: Error]
}

export const CONSUMER_EVENTS: Readonly<Record<keyof ConsumerEvents, true>> = {
  cancelled: true,
  resumed: true,
  slow: true,
  closed: true,
}
