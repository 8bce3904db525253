import { ERRAND_NAMES } from './errands/errands.ts'
import type { Random } from './random.ts'
import { CLIENTS, KEYS, NO_ACK_QUEUE, QUEUES, type Step } from './steps.ts'

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
  fleeting: 1,
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
      const way = random.weighted({
        handler: 5,
        batch: 2,
        loop: 1,
        next: 1,
        shared: 4,
        callback: 2,
        multiple: 2,
        'no-ack': 1,
      })
      return {
        do: what,
        client,
        way,
        queue: way === 'no-ack' ? NO_ACK_QUEUE : queue,
        prefetch: random.pick([1, 2, 10, 50]),
        work: random.pick([0, 0, 1, 20, 500]),
        failEvery: way === 'shared' ? 0 : random.pick([0, 0, 0, 3, 10]),
        failure: random.pick(['requeue', 'reject', 'copy', 'copy', 'function']),
        // What came without acks is run to the last, as many at a time: so it has all begun at its end.
        concurrency: way === 'no-ack' ? 0 : random.pick([0, 0, 1, 3]),
        ...(way === 'shared' && {
          takers: Array.from({ length: 3 }, () =>
            random.pick(['worker', 'worker', 'loop', 'batches', 'batches', 'next'] as const),
          ),
        }),
      }
    }
    case 'stop consumer':
      return { do: what, which: random.between(0, 9) }
    case 'pause':
      return { do: what, which: random.between(0, 9), ms: random.pick([0, 10, 3_000]) }
    case 'batch':
      return { do: what, client, queue, count: random.pick([1, 3, 30]) }
    case 'get': {
      // Only in a queue whose messages may be lost on their way.
      const noAck = random.chance(0.3)
      const abortAfter = random.chance(0.4) && { abortAfter: random.pick([0, 1, 2]) }
      return { do: what, client, queue: noAck ? NO_ACK_QUEUE : queue, noAck, ...abortAfter }
    }
    case 'ask':
      return {
        do: what,
        client,
        queue,
        on: random.weighted({ ask: 3, confirm: 2, plain: 1 }),
        ...(random.chance(0.3) && { timeout: random.pick([1, 500, 5_000]) }),
        ...(random.chance(0.4) && { abortAfter: random.pick([0, 1, 2]) }),
      }
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
      return {
        do: what,
        client,
        prefetch: random.pick([2, 5, 100]),
        failEvery: random.pick([0, 0, 3]),
        multiple: random.chance(0.4),
      }
    case 'new secret':
      return { do: what }
    case 'call':
      return { do: what, client, timeout: random.pick([100, 5_000, 60_000]) }
    case 'bind':
      return { do: what, client, queue, key: random.between(0, KEYS - 1), undo: random.chance(0.4) }
    case 'errand':
      return { do: what, client, what: random.pick(ERRAND_NAMES) }
    case 'fleeting':
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
          'close at login': 2,
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
