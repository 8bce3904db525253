import type { RecoverySettings } from '../settings/settings.ts'

/** The shortest window that grows, in milliseconds: an initial delay of 0 would never grow. */
const SMALLEST_WINDOW = 100
/** Milliseconds after the loss in which no pause is longer than `EARLY_MAX`: most outages are a restart. */
const EARLY = 15_000
const EARLY_MAX = 500

/**
 * The pause before an attempt, the first being number 1, which is made after `initialDelay`; later ones wait a random
 * part of a window that grows by `factor` up to `maxDelay`.
 */
export function pauseBefore(
  attempt: number,
  elapsed: number,
  settings: RecoverySettings,
  random: () => number,
): number {
  const { initialDelay, maxDelay, factor, jitter } = settings
  if (attempt === 1) return Math.min(initialDelay, maxDelay)
  const grown = Math.max(initialDelay, SMALLEST_WINDOW) * factor ** (attempt - 2)
  const window = Math.min(grown, maxDelay, elapsed < EARLY ? Math.max(EARLY_MAX, initialDelay) : maxDelay)
  return window * (1 - jitter) + window * jitter * random()
}
