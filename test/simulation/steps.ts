import { ERRAND_NAMES, type ErrandName } from './errands/errands.ts'
import type { Random } from './random.ts'

/** How a program publishes. */
export type PublishWay = 'protocol' | 'publisher' | 'confirm' | 'plain' | 'transaction'
/** How a program consumes. */
export type ConsumeWay =
  | 'handler'
  | 'loop'
  | 'batch'
  | 'next'
  | 'callback'
  | 'no-ack'
  | 'multiple'
  | 'tagged'
  | 'given up'
  | 'stream'
/** What becomes of a message whose handler fails. */
export type Failure = 'requeue' | 'reject' | 'copy' | 'function'

/** One thing that happens in a history. Plain values only: a history is printed and read again. */
export type Step =
  | { readonly do: 'wait'; readonly ms: number }
  | {
      readonly do: 'publish'
      readonly client: number
      readonly way: PublishWay
      readonly queue: number
      readonly count: number
      readonly size: number
      /** To a queue that is not there. */
      readonly nowhere?: boolean
      readonly timeout?: number
      readonly abortAfter?: number
    }
  | {
      readonly do: 'consume'
      readonly client: number
      readonly way: ConsumeWay
      readonly queue: number
      readonly prefetch: number
      /** Milliseconds that a handler takes. */
      readonly work: number
      /** Every n-th message fails; 0 for none. */
      readonly failEvery: number
      readonly failure: Failure
      /** Handlers or callbacks that may run at the same time; 0 for the default. */
      readonly concurrency: number
    }
  | { readonly do: 'stop consumer'; readonly which: number }
  | { readonly do: 'pause'; readonly which: number; readonly ms: number }
  | { readonly do: 'batch'; readonly client: number; readonly queue: number; readonly count: number }
  | { readonly do: 'get'; readonly client: number; readonly queue: number; readonly abortAfter?: number }
  | { readonly do: 'ask'; readonly client: number; readonly queue: number; readonly abortAfter?: number }
  | { readonly do: 'burst'; readonly client: number; readonly count: number }
  | {
      readonly do: 'unit'
      readonly client: number
      readonly queue: number
      readonly pause: number
      readonly rollback: boolean
    }
  | {
      readonly do: 'entity'
      readonly client: number
      readonly kind: 'queue' | 'exchange' | 'binding'
      readonly number: number
      readonly undo: boolean
    }
  | { readonly do: 'passing'; readonly client: number; readonly kind: 'queue' | 'exchange'; readonly ms: number }
  | { readonly do: 'failed transaction'; readonly client: number; readonly queue: number }
  | { readonly do: 'close publisher'; readonly client: number; readonly queue: number }
  | { readonly do: 'fleeting exchange'; readonly client: number }
  | { readonly do: 'private queue'; readonly client: number }
  | { readonly do: 'tagged consumer'; readonly client: number; readonly queue: number }
  | {
      readonly do: 'given up consumer'
      readonly client: number
      readonly queue: number
      readonly abortAfter: number
    }
  | { readonly do: 'append'; readonly client: number; readonly count: number }
  | { readonly do: 'read stream'; readonly client: number; readonly prefetch: number }
  | { readonly do: 'new secret' }
  | { readonly do: 'call'; readonly client: number; readonly timeout: number }
  | {
      readonly do: 'bind'
      readonly client: number
      readonly queue: number
      readonly key: number
      readonly undo: boolean
    }
  | { readonly do: 'temporary queue'; readonly client: number }
  | { readonly do: 'bad declare'; readonly client: number }
  /** `calm`: nothing disturbs it, so that its result is judged. */
  | { readonly do: 'errand'; readonly client: number; readonly what: ErrandName; readonly calm?: boolean }
  | { readonly do: 'close channel'; readonly client: number }
  | { readonly do: 'close'; readonly client: number }
  /** A program that has closed comes back. */
  | { readonly do: 'open'; readonly client: number }
  | {
      readonly do: 'network'
      readonly what: 'cut' | 'half-close' | 'freeze' | 'swallow' | 'slow' | 'refuse'
      readonly ms: number
    }
  | { readonly do: 'cut after'; readonly bytes: number; readonly toServer: boolean }
  | {
      readonly do: 'broker'
      readonly what:
        | 'restart'
        | 'kill'
        | 'block'
        | 'cancel'
        | 'close channels'
        | 'close connections'
        | 'nack'
        | 'withhold'
      readonly ms: number
    }

export const CLIENTS = 2
export const QUEUES = 3
export const KEYS = 3
/** The only queue that is consumed without acks: its messages on their way when a connection breaks are lost. */
export const NO_ACK_QUEUE = QUEUES - 1

const STEP_WEIGHTS = {
  wait: 14,
  publish: 34,
  consume: 8,
  'stop consumer': 5,
  pause: 6,
  batch: 4,
  get: 4,
  ask: 3,
  burst: 1,
  unit: 3,
  entity: 6,
  passing: 2,
  'failed transaction': 1,
  'close publisher': 1,
  'fleeting exchange': 1,
  'private queue': 1,
  'tagged consumer': 2,
  'given up consumer': 2,
  append: 3,
  'read stream': 1,
  'new secret': 1,
  call: 6,
  bind: 4,
  'temporary queue': 2,
  'bad declare': 2,
  errand: 3,
  'close channel': 2,
  close: 1,
  open: 3,
  network: 8,
  'cut after': 3,
  broker: 7,
}

