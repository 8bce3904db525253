import type { Channel } from '../../channel/channel.ts'
import { isExclusiveUse } from '../../channel/rabbitmq.ts'
import type { BindingDefinition, ExchangeDefinition, QueueDefinition } from '../../channel/topology-recorder.ts'
import { asError, ChannelClosedError, ConnectionClosedError } from '../../errors.ts'
import type { Topology } from './topology.ts'

/** What is made again goes out in batches of this size: after a refusal, only one is sent again. */
const BATCH = 1_000
/** After a refusal, of this size at first. */
const SMALLEST_BATCH = 20
/** Tries where an entity stands, before the others go first. */
const LATE_TRIES = 6
/** The first pause in milliseconds before what was locked, or not there, is tried again; each is twice as long. */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 3_000
/** Milliseconds of a connection's age for which what is locked is tried where it stands, since most locks are short. */
const LOCKED_IN_PLACE = 1_000
/** Milliseconds for which the broker may be busy to clear up behind the old connection, and lack what it will have. */
const CLEARING_UP = 2_000
/** Milliseconds for which it may lock (405, or 403 where a consumer is exclusive) what the old connection held. */
const SHORTEST_LOCK = 15_000

/** How long the broker may refuse what it will grant in the end. */
export interface Patience {
  /** When the connection was opened, by the `Clock`. */
  readonly since: number
  /** Seconds; 0 for none. */
  readonly heartbeat: number
}

/**
 * How long to wait before trying again what was refused with `error` for the `tries`th time; undefined to give up. It
 * is the connection's age that counts: what one entity has waited for, the next need not wait for again.
 */
export function pauseAfter(error: Error, tries: number, patience: Patience, now: number): number | undefined {
  const { since, heartbeat } = patience
  if (!(error instanceof ChannelClosedError)) return undefined
  const { replyCode } = error
  let limit: number
  if (replyCode === 404) limit = CLEARING_UP
  // A lock lasts until the broker has noticed that the old connection is gone: two heartbeat intervals, or a little more.
  else if (replyCode === 405 || isExclusiveUse(error)) limit = Math.max(SHORTEST_LOCK, 3_000 * heartbeat)
  else return undefined
  const pause = Math.min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE)
  return now - since + pause < limit ? pause : undefined
}

/** The broker locks it for another connection, which may be the old one: that goes by, and nothing else need wait. */
function isLocked(error: Error): boolean {
  return error instanceof ChannelClosedError && error.replyCode === 405
}

/** Something that is made again. */
interface Entity {
  /** `queue "orders"` */
  readonly what: string
  /** Of a queue. */
  readonly queueName?: string
  make(channel: Channel): Promise<unknown>
  /** The same after a refusal, with what it stands on, which the broker may have cleared up meanwhile. */
  remake?(channel: Channel): Promise<unknown>
  /** It was refused for good. */
  forget(): void
}

/** What topology recovery needs of its connection. */
export interface RecoveryPort {
  /** A channel of its own, which records nothing. */
  channel(): Promise<Channel>
  readonly patience: Patience
  /** The time of the `Clock`. */
  now(): number
  pause(milliseconds: number): Promise<void>
  failed(what: string, error: Error): void
  renamed(oldName: string, newName: string): void
}

/** Make one queue and the bindings to it again: the broker deleted it with the last consumer of the old connection. */
export async function recoverQueue(topology: Topology, queueName: string, port: RecoveryPort): Promise<void> {
  const queue = topology.queues.find(([name]) => name === queueName)
  if (queue === undefined) return
  const bindings = topology.bindings.filter(({ kind, destination }) => kind === 'queue' && destination === queueName)
  await makeAll([queueEntity(topology, ...queue, port), ...bindings.map(each => bindingEntity(topology, each))], port)
}

/**
 * Make exchanges, queues and bindings again, in this order and pipelined. Returns the names of queues that stay locked,
 * to which no binding was made. Rejects where the connection breaks.
 */
export async function recoverTopology(topology: Topology, port: RecoveryPort): Promise<string[]> {
  await makeAll(
    topology.exchanges.map(definition => exchangeEntity(topology, definition)),
    port,
  )
  const locked = await makeQueues(topology, topology.queues, port, LATE_TRIES)
  // Only now have server-named queues the names that bindings need.
  const bindings = topology.bindings.filter(binding => !leadsTo(binding, locked))
  await makeAll(
    bindings.map(binding => bindingEntity(topology, binding)),
    port,
  )
  return locked
}

/** Try queues that were locked once more, and make the bindings to those that are not. Returns the names of those that are. */
export async function recoverLocked(
  topology: Topology,
  names: readonly string[],
  port: RecoveryPort,
): Promise<string[]> {
  const queues = topology.queues.filter(([name]) => names.includes(name))
  const locked = await makeQueues(topology, queues, port, 1)
  const bindings = topology.bindings.filter(binding => leadsTo(binding, names) && !leadsTo(binding, locked))
  await makeAll(
    bindings.map(binding => bindingEntity(topology, binding)),
    port,
  )
  return locked
}

function leadsTo({ kind, destination }: BindingDefinition, queueNames: readonly string[]): boolean {
  return kind === 'queue' && queueNames.includes(destination)
}

