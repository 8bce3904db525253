import type { ErrandName } from './errands/errands.ts'

/** How a program publishes. */
export type PublishWay = 'protocol' | 'publisher' | 'confirm' | 'plain' | 'transaction'
/** How a program consumes. */
export type ConsumeWay =
  | 'handler'
  | 'loop'
  | 'batch'
  | 'next'
  | 'shared'
  | 'callback'
  | 'no-ack'
  | 'multiple'
  | 'tagged'
  | 'given up'
  | 'stream'
/** One of those who take messages of a consumer that they share: a worker has an iterator together with the others. */
export type Taker = 'worker' | 'loop' | 'batches' | 'next'
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
      /** Of a consumer that is shared. */
      readonly takers?: readonly Taker[]
    }
  | { readonly do: 'stop consumer'; readonly which: number }
  | { readonly do: 'pause'; readonly which: number; readonly ms: number }
  | { readonly do: 'batch'; readonly client: number; readonly queue: number; readonly count: number }
  | {
      readonly do: 'get'
      readonly client: number
      readonly queue: number
      readonly noAck: boolean
      readonly abortAfter?: number
    }
  | {
      readonly do: 'ask'
      readonly client: number
      readonly queue: number
      /** By a channel that publishes, or by one for questions alone. */
      readonly on: 'ask' | 'confirm' | 'plain'
      readonly timeout?: number
      readonly abortAfter?: number
    }
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
  | { readonly do: 'fleeting'; readonly client: number }
  | { readonly do: 'private queue'; readonly client: number }
  | { readonly do: 'tagged consumer'; readonly client: number; readonly queue: number }
  | {
      readonly do: 'given up consumer'
      readonly client: number
      readonly queue: number
      readonly abortAfter: number
    }
  | { readonly do: 'append'; readonly client: number; readonly count: number }
  | {
      readonly do: 'read stream'
      readonly client: number
      readonly prefetch: number
      /** Every n-th message fails at first; 0 for none. */
      readonly failEvery: number
      /** One ack for several messages. */
      readonly multiple: boolean
    }
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
  /** `calm`: nothing disturbs it, so that its result is judged. `form`: which of its forms it has; otherwise each time the next one. */
  | {
      readonly do: 'errand'
      readonly client: number
      readonly what: ErrandName
      readonly calm?: boolean
      readonly form?: number
    }
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
        | 'close at login'
        | 'nack'
        | 'withhold'
      readonly ms: number
    }

export const CLIENTS = 2
export const QUEUES = 3
export const KEYS = 3
/** The only queue that is consumed without acks: its messages on their way when a connection breaks are lost. */
export const NO_ACK_QUEUE = QUEUES - 1
