import type { ConsumeArguments } from '../../channel/options.ts'
import type { Properties } from '../../protocol/received-properties.ts'

/**
 * Whether a message is one that `x-stream-filter` asks for: the broker filters chunks, and sends all messages of one.
 * Undefined if the arguments have no filter.
 */
export function streamFilter(args: ConsumeArguments | undefined): ((properties: Properties) => boolean) | undefined {
  const filter = args?.['x-stream-filter']
  if (filter === undefined) return undefined
  const wanted = new Set<unknown>([filter].flat())
  const takesUnfiltered = args?.['x-stream-match-unfiltered'] === true
  return ({ headers }) => {
    const value = headers?.['x-stream-filter-value']
    return value === undefined ? takesUnfiltered : wanted.has(value)
  }
}