/** Returns the names of those that stay locked after `mostTries`. */
async function makeQueues(
  topology: Topology,
  queues: readonly [name: string, definition: QueueDefinition][],
  port: RecoveryPort,
  mostTries: number,
): Promise<string[]> {
  const entities = queues.map(([name, definition]) => queueEntity(topology, name, definition, port))
  const late = await makeInOrder(entities, port, mostTries)
  const others = late.filter(({ error }) => !isLocked(error))
  await makeAll(
    others.map(({ entity }) => entity),
    port,
  )
  return late.flatMap(({ entity: { queueName }, error }) => (isLocked(error) ? (queueName ?? []) : []))
}

function exchangeEntity(topology: Topology, definition: ExchangeDefinition): Entity {
  const { exchangeName, typeName, durable, autoDelete, internal, arguments: args } = definition
  return {
    what: `exchange "${exchangeName}"`,
    make: channel =>
      channel.exchangeDeclare(exchangeName, typeName, {
        durable,
        autoDelete,
        internal,
        arguments: args,
        recover: false,
      }),
    forget: () => topology.exchangeRefused(exchangeName),
  }
}

function queueEntity(topology: Topology, name: string, definition: QueueDefinition, port: RecoveryPort): Entity {
  const { queueName, durable, exclusive, autoDelete, arguments: args } = definition
  return {
    what: `queue "${name}"`,
    queueName: name,
    make: async channel => {
      const options = { durable, exclusive, autoDelete, arguments: args, recover: false }
      const { queue } = await channel.queueDeclare(queueName, options)
      if (queue === name) return
      topology.renamed(name, queue)
      port.renamed(name, queue)
    },
    forget: () => topology.queueRefused(name),
  }
}

function bindingEntity(topology: Topology, binding: BindingDefinition): Entity {
  const { kind, source, destination, routingKey, arguments: args } = binding
  const options = { arguments: args }
  const make = (channel: Channel): Promise<void> =>
    kind === 'queue'
      ? channel.queueBind(destination, source, routingKey, options)
      : channel.exchangeBind(destination, source, routingKey, options)
  return {
    what: `binding of ${kind} "${destination}" to exchange "${source}" with routing key "${routingKey}"`,
    make,
    remake: async channel => {
      // An auto-delete exchange goes with the last binding of the old connection's queues, also when it was just declared.
      const exchanges = topology.exchanges.filter(({ exchangeName }) => [source, destination].includes(exchangeName))
      const declared = exchanges.map(definition => exchangeEntity(topology, definition).make(channel))
      await Promise.all([...declared, make(channel)])
    },
    forget: () => topology.unbound(binding),
  }
}

/**
 * Make all of `entities`, in order. One that is refused is reported and forgotten, and the rest goes on. What is locked
 * (405), or lacks something that may come back (404), is tried again: some times where it stands, since after a fast
 * reconnect the broker is still busy to clear up, and then once more behind all others.
 */
async function makeAll(entities: readonly Entity[], port: RecoveryPort): Promise<void> {
  const late = await makeInOrder(entities, port, LATE_TRIES)
  const refused = await makeInOrder(
    late.map(({ entity }) => entity),
    port,
    Number.POSITIVE_INFINITY,
  )
  for (const { entity, error } of refused) refuse(entity, error, port)
}

function refuse(entity: Entity, error: Error, port: RecoveryPort): void {
  entity.forget()
  port.failed(entity.what, error)
}

interface Refusal {
  readonly entity: Entity
  readonly error: Error
}

/** Returns what was refused `mostTries` times, and may be tried once more; rejects where the connection is over. */
async function makeInOrder(entities: readonly Entity[], port: RecoveryPort, mostTries: number): Promise<Refusal[]> {
  const late: Refusal[] = []
  let size = BATCH
  let tries = 0
  for (let next = 0; next < entities.length; ) {
    const batch = entities.slice(next, next + size)
    const { made, error } = await makeBatch(batch, port, tries > 0)
    next += made
    const entity = batch[made]
    if (entity === undefined || error === undefined) {
      size = Math.min(2 * size, BATCH)
      tries = 0
      continue
    }
    if (!(error instanceof ChannelClosedError) || error.replyCode === undefined) {
      // The server found it so bad that it closed the connection: the next attempt does without it.
      if (error instanceof ConnectionClosedError && error.classId !== 0) refuse(entity, error, port)
      throw error
    }
    // What stands behind a refusal was sent in vain.
    size = SMALLEST_BATCH
    tries = made > 0 ? 1 : tries + 1
    const pause = pauseAfter(error, tries, port.patience, port.now())
    const age = port.now() - port.patience.since
    const givesWay = Number.isFinite(mostTries) && isLocked(error) && age > LOCKED_IN_PLACE
    if (pause !== undefined && tries < mostTries && !givesWay) {
      await port.pause(pause)
      continue
    }
    if (pause === undefined) refuse(entity, error, port)
    else late.push({ entity, error })
    next++
    tries = 0
  }
  return late
}

/** Make a batch on a channel of its own. Returns how many were made, and what the next was refused with. `firstAgain` where the first was refused before. */
async function makeBatch(
  batch: readonly Entity[],
  port: RecoveryPort,
  firstAgain: boolean,
): Promise<{ readonly made: number; readonly error?: Error }> {
  const channel = await port.channel()
  const results = await Promise.allSettled(
    batch.map((entity, index) =>
      index === 0 && firstAgain && entity.remake !== undefined ? entity.remake(channel) : entity.make(channel),
    ),
  )
  // RabbitMQ does them in order: the first that failed is the one it refused, those behind it were not looked at.
  const made = results.findIndex(result => result.status === 'rejected')
  const result = results[made]
  if (result?.status === 'rejected') return { made, error: asError(result.reason) }
  await channel.close()
  return { made: batch.length }
}
