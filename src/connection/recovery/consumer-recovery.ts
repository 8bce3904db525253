import { isExclusiveUse } from '../../channel/rabbitmq.ts'
import type { RecoveringChannel } from '../../channel/recovering-channel.ts'
import { ChannelClosedError, ConnectionClosedError, NoChannelAvailableError } from '../../errors.ts'
import { BasicConsume, QueueDeclare } from '../../protocol/methods.ts'
import type { BareChannel } from './bare-channel.ts'
import { type Patience, pauseBetween } from './patience.ts'

/** Pauses in milliseconds between the tries of consumers that nothing waits for. */
const FIRST_LATE_PAUSE = 500
const LAST_LATE_PAUSE = 10_000
/** Consumers go out in batches of this size after a refusal: all of the channel have to be sent again. */
const SMALLEST_BATCH = 20
/** RabbitMQ refuses a consumer with this argument (406), but only if it would grant it otherwise. */
const PROBE = { 'x-priority': 'probe' }

/** What the recovery of consumers needs of the recovery that it is a part of. */
export interface ConsumerPort {
  readonly patience: Patience
  /** A consumer made the server close the last connection: each is tried alone, to know which. */
  readonly inTurn: boolean
  /** The server closed this connection because of a consumer. */
  closedConnection(): void
  channels(): readonly RecoveringChannel[]
  /** Open the channel once more, after the broker has closed it over a consumer. */
  begin(channel: RecoveringChannel): Promise<void>
  /** A channel for calls of the recovery. */
  channel(): BareChannel
  /** Rejects if the connection is over, or the recovery was given up. */
  pause(milliseconds: number): Promise<void>
  /** Throws if the connection is over. */
  assertOpen(): void
  /** Whether the queue is locked for now. */
  isLocked(queueName: string): boolean
  isAutoDelete(queueName: string): boolean
  /** Make queues again that the broker may have deleted with their last consumers. */
  remake(queueNames: readonly string[]): Promise<void>
  failed(what: string, error: Error, willRetry: boolean): void
}

/** A consumer whose channel goes on without it. */
interface LateConsumer {
  readonly channel: RecoveringChannel
  readonly tag: string
  readonly queueName: string
  /** The error of its refusal. */
  readonly error: ChannelClosedError
}

/**
 * Starts the consumers of each channel again on one connection. The broker closes the channel with a consumer that it
 * refuses, so a channel goes on only when all of its consumers were granted or are given up. One that lacks a permission
 * (403) is tried on, with a probe on another channel, while its own goes on. So is a consumer of a queue that is in
 * exclusive use, for as long as the exclusive consumer may be that of the old connection.
 */
export class ConsumerRecovery {
  readonly #port: ConsumerPort
  #turn: Promise<void> = Promise.resolve()
  #late: LateConsumer[] = []
  /** Channels that may still have late consumers. */
  #restoring = 0

  constructor(port: ConsumerPort) {
    this.#port = port
  }

  /** Rejects if the connection breaks. */
  restore(channel: RecoveringChannel): Promise<void> {
    if (!this.#port.inTurn) return this.#restore(channel)
    const turn = this.#turn.then(() => this.#restore(channel))
    this.#turn = turn
    return turn
  }

  async #restore(channel: RecoveringChannel): Promise<void> {
    this.#restoring++
    try {
      await this.#restoreAll(channel)
    } finally {
      this.#restoring--
    }
  }

  async #restoreAll(channel: RecoveringChannel): Promise<void> {
    const port = this.#port
    const { recordedConsumers } = channel
    const tries = new Map<string, number>()
    // Also consumers of a life that ended over another consumer: they go last, once.
    const granted = new Set<string>()
    let size = port.inTurn ? 1 : Number.POSITIVE_INFINITY
    for (;;) {
      port.assertOpen()
      const wanted = recordedConsumers
        .missing()
        .filter(({ tag, queueName }) => !port.isLocked(queueName) && !this.#isLate(channel, tag))
      const untried = wanted.filter(({ tag }) => !granted.has(tag))
      const batch = (untried.length > 0 ? untried : wanted).slice(0, size).map(({ tag }) => tag)
      if (batch.length === 0) return
      const refused = await recordedConsumers.consumeAgain(batch)
      if (channel.isOver) return
      for (const tag of batch) {
        if (tag === refused?.tag) break
        granted.add(tag)
      }
      if (!port.inTurn) size = refused === undefined ? 2 * size : SMALLEST_BATCH
      if (refused === undefined) continue
      const { tag, queueName, error, isSure } = refused
      if (!(error instanceof ChannelClosedError) || !channel.isOpen) {
        const atFault = error instanceof ConnectionClosedError && error.classId !== 0
        if (atFault && port.inTurn) this.#abandon(channel, tag, queueName, error)
        if (atFault) port.closedConnection()
        throw error
      }
      // The program's own acks may be refused, too: such a channel stays closed.
      if ((error.method ?? BasicConsume.name) !== BasicConsume.name) return
      // What was granted ended with the channel, and auto-delete queues with their last consumer.
      const ended = recordedConsumers.missing().filter(({ tag }) => granted.has(tag))
      await port.remake(ended.flatMap(({ queueName }) => (port.isAutoDelete(queueName) ? queueName : [])))
      if (!isSure) {
        size = 1
        await port.begin(channel)
        continue
      }
      const count = (tries.get(tag) ?? 0) + 1
      tries.set(tag, count)
      // It went later than its channel ended.
      const isLate = error.replyCode === 404 && granted.delete(tag)
      if (!isLate) await this.#refused(channel, tag, queueName, error, count)
      else if (count > 1) await port.pause(pauseBetween(count - 1))
      await port.begin(channel)
    }
  }

