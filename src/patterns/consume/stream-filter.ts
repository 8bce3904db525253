import type { ConsumeArguments } from '../../channel/options.ts'
import type { Properties } from '../../protocol/received-properties.ts'

/**
 * Whether a message may be one that `x-stream-filter` asks for: the broker filters chunks, and sends all messages of one.
 * One without the header may have come by the protocol of streams, whose filter value is not seen here. Undefined if the
 * arguments have no filter.
 */
export function streamFilter(args: ConsumeArguments | undefined): ((properties: Properties) => boolean) | undefined {
  const filter = args?.['x-stream-filter']
  if (filter === undefined) return undefined
  const wanted = new Set<unknown>([filter].flat())
  return ({ headers }) => {
    const value = headers?.['x-stream-filter-value']
    return typeof value !== 'string' || wanted.has(value)
  }
}
