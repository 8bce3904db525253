import type { Attributes } from '@opentelemetry/api'
import { ATTRIBUTES } from './conventions.ts'

/** Names of error classes are few; what a program makes up for each error is not one more. */
const MAX_ERROR_TYPES = 50

/**
 * Counts messages, and gives the sums to an observable counter when it is read. A counter of the SDK looks its attributes up
 * for each message, which costs more than all else that is done for a message that is not sampled.
 */
export class Tally {
  readonly #counts = new Map<Attributes, Count>()
  /** Messages come in runs. */
  #last: Count = { attributes: {}, succeeded: 0, failed: undefined }

  /**
   * @param attributes one object for each destination
   * @param errorType `''` if there was no error
   */
  add(attributes: Attributes, errorType: string): void {
    const count = this.#last.attributes === attributes ? this.#last : this.#countOf(attributes)
    this.#last = count
    if (errorType === '') count.succeeded++
    else {
      count.failed ??= new Map()
      const { failed } = count
      const type = failed.has(errorType) || failed.size < MAX_ERROR_TYPES ? errorType : '_OTHER'
      failed.set(type, (failed.get(type) ?? 0) + 1)
    }
  }

  #countOf(attributes: Attributes): Count {
    const known = this.#counts.get(attributes)
    if (known !== undefined) return known
    const made: Count = { attributes, succeeded: 0, failed: undefined }
    this.#counts.set(attributes, made)
    return made
  }

  observe(report: (count: number, attributes: Attributes) => void): void {
    for (const { attributes, succeeded, failed } of this.#counts.values()) {
      if (succeeded > 0) report(succeeded, attributes)
      if (failed === undefined) continue
      for (const [type, count] of failed) report(count, { ...attributes, [ATTRIBUTES.errorType]: type })
    }
  }
}

interface Count {
  readonly attributes: Attributes
  succeeded: number
  /** By the type of the error. */
  failed: Map<string, number> | undefined
}