  async #refused(
    channel: RecoveringChannel,
    tag: string,
    queueName: string,
    error: ChannelClosedError,
    count: number,
  ): Promise<void> {
    const { recordedConsumers } = channel
    const port = this.#port
    if (recordedConsumers.mayConsumeOtherwise(tag, error)) return
    const isLocked = isExclusiveUse(error)
    // The intent level has a channel for each consumer, and consumes again by itself.
    const mayBeLate = error.replyCode === 403 && !recordedConsumers.isRestarted(tag)
    const late = { channel, tag, queueName, error }
    if (mayBeLate && isLocked && port.patience.lasts(error) && !port.patience.holdsUp(error)) this.#late.push(late)
    else if (error.replyCode !== 406 && port.patience.lasts(error)) {
      await port.pause(port.patience.pause(error, count))
      if (error.replyCode === 404) await port.remake([queueName])
    } else if (mayBeLate && !isLocked) {
      this.#late.push(late)
      port.failed(describe(tag, queueName), error, true)
    } else this.#abandon(channel, tag, queueName, error)
  }

  #isLate(channel: RecoveringChannel, tag: string): boolean {
    return this.#late.some(late => late.channel === channel && late.tag === tag)
  }

  // ---- after the recovery

  /** A queue came back late: start its consumers. If it is given up, with `refusal`, they end. */
  async queueSettled(queueName: string, refusal: Error | undefined): Promise<void> {
    const channels = this.#port.channels()
    if (refusal !== undefined) {
      for (const channel of channels) {
        for (const tag of missingOf(channel, queueName)) this.#abandon(channel, tag, queueName, refusal)
      }
      return
    }
    await Promise.all(channels.map(channel => this.#consume(channel, missingOf(channel, queueName))))
  }

  /** Try the consumers that lack a permission, for as long as the connection lasts. Never rejects. */
  async runLate(): Promise<void> {
    const mayBeLate = (): boolean => this.#late.length > 0 || this.#restoring > 0
    for (let pause = FIRST_LATE_PAUSE; mayBeLate(); pause = Math.min(2 * pause, LAST_LATE_PAUSE)) {
      try {
        await this.#port.pause(pause)
        for (const late of [...this.#late]) await this.#tryLate(late)
      } catch (error) {
        // Else the connection is over, and the next one starts all consumers again.
        if (!(error instanceof NoChannelAvailableError)) return
      }
      if (this.#late.some(({ error }) => isExclusiveUse(error))) pause = FIRST_LATE_PAUSE / 2
    }
  }

  async #tryLate(late: LateConsumer): Promise<void> {
    // It came back with another one.
    if (!this.#late.includes(late)) return
    const { channel, tag, queueName, error } = late
    const isExclusive = isExclusiveUse(error)
    const isWanted = isStillWanted(late)
    const isGranted = isWanted && (await this.#isGranted(late))
    const isGivenUp = isWanted && !isGranted && isExclusive && !this.#port.patience.lasts(error)
    if (isWanted && !isGranted && !isGivenUp) return
    // After the first one, the queue has a consumer again: the others come with it.
    const isAlike = (other: LateConsumer): boolean =>
      isGranted && isExclusive && other.queueName === queueName && isExclusiveUse(other.error)
    const settled = this.#late.filter(each => each === late || isAlike(each))
    this.#late = this.#late.filter(each => !settled.includes(each))
    if (isGranted) await Promise.all(settled.filter(isStillWanted).map(each => this.#consume(each.channel, [each.tag])))
    if (isGivenUp) this.#abandon(channel, tag, queueName, error)
  }

  /** Whether the broker would grant it: asked on another channel, which the answer may close. */
  async #isGranted({ queueName, error: refusal }: LateConsumer): Promise<boolean> {
    const channel = this.#port.channel()
    let isGranted = true
    try {
      if (isExclusiveUse(refusal)) {
        const what = `queue.declare of "${queueName}"`
        const reply = await channel.call(QueueDeclare, { queueName, passive: true }, what)
        isGranted = reply?.consumerCount === 0
      } else await channel.call(BasicConsume, { queueName, arguments: PROBE }, `basic.consume of "${queueName}"`)
    } catch (error) {
      this.#port.assertOpen()
      return error instanceof ChannelClosedError && error.replyCode === 406
    }
    // A consumer is granted here by another broker than RabbitMQ: it ends with the channel.
    await channel.close()
    return isGranted
  }

  async #consume(channel: RecoveringChannel, tags: readonly string[]): Promise<void> {
    const refused = await channel.recordedConsumers.consumeAgain(tags)
    // The channel has gone with it, which is reported; a lost connection has a recovery of its own.
    if (refused?.error instanceof ChannelClosedError) {
      this.#port.failed(describe(refused.tag, refused.queueName), refused.error, false)
    }
  }

  #abandon(channel: RecoveringChannel, tag: string, queueName: string, error: Error): void {
    // The intent level consumes again by itself.
    const willRetry = channel.recordedConsumers.isRestarted(tag)
    channel.abandonConsumer(tag, queueName, error)
    this.#port.failed(describe(tag, queueName), error, willRetry)
  }
}

function describe(tag: string, queueName: string): string {
  return `consumer "${tag}" of queue "${queueName}"`
}

function isStillWanted({ channel, tag, queueName }: LateConsumer): boolean {
  return !channel.isOver && missingOf(channel, queueName).includes(tag)
}

/** The tags of the consumers of a queue that have not come back. */
function missingOf(channel: RecoveringChannel, queueName: string): string[] {
  return channel.recordedConsumers.missing().flatMap(missing => (missing.queueName === queueName ? missing.tag : []))
}
