import { systemClock } from '../../src/lib/clock.ts'
import * as methods from '../../src/protocol/methods.ts'
import { WireTypes } from '../../src/protocol/wire-types.ts'
import type { ControlClient } from './control-client.ts'
import type { FrameClient, Received } from './frame-client.ts'
import { namesOf, type Seen, type Step } from './sequence.ts'

const CONNECTIONS = 2
const REPLY_QUEUE = 'amq.rabbitmq.reply-to.'
/** For what no barrier goes through: streams, and what a lost connection leaves. */
const QUIET = 40
const QUIET_AFTER_LOSS = 100
const LONGEST_WAIT = 2_000
/** For what is expected to come: by then, it nearly always has. */
const SOON = 50
/** After it whatever can expire has. */
const EXPIRED = 60

const ANSWERS: ReadonlyMap<methods.AnyMethod, readonly methods.AnyMethod[]> = new Map<
  methods.AnyMethod,
  readonly methods.AnyMethod[]
>([
  [methods.ChannelClose, [methods.ChannelCloseOk]],
  [methods.TxCommit, [methods.TxCommitOk, methods.ChannelClose, methods.ConnectionClose]],
])

/** After these, messages may go from queue to queue, and back to a channel. */
const MOVES_MESSAGES: ReadonlySet<methods.AnyMethod> = new Set<methods.AnyMethod>([
  methods.BasicPublish,
  methods.BasicAck,
  methods.BasicNack,
  methods.BasicReject,
  methods.BasicRecover,
  methods.BasicRecoverAsync,
  methods.BasicGet,
  methods.BasicConsume,
  methods.BasicCancel,
  methods.BasicQos,
  methods.QueueDelete,
  methods.TxCommit,
  methods.ChannelClose,
  methods.ConnectionClose,
])

const BY_CHANCE: ReadonlySet<methods.AnyMethod> = new Set<methods.AnyMethod>([
  methods.BasicDeliver,
  methods.BasicAck,
  methods.BasicNack,
])

/** What came back after one step, as lines, by connection and channel. */
export type Log = readonly (readonly string[])[]

/** Never shorter: `setTimeout` counts from a time that the event loop may have kept for a while. */
function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => {
    systemClock.after(milliseconds, resolve, { keepsProcessAlive: true })
  })
}

export interface RunOptions {
  /** What a sequence has beside classic queues. */
  readonly kind: 'classic' | 'quorum' | 'stream'
  /** Whether messages and queues expire between two steps. */
  readonly expires: boolean
  /** Multiplies the pauses for what no barrier goes through. */
  readonly patience: number
  /** Looks into the queues of a broker that does not do everything at once. */
  readonly control?: ControlClient | undefined
  /** How much came back of each step on the other broker: if as much has come, there is nothing to wait for. */
  readonly expected?: readonly number[] | undefined
}

/** Does what a program of two connections does, on one broker, and writes down what comes back. */
export class Run {
  readonly #connect: () => Promise<FrameClient>
  readonly #prefix: string
  readonly #kind: RunOptions['kind']
  readonly #expires: boolean
  readonly #patience: number
  readonly #seen: Seen = { replyTo: undefined, dead: undefined }
  /** Connections that the server has ended, and of which that is written down. */
  readonly #ended = new Set<FrameClient>()
  /** Queues that the server named, as far as one has come. */
  readonly #serverNamed = new Set<string>()
  readonly #names = new Map<string, string>()
  readonly #clients: (FrameClient | undefined)[] = []
  readonly #control: ControlClient | undefined
  readonly #expected: readonly number[]
  /** How much has come back of each step. */
  readonly counts: number[] = []
  #steps = 0
  #chanceFrom = Number.POSITIVE_INFINITY

  constructor(connect: () => Promise<FrameClient>, prefix: string, options: RunOptions) {
    const { kind, expires, patience, control, expected = [] } = options
    this.#connect = connect
    this.#expected = expected
    this.#control = control
    this.#prefix = prefix
    this.#kind = kind
    this.#expires = expires
    this.#patience = patience
  }

  /** The first step after which the contents of the queues are a matter of chance. */
  get chanceFrom(): number {
    return this.#chanceFrom
  }

