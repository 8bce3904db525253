import type { BindingDefinition, ExchangeDefinition, QueueDefinition } from '../../channel/topology-recorder.ts'

/** An exchange of the program's. */
export interface ExchangeRecord {
  readonly kind: 'exchange'
  definition: ExchangeDefinition
  /** False: the program wants it kept out of a recovery. */
  recovers: boolean
}

/** A queue of the program's. */
export interface QueueRecord {
  readonly kind: 'queue'
  /** The name that it has now. */
  name: string
  definition: QueueDefinition
  /** False: the program wants it kept out of a recovery. */
  recovers: boolean
  /** The names that it had, oldest first. */
  readonly formerNames: string[]
  /** Consumers of this program. */
  consumers: number
  /** When it was declared or read from, or lost its last consumer. */
  lastUsed: number
}

/** A binding of the program's. */
export interface BindingRecord {
  readonly kind: 'binding'
  definition: BindingDefinition
  key: string
  readonly argumentsKey: string
}

/** One entry of the ledger. */
export type TopologyRecord = ExchangeRecord | QueueRecord | BindingRecord

/** One entry, as a message names it. */
export function describe(record: TopologyRecord): string {
  if (record.kind === 'exchange') return `exchange "${record.definition.exchangeName}"`
  if (record.kind === 'queue') return `queue "${record.name}"`
  const { kind, source, destination, routingKey } = record.definition
  return `binding of ${kind} "${destination}" to exchange "${source}" with routing key "${routingKey}"`
}
