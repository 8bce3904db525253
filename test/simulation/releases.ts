import type { ReleaseName } from '../../src/broker/release-name.ts'

/** The release of a broker: one of three is the oldest that there is, since clients treat it otherwise. */
export function releaseOf(number: number): ReleaseName {
  return number % 3 === 0 ? '3.10' : '4.3'
}
