import { preconditionFailed } from './refusals.ts'
import type { Release } from './release.ts'

/**
 * Whether a routing key matches the pattern of a topic exchange: words between dots, `*` for any one word, `#` for any
 * number of them.
 */
export function matchesTopic(pattern: string, routingKey: string): boolean {
  const words = pattern === '' ? [] : pattern.split('.')
  const key = routingKey === '' ? [] : routingKey.split('.')
  // Finds how much of the key each prefix of the pattern can match, in one pass for any number of `#`.
  let reachable = new Set([0])
  for (const word of words) {
    const next = new Set<number>()
    if (word === '#') {
      for (let at = Math.min(...reachable); at <= key.length; at++) next.add(at)
    } else {
      for (const at of reachable) if (at < key.length && (word === '*' || word === key[at])) next.add(at + 1)
    }
    if (next.size === 0) return false
    reachable = next
  }
  return reachable.has(key.length)
}

/** @throws Refusal (406) if the key of a binding to a topic exchange has more wildcards `#` than the release takes. */
export function checkTopicPattern(pattern: string, { mostHashes }: Release): void {
  const hashes = pattern.split('.').filter(word => word === '#').length
  if (hashes <= mostHashes) return
  throw preconditionFailed(
    `Topic binding key '${pattern}' uses ${hashes} '#' wildcards, at most ${mostHashes} are allowed`,
  )
}
