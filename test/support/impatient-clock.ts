import { type Clock, systemClock } from '../../src/lib/clock.ts'

/**
 * The machine's clock, but timers of `limit` milliseconds or more never fire: what would wait for one waits for ever, which a
 * test sees on a machine of any speed.
 */
export function impatientClock(limit: number): Clock {
  return {
    now: systemClock.now,
    random: systemClock.random,
    wallTime: systemClock.wallTime,
    after: (milliseconds, run, options) =>
      systemClock.after(milliseconds < limit ? milliseconds : Number.POSITIVE_INFINITY, run, options),
  }
}
