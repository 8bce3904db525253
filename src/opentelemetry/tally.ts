import type { Attributes } from '@opentelemetry/api'
import { ATTRIBUTES } from './conventions.ts'

/** Names of error classes are few; what a program makes up for each error is not one more. */
const MAX_ERROR_TYPES = 50

/**
 * Counts messages, and gives the sums to an observable counter when it is read. A counter of the SDK looks its attributes up
 * for each message, which costs more than all else that is done for a message that is not sampled.
 */
export class Tally {
  readonly #counts = new Map<Attributes, Map<string, number>>()

  /**
   * @param attributes one object for each destination
   * @param errorType `''` if there was no error
   */
  add(attributes: Attributes, errorType: string): void {
    let byType = this.#counts.get(attributes)
    if (byType === undefined) {
      byType = new Map()
      this.#counts.set(attributes, byType)
    }
    const type = byType.has(errorType) || byType.size < MAX_ERROR_TYPES ? errorType : '_OTHER'
    byType.set(type, (byType.get(type) ?? 0) + 1)
  }

  observe(report: (count: number, attributes: Attributes) => void): void {
    for (const [attributes, byType] of this.#counts) {
      for (const [type, count] of byType) {
        report(count, type === '' ? attributes : { ...attributes, [ATTRIBUTES.errorType]: type })
      }
    }
  }
}
