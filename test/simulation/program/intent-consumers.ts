import type { AmqpProtocol, Consumer, Message } from '../../../src/index.ts'
import type { Consuming } from '../journal.ts'
import { ERROR_QUEUE } from '../names.ts'
import type { Desk, StepOf } from './desk.ts'
import { SharedConsumer } from './shared-consumer.ts'

/** Some have an argument; none that gives messages back, since no other would get them. */
export const priorityOf = ({ way, concurrency, failEvery }: StepOf<'consume'>): number =>
  concurrency === 3 && failEvery === 0 && (way === 'handler' || way === 'loop' || way === 'batch') ? 5 : 0

/** Consumers of `protocol.consumer()`: with a handler, in a loop, message by message. */
export class IntentConsumers {
  readonly #desk: Desk

  constructor(desk: Desk) {
    this.#desk = desk
  }

  async start(
    protocol: AmqpProtocol,
    consuming: Consuming,
    step: StepOf<'consume'>,
    work: (id: string) => Promise<void>,
  ): Promise<void> {
    const priority = priorityOf(step)
    const options = {
      prefetchCount: step.prefetch,
      ...(step.prefetch === 10 && { signal: this.#desk.longSignal }),
      ...(priority > 0 && { arguments: { 'x-priority': priority } }),
    }
    const copy = { exchangeName: '', routingKey: ERROR_QUEUE }
    const gone = (message: Message): void => {
      this.#desk.journal.settled.add(message.properties.messageId ?? '')
    }
    const decide = (message: Message) => {
      if (message.envelope.isRedeliver) return 'requeue'
      gone(message)
      return 'reject'
    }
    const onFailure = { requeue: 'requeue', reject: 'reject', copy, function: decide } as const
    const see = (message: Message): string => {
      const id = this.#desk.idOf(message.body, message.properties, message.envelope)
      this.#desk.journal.seen(consuming, id, message.envelope.isRedeliver)
      return id
    }
    let consumer: Consumer
    if (step.way === 'handler') {
      consumer = await protocol.consumer(
        consuming.queue,
        async message => {
          const id = see(message)
          const worked = step.work > 0 ? this.#expectLoss(protocol, consuming, message, id) : undefined
          await work(id).catch((error: Error) => {
            this.#desk.journal.thrown.add(error)
            if (step.failure === 'reject') gone(message)
            throw error
          })
          this.#desk.journal.settled.add(id)
          worked?.()
        },
        {
          ...options,
          onFailure: onFailure[step.failure],
          ...(step.concurrency > 0 && { concurrency: step.concurrency }),
        },
      )
    } else if (step.way === 'batch') {
      const batch = { size: Math.min(step.prefetch, 5), wait: 100 }
      const handler = async (messages: readonly Message[]): Promise<void> => {
        for (const { signal, properties } of messages)
          if (signal.aborted)
            this.#desk.journal.violations.push(`${properties.messageId} was handed out when it was lost already`)
        const ids = messages.map(see)
        for (const id of ids)
          await work(id).catch((error: Error) => {
            this.#desk.journal.thrown.add(error)
            throw error
          })
        for (const id of ids) this.#desk.journal.settled.add(id)
      }
      consumer = await protocol.consumer(consuming.queue, handler, {
        ...options,
        batch,
        ...(step.concurrency > 0 && { concurrency: step.concurrency }),
      })
    } else {
      consumer = await protocol.consumer(consuming.queue, options)
      if (step.way === 'shared') {
        const isOpen = (): boolean => this.#desk.protocol === protocol
        const shared = new SharedConsumer(this.#desk, consumer, consuming, step.prefetch, work, isOpen)
        void shared.start(step.takers ?? ['loop'], step.work)
      } else void (step.way === 'loop' ? this.#loop(consumer, see, work) : this.#next(consumer, see, work))
    }
    consumer.once('closed', () => {
      consuming.closed = true
    })
    this.#expectCancelled(consumer, consuming)
    this.#desk.runs(protocol, {
      consuming,
      takesAll:
        step.way !== 'next' &&
        (step.failEvery === 0 || (step.way === 'handler' && (step.failure === 'copy' || step.failure === 'reject'))),
      stop: async () => {
        consuming.closing = true
        await consumer.close()
        // The close of the connection waits for that instead.
        const { active, number, way } = consuming
        if (active > 0 && (way === 'handler' || way === 'batch') && this.#desk.protocol === protocol)
          this.#desk.journal.violations.push(`consumer ${number} has closed, and ${active} handlers run`)
      },
      // A batch that is being collected is handed over in spite of a pause.
      pause: () => {
        if (step.way === 'batch' || step.takers?.includes('batches') === true) return
        consumer.pause()
        consuming.isPaused = true
      },
      resume: () => {
        consuming.isPaused = false
        consumer.resume()
      },
    })
  }

  /** A consumer resumes what was cancelled, and emits both events. */
  #expectCancelled(consumer: Consumer, { number }: Consuming): void {
    // No event came for what happened before the program had it.
    let isCancelled = true
    consumer.on('cancelled', error => {
      isCancelled = true
      this.#desk.journal.learned(`cancel of consumer ${number}`, error)
    })
    consumer.on('resumed', () => {
      if (!isCancelled)
        this.#desk.journal.violations.push(`consumer ${number} told that it was resumed, and not of its cancel`)
      isCancelled = false
    })
  }

  /** The signal of a message aborts if its connection is lost while it is in hand. Call what it returns when the work is done. */
  #expectLoss(protocol: AmqpProtocol, { number }: Consuming, message: Message, id: string): () => void {
    const { clock, journal } = this.#desk
    const began = clock.now()
    // Some ask for it only when all is over.
    const early = number % 2 === 0 ? message.signal : undefined
    return () => {
      const { lostAt } = this.#desk
      const isLost = this.#desk.protocol === protocol && lostAt > began && lostAt < clock.now()
      const { aborted } = early ?? message.signal
      if (isLost && !aborted) journal.violations.push(`${id} is lost, and its signal does not say so`)
    }
  }

  /** The signal of a message that was acked never aborts. */
  #expectNone(signal: AbortSignal, id: string): void {
    signal.addEventListener('abort', () =>
      this.#desk.journal.violations.push(`${id} was acked, and its signal aborted`),
    )
  }

  async #loop(
    consumer: Consumer,
    see: (message: Message) => string,
    work: (id: string) => Promise<void>,
  ): Promise<void> {
    try {
      for await (const message of consumer) {
        const id = see(message)
        await work(id)
        this.#desk.journal.settled.add(id)
      }
    } catch {
      // Its own failure, or the end of its connection.
    }
  }

  async #next(
    consumer: Consumer,
    see: (message: Message) => string,
    work: (id: string) => Promise<void>,
  ): Promise<void> {
    try {
      for (;;) {
        const { value, done } = await consumer.next({ timeout: 60_000 })
        if (done === true || value === undefined) return
        const id = see(value)
        const good = await work(id).then(
          () => true,
          () => false,
        )
        const { signal } = value
        if (!(good ? value.ack() : value.reject())) continue
        this.#desk.journal.settled.add(id)
        this.#expectNone(signal, id)
      }
    } catch {
      // A timeout, or the end of its connection. What it would still be given is not asked for.
      await consumer.close()
    }
  }
}
