import type { TimerSource } from './clock.ts'

/** An owner that bounds waits: its end ends them. */
export interface Lifetime extends TimerSource {
  /** Why it is over; undefined while it is not. */
  readonly ending: unknown
  /** Have `run` called once when it is over. Returns how to take that back. */
  onEnded(run: () => void): () => void
}

/** Wait for `promise`, but no longer than that, nor past the end of `owner`. Never rejects. */
export function atMost(owner: Lifetime, milliseconds: number, promise: Promise<unknown>): Promise<void> {
  if (owner.ending !== undefined) return Promise.resolve()
  return new Promise(resolve => {
    const forgetEnd = owner.onEnded(() => done())
    const deadline = owner.after(Math.max(0, milliseconds), () => done())
    const done = (): void => {
      forgetEnd()
      deadline.cancel()
      resolve()
    }
    promise.then(done, done)
  })
}