  async run(steps: readonly Step[]): Promise<Log> {
    const log: (readonly string[])[] = []
    try {
      for (const step of steps) log.push(await this.#step(step))
    } finally {
      await this.#cleanUp()
    }
    return log
  }

  async #step(step: Step): Promise<readonly string[]> {
    const client = await this.#client(step.connection)
    if (!client.openChannels.has(step.channel)) {
      client.send(step.channel, methods.ChannelOpen, {})
      await client.until(() => client.openChannels.has(step.channel))
      client.received = client.received.filter(({ method }) => method !== methods.ChannelOpenOk)
    }
    step.do(client, this.#seen)
    if (step.method === methods.QueueDeclare) this.#control?.declared()
    if (step.method === methods.ConnectionClose && this.#control !== undefined) await this.#quiet(QUIET)
    // Nothing may come after these before they are answered, not even a barrier.
    const answers = ANSWERS.get(step.method)
    if (answers !== undefined) {
      await client.until(() => client.received.some(({ method }) => answers.includes(method)))
    }
    const rounds = MOVES_MESSAGES.has(step.method) ? 3 : 1
    await this.#settle(client, step.channel, rounds)
    if (this.#expires) {
      await pause(EXPIRED * this.#patience)
      await this.#settle(client, step.channel, rounds)
    }
    // A channel that the broker closes gives back what it had once it has ended, after its channel.close.
    const isClosed = this.#clients.some(one => one?.received.some(({ method }) => method === methods.ChannelClose))
    if (isClosed && this.#control !== undefined) {
      await this.#quiet(QUIET)
      await this.#settle(client, step.channel, 3)
    }
    this.counts.push(this.#count())
    const lines: string[] = []
    for (let at = 0; at < CONNECTIONS; at++) {
      const one = this.#clients[at]
      if (one === undefined) continue
      // What other channels still get is a matter of chance.
      const received = one.closed ? one.received.filter(({ channel }) => channel === 0) : one.received
      for (const { method, args, properties } of received) {
        const declared = method === methods.QueueDeclareOk ? String(args['queue']) : ''
        if (declared.startsWith('amq.gen-')) this.#serverNamed.add(declared)
        if (properties?.headers?.['x-death'] !== undefined) this.#seen.dead = properties
        if (properties?.replyTo?.startsWith(REPLY_QUEUE)) this.#seen.replyTo = properties.replyTo
      }
      one.received = []
      for (const channel of [...new Set(received.map(frame => frame.channel))].sort()) {
        lines.push(
          ...this.#lines(
            at,
            received.filter(frame => frame.channel === channel),
            step.several === true,
          ),
        )
      }
      if (one.closed && !this.#ended.has(one)) {
        // Channels that end together give back what they had in no certain order.
        const mixes = this.#kind === 'quorum' && one.deliveries.mix
        if (mixes) this.#chanceFrom = Math.min(this.#chanceFrom, this.#steps)
        this.#ended.add(one)
        lines.push(`${at} has ended`)
      }
    }
    this.#steps++
    return lines
  }

  async #client(at: number): Promise<FrameClient> {
    const known = this.#clients[at]
    if (known !== undefined && !known.closed) return known
    const client = await this.#connect()
    this.#clients[at] = client
    return client
  }

  /** Waits until every effect of a step has come through: from channel to queue, from queue to queue, and back. */
  async #settle(client: FrameClient, channel: number, rounds: number): Promise<void> {
    const live = () => this.#clients.filter(one => one !== undefined && !one.closed)
    const control = this.#control
    await client.barrier([channel])
    // In the process, everything but timers is done when the bytes have been read.
    if (control === undefined) {
      await Promise.all(live().map(one => one?.barrier()))
      await pause(1)
      return
    }
    const isAllHere = () => this.#count() === this.#expected[this.#steps]
    for (const end = Date.now() + SOON; this.#count() < (this.#expected[this.#steps] ?? 0) && Date.now() < end; ) {
      await pause(1)
    }
    const queueNames = [...namesOf(this.#prefix).queues, ...this.#serverNamed]
    for (let round = 0; round < rounds && !isAllHere(); round++) {
      if (this.#kind === 'quorum') await control.logBarrier()
      await control.queueBarrier(queueNames)
      await Promise.all(live().map(one => one?.barrier()))
    }
    const end = Date.now() + LONGEST_WAIT
    const unconfirmed = () => live().some(one => [...(one?.unconfirmed.values() ?? [])].some(set => set.size > 0))
    while (unconfirmed() && Date.now() < end) await pause(2)
    const isNewlyGone = this.#clients.some(one => one?.closed === true && !this.#ended.has(one))
    if (isNewlyGone) await this.#quiet(QUIET_AFTER_LOSS)
    else if (this.#kind === 'stream') await this.#quiet(QUIET)
  }

  async #quiet(milliseconds: number): Promise<void> {
    for (let before = -1; before !== this.#count(); ) {
      before = this.#count()
      await pause(milliseconds * this.#patience)
    }
  }

  /** How much has come back of this step: how many confirms come together is a matter of time. */
  #count(): number {
    const all = this.#clients.flatMap(client => client?.received ?? [])
    return all.reduce((sum, { settles }) => sum + (settles?.length || 1), 0)
  }

  #lines(connection: number, frames: readonly Received[], several: boolean): string[] {
    const lines: string[] = []
    const confirms: (readonly [number, string])[] = []
    // If one of several messages closes the channel, the effects of the others may come or not.
    const chance = several && frames.some(({ method }) => method === methods.ChannelClose)
    // So may what was on its way to the channel when the server closed it, which is then not in its queue.
    const end = frames.findIndex(({ method }) => method === methods.ChannelClose)
    const late = frames.filter(({ method }, index) => end !== -1 && index > end && method === methods.BasicDeliver)
    if (late.length > 0) this.#chanceFrom = Math.min(this.#chanceFrom, this.#steps)
    const told = frames.filter(frame => !(chance && BY_CHANCE.has(frame.method)) && !late.includes(frame))
    for (const { channel, method, args, properties, body, settles = [] } of told) {
      if (method === methods.BasicAck || method === methods.BasicNack) {
        // Which confirms are sent together, and in which order, is a matter of time.
        const requeue = args['requeue'] === true ? ' requeue' : ''
        const line = `${connection}.${channel} confirms ${method.name}${requeue}`
        for (const tag of settles) confirms.push([tag, `${line} ${tag}`])
        if (settles.length === 0) lines.push(`${connection}.${channel} confirms nothing: ${this.#shown(args)}`)
      } else {
        const message = body === undefined ? '' : ` ${this.#shown(properties)} ${shortened(body)}`
        lines.push(`${connection}.${channel} ${method.name} ${this.#shown(args)}${message}`)
      }
    }
    const sorted = confirms.sort(([one], [other]) => one - other)
    return [...lines, ...sorted.map(([, line]) => line)]
  }

  /** With the types of numbers that are not the usual ones; names that the server makes, and times, differ. */
  #shown(value: unknown): string {
    const text = JSON.stringify(value, (name, part) => {
      if (name === 'time') return 'a time'
      // Streams report how many messages they have some seconds late.
      if (name === 'messageCount' && this.#kind === 'stream') return 'some'
      if (typeof part === 'bigint') return Number(part)
      const types = typeof part === 'object' && part !== null ? WireTypes.of(part) : undefined
      if (types === undefined || Array.isArray(part)) return part
      return Object.fromEntries(
        Object.entries(part).map(([key, entry]) => {
          const type = types.get(key)?.type
          return type === undefined ? [key, entry] : [`${key} of type ${String.fromCharCode(type)}`, entry]
        }),
      )
    })
    return (text ?? '')
      .replaceAll(/amq\.(?:(?:gen|ctag)-|rabbitmq\.reply-to\.)[\w.=+/-]+/g, name => {
        if (!this.#names.has(name)) this.#names.set(name, `server-named-${this.#names.size + 1}`)
        return this.#names.get(name) ?? name
      })
      .replaceAll(this.#prefix, '')
  }

  async #cleanUp(): Promise<void> {
    for (const client of this.#clients) client?.end()
    if (this.#control === undefined) return
    await pause(5)
    const { queues, exchanges } = namesOf(this.#prefix)
    await this.#control.delete([...queues, ...this.#serverNamed], exchanges)
  }
}

function shortened(body: string): string {
  return body.length > 20 ? `${body.slice(0, 20)} of ${body.length}` : body
}
