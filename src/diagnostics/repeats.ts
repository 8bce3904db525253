import { AmqpError, ChannelClosedError, ConsumerCancelledError, MessageReturnedError } from '../errors.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import type { Envelope } from '../protocol/envelope.ts'

/** Milliseconds in which what may come very often is said once, and how much of it is remembered for that. */
const PERIOD = 60_000
const MOST = 100

/** Says it, as something that has come this many times. */
type Say = (times: number) => void

interface Said {
  since: number
  leftOut: number
  say: Say
  /** Runs if it was left out. */
  timer: Timer | undefined
}

/** What may come very often, as when a queue with thousands of consumers is deleted: it is said once in a minute. */
export class Repeats {
  readonly #clock: Clock
  /** Made for the first. */
  #said: Map<string, Said> | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Say it now, or at the end of the minute in which the like of it was said, with all that was left out till then. */
  say(key: string, say: Say): void {
    const now = this.#clock.now()
    this.#said ??= new Map()
    const said = this.#said.get(key)
    if (said === undefined || (said.timer === undefined && now - said.since >= PERIOD)) {
      if (said === undefined && this.#said.size >= MOST) this.flush()
      this.#said ??= new Map()
      this.#said.set(key, { since: now, leftOut: 0, say, timer: undefined })
      say(1)
      return
    }
    said.leftOut++
    said.say = say
    said.timer ??= this.#clock.after(said.since + PERIOD - now, () => this.#sayLeftOut(said))
  }

  #sayLeftOut(said: Said): void {
    const { leftOut, say, timer } = said
    if (timer === undefined) return
    timer.cancel()
    said.timer = undefined
    said.since = this.#clock.now()
    said.leftOut = 0
    say(leftOut)
  }

  /** Say what was left out, and forget all. */
  flush(): void {
    const all = this.#said?.values() ?? []
    this.#said = undefined
    for (const said of all) this.#sayLeftOut(said)
  }
}

/** A text, with how many more of its like it stands for. */
export function withCount(text: string, times: number): string {
  return times === 1 ? text : `${text} (and ${times - 1} more like it within a minute)`
}

/** The same for errors that differ in no more than a number or an id. */
export function likenessOf(error: Error): string {
  if (error instanceof ConsumerCancelledError) return `${error.code} ${error.queueName}`
  if (error instanceof ChannelClosedError) return `${error.code} ${error.method} ${error.replyText}`
  if (error instanceof MessageReturnedError) {
    const { exchangeName, routingKey } = error.envelope as Partial<Envelope>
    return `${error.code} ${exchangeName} ${routingKey}`
  }
  return error instanceof AmqpError ? error.message.replace(OF_ONE_MESSAGE, '') : error.message
}

/** What an error says of one message, of many that fail for the same reason. */
const OF_ONE_MESSAGE = /message "[^"]*" (?=from|to)|a message (?=from|to)| ?\(delivery tag \d+\)/g
