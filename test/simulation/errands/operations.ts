import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { AmqpProtocol, Channel } from '../../../src/index.ts'
import type { Errand, Outing, OwnBroker, OwnConnection } from './errand.ts'
import { QUICK } from './recoveries.ts'

const OPERATIONS = ['publish', 'process', 'settle', 'call', 'connect', 'rpc.call', 'rpc.handle'] as const
const EVENTS = ['start', 'end', 'error', 'asyncStart', 'asyncEnd'] as const
type Operation = (typeof OPERATIONS)[number]

/** How each operation may end. */
const OUTCOMES: Readonly<Partial<Record<Operation, RegExp>>> = {
  publish: /^(confirmed|sent|returned|nacked|refused|notSent|unknown)$/,
  process: /^(acked|rejected|requeued|retried|copied|noAck|lost|unsettled)$/,
}
/** In which order its events come: a call may have failed when it returns, and what is settled at once is over then. */
const ORDERS: Readonly<Record<'awaited' | 'settle', RegExp>> = {
  awaited: /^start (end |error end |end error |)asyncStart asyncEnd( end)?$/,
  settle: /^start (error )?end$/,
}
/** What came of a publish, by what its promise said. */
const BY_OUTCOME: Readonly<Record<string, RegExp>> = {
  ok: /^confirmed$/,
  notSent: /^notSent$/,
  refused: /^(returned|nacked|refused)$/,
  unknown: /^(unknown|returned|nacked|refused)$/,
}

interface Context {
  readonly connectionName: string
  readonly messageId?: string
  readonly outcome?: string
  readonly error?: unknown
  readonly attempts?: number
  readonly deliveryTag?: number
  readonly channelId?: number
  readonly confirmed?: boolean
  readonly bodySize?: number
  readonly replySize?: number
  readonly method?: string
  readonly sent?: boolean
}

/** What an operation says of itself, beside its end: nothing if it fits. */
function wrongField(operation: Operation, context: Context): string | undefined {
  const { outcome = '', attempts = 0, deliveryTag = 0, channelId = 0, confirmed, bodySize = 0 } = context
  if (operation === 'process' && (deliveryTag < 1 || channelId < 1 || bodySize < 1)) return 'has no message'
  if (/^rpc/.test(operation) && (outcome === 'replied') !== (context.replySize !== undefined))
    return `is ${outcome}, with a reply of ${context.replySize} bytes`
  if (operation === 'settle' && typeof context.sent !== 'boolean') return 'does not say whether it was written'
  if (/^(settle|call)$/.test(operation) && !context.method) return 'has no method'
  if (operation !== 'publish') return undefined
  const wasWritten = outcome !== 'notSent'
  if (attempts > 0 !== wasWritten) return `is ${outcome}, and was written ${attempts} times`
  if (wasWritten && channelId < 1) return 'has no channel'
  return /^(confirmed|nacked)$/.test(outcome) && (deliveryTag < 1 || confirmed !== true)
    ? `is ${outcome}, without a tag`
    : undefined
}

/** All events of the operations of a connection. */
function watch(outing: Outing, connectionName: string): Map<Context, { operation: Operation; events: string[] }> {
  const seen = new Map<Context, { operation: Operation; events: string[] }>()
  for (const operation of OPERATIONS) {
    for (const event of EVENTS) {
      const see = (message: unknown): void => {
        const context = message as Context
        if (context.connectionName !== connectionName) return
        const known = seen.get(context) ?? { operation, events: [] }
        seen.set(context, known)
        known.events.push(event)
      }
      const name = `tracing:asyncamqp:${operation}:${event}`
      subscribe(name, see)
      outing.keep({ close: async () => unsubscribe(name, see) })
    }
  }
  return seen
}

/** What a program does, and what it learns of each publish. */
class Busy {
  readonly ends = new Map<string, { outcome: string; error: unknown }>()
  readonly #outing: Outing
  readonly #protocol: AmqpProtocol
  readonly #channel: Channel
  readonly #pending: Promise<unknown>[] = []
  #count = 0

  constructor(outing: Outing, protocol: AmqpProtocol, channel: Channel) {
    this.#outing = outing
    this.#protocol = protocol
    this.#channel = channel
  }

