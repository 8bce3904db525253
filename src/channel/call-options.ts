/** Limits of the wait for the reply to a synchronous method. */
export interface CallOptions {
  /** Ends the wait. The method may have taken effect all the same; its late reply is absorbed. */
  readonly signal?: AbortSignal | undefined
  /**
   * Milliseconds from the call on. Past it the call rejects and its channel is closed, whose state is unknown. Default:
   * `rpcTimeout`.
   */
  readonly timeout?: number | undefined
}

/** `queue.declare of "orders"`: how errors name a call. `name` is of whatever the program passed. */
export function describeCall(method: string, name: unknown): string {
  if (typeof name !== 'string') return method
  return name === '' ? `${method} of the last queue` : `${method} of "${name}"`
}