/** Bytes of which a few are enough. */
const LARGE = 20_000
const SIZES = [0, 10, 100, 5_000, 20_000, 70_000]

/** One step that chance chooses. */
export function randomStep(random: Random): Step {
  const client = random.between(0, CLIENTS - 1)
  const queue = random.between(0, QUEUES - 1)
  const what = random.weighted(STEP_WEIGHTS)
  switch (what) {
    case 'wait':
      return { do: what, ms: random.pick([0, 1, 10, 100, 1_000, 5_000]) }
    case 'publish': {
      const size = random.pick(SIZES)
      return {
        do: what,
        client,
        way: random.weighted({ protocol: 4, publisher: 3, confirm: 4, plain: 2, transaction: 1 }),
        queue,
        count: random.pick(size < LARGE ? [1, 1, 2, 5, 20, 60] : [1, 2, 5]),
        size,
        ...(random.chance(0.07) && { nowhere: true }),
        ...(random.chance(0.15) && { timeout: random.pick([0, 1, 20, 500, 5_000, 3_600_000]) }),
        ...(random.chance(0.1) && { abortAfter: random.pick([0, 1, 20, 500]) }),
      }
    }
    case 'consume': {
      const way = random.weighted({ handler: 5, batch: 1, loop: 2, next: 1, callback: 2, multiple: 2, 'no-ack': 1 })
      return {
        do: what,
        client,
        way,
        queue: way === 'no-ack' ? NO_ACK_QUEUE : queue,
        prefetch: random.pick([1, 2, 10, 50]),
        work: random.pick([0, 0, 1, 20, 500]),
        failEvery: random.pick([0, 0, 0, 3, 10]),
        failure: random.pick(['requeue', 'reject', 'copy', 'copy', 'function']),
        // What came without acks is run to the last, as many at a time: so it has all begun at its end.
        concurrency: way === 'no-ack' ? 0 : random.pick([0, 0, 1, 3]),
      }
    }
    case 'stop consumer':
      return { do: what, which: random.between(0, 9) }
    case 'pause':
      return { do: what, which: random.between(0, 9), ms: random.pick([0, 10, 3_000]) }
    case 'batch':
      return { do: what, client, queue, count: random.pick([1, 3, 30]) }
    case 'get':
    case 'ask':
      return { do: what, client, queue, ...(random.chance(0.4) && { abortAfter: random.pick([0, 1, 2]) }) }
    case 'burst':
      return { do: what, client, count: random.pick([5, 40]) }
    case 'unit':
      return { do: what, client, queue, pause: random.pick([0, 5, 200]), rollback: random.chance(0.3) }
    case 'entity':
      return {
        do: what,
        client,
        kind: random.pick(['queue', 'exchange', 'binding']),
        number: random.between(0, 2),
        undo: random.chance(0.5),
      }
    case 'passing':
      return { do: what, client, kind: random.pick(['queue', 'exchange']), ms: random.pick([0, 10, 1_000]) }
    case 'failed transaction':
    case 'close publisher':
    case 'tagged consumer':
      return { do: what, client, queue }
    case 'given up consumer':
      return { do: what, client, queue, abortAfter: random.pick([0, 1, 2]) }
    case 'append':
      return { do: what, client, count: random.pick([1, 3, 20]) }
    case 'read stream':
      return { do: what, client, prefetch: random.pick([1, 5, 100]) }
    case 'new secret':
      return { do: what }
    case 'call':
      return { do: what, client, timeout: random.pick([100, 5_000, 60_000]) }
    case 'bind':
      return { do: what, client, queue, key: random.between(0, KEYS - 1), undo: random.chance(0.4) }
    case 'errand':
      return { do: what, client, what: random.pick(ERRAND_NAMES) }
    case 'fleeting exchange':
    case 'private queue':
    case 'temporary queue':
    case 'bad declare':
    case 'close channel':
    case 'close':
    case 'open':
      return { do: what, client }
    case 'network':
      return {
        do: what,
        what: random.weighted({ cut: 6, 'half-close': 2, freeze: 2, swallow: 1, slow: 2, refuse: 2 }),
        ms: random.pick([1, 100, 2_000, 25_000]),
      }
    case 'cut after':
      return { do: what, bytes: random.pick([1, 7, 20, 100, 1_000, 20_000]), toServer: random.chance(0.5) }
    case 'broker':
      return {
        do: what,
        what: random.weighted({
          restart: 2,
          kill: 1,
          block: 3,
          cancel: 2,
          'close channels': 2,
          'close connections': 2,
          nack: 2,
          withhold: 2,
        }),
        ms: random.pick([1, 100, 2_000, 25_000]),
      }
  }
}

export function randomSteps(random: Random, count: number): Step[] {
  return Array.from({ length: count }, () => randomStep(random))
}