  #publish(publish: (messageId: string) => Promise<unknown>): void {
    const id = `message ${this.#count++}`
    const ended = publish(id).then(
      () => this.ends.set(id, { outcome: 'ok', error: undefined }),
      error => this.ends.set(id, { outcome: `${error.outcome}`, error }),
    )
    this.#pending.push(ended)
  }

  /** Some of all that there is to do. */
  work(call: () => Promise<unknown>): void {
    const protocol = this.#protocol
    const signal = this.#outing.signalAfter(30)
    for (const to of ['handled', 'looped', 'called', 'none']) {
      this.#publish(messageId => protocol.publish('x', '', to, { messageId }))
      this.#publish(messageId => this.#channel.publish('x', '', to, { messageId }))
    }
    this.#publish(messageId => protocol.publish('bad', '', 'handled', { messageId }))
    this.#publish(messageId => protocol.publish('x', '', 'handled', { messageId }, { signal }))
    this.#publish(messageId => protocol.publish('x', '', 'handled', { messageId }, { timeout: 20 }))
    void this.#channel.basicPublish('x', '', 'looped').catch(() => {})
    for (const promise of [call(), this.#channel.queueDeclare('handled'), protocol.queueDeclare('looped')])
      this.#pending.push(promise.catch(() => {}))
  }

  async finish(): Promise<void> {
    await Promise.all(this.#pending)
  }
}

/** A fault for each round. */
const FAULTS: readonly ((control: OwnBroker['control'], own: OwnConnection) => void)[] = [
  () => {},
  control => control.nackNext(3),
  control => control.closeChannels(541, 'INTERNAL_ERROR'),
  control => control.withholdConfirms(),
  (_, own) => own.cut(),
  (_, own) => own.halfClose(),
  control => control.block('low on memory'),
  control => control.closeConnections(320, 'CONNECTION_FORCED - by an operator'),
]

/** Of one run. */
const ROUNDS = 2

/** Each operation that diagnostics channels say has begun is over once, whatever happens, and ends as the program learned. */
export const operations: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const seen = watch(outing, outing.name)
  const own = await connect({ recovery: QUICK, connectionName: outing.name })
  const { protocol } = own
  for (const queue of ['handled', 'looped', 'called', 'asked']) await protocol.queueDeclare(queue)
  const fail = (text: string): void => {
    if (text === 'bad') throw new RangeError('no use for it')
  }
  await protocol.consumer('handled', message => fail(message.text()), { onFailure: 'reject' })
  const looped = await protocol.consumer('looped')
  const loop = async (): Promise<void> => {
    for await (const message of looped) if (message.envelope.isRedeliver) message.reject()
  }
  outing.meanwhile(loop())
  await protocol.rpcServer('asked', async () => outing.sleep(10))
  const client = await protocol.rpcClient({ timeout: 2_000 })
  const channel = await protocol.channel({ publisherConfirms: true })
  const receiving = await protocol.channel()
  await receiving.basicConsume(async (on, body, { deliveryTag }) => {
    on.basicClientAck(deliveryTag)
    await outing.sleep(5)
    fail(body.toString())
  }, 'called')
  const busy = new Busy(outing, protocol, channel)
  // Each time other ones.
  for (let n = 0; n < ROUNDS; n++) {
    busy.work(() => client.call('asked', 'x'))
    await outing.sleep(n % 3)
    FAULTS[(n + ROUNDS * outing.number) % FAULTS.length]?.(control, own)
    busy.work(() => client.call('asked', 'x'))
    await outing.sleep(100)
    control.unblock()
    control.releaseConfirms()
    await outing.sleep(400)
    control.stopNacks()
    await protocol.ready({ timeout: 20_000 })
  }
  await busy.finish()
  await protocol.close()
  await outing.sleep(3_000)
  const publishes = new Map<string, Context>()
  const numbers = new Map<Operation, number>()
  for (const [context, { operation, events }] of seen) {
    numbers.set(operation, (numbers.get(operation) ?? 0) + 1)
    const order = operation === 'settle' ? ORDERS.settle : ORDERS.awaited
    outing.expect(order.test(events.join(' ')), `the events of a ${operation} are ${events}`)
    const { outcome = 'none', error, messageId } = context
    const isRight = OUTCOMES[operation]?.test(outcome) ?? true
    outing.expect(isRight, `the outcome of a ${operation} is ${outcome}`)
    const wrong = wrongField(operation, context)
    outing.expect(wrong === undefined, `a ${operation} ${wrong}`)
    outing.expect(
      events.includes('error') === (error !== undefined),
      `a ${operation} has an error without an event, or the reverse`,
    )
    if (operation === 'publish' && messageId !== undefined) publishes.set(messageId, context)
  }
  for (const operation of OPERATIONS) outing.expect((numbers.get(operation) ?? 0) > 0, `no ${operation} was seen`)
  for (const [id, { outcome, error }] of busy.ends) {
    const context = publishes.get(id)
    const isRight = BY_OUTCOME[outcome]?.test(context?.outcome ?? 'none') === true && context?.error === error
    outing.expect(
      isRight,
      `${id} ended with ${outcome} ${error}, and its operation with ${context?.outcome} ${context?.error}`,
    )
  }
}
