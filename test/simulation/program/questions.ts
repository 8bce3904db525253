import type { AmqpProtocol, RpcClient } from '../../../src/index.ts'
import { queueName, RPC_QUEUE } from '../names.ts'
import type { Desk, StepOf } from './desk.ts'

/** Milliseconds by which a timeout may come late. */
const PUNCTUAL = 10

/** Questions whose answers are known: to the broker, and to other programs. */
export class Questions {
  readonly #desk: Desk
  /** Questions to programs without an answer. */
  readonly unanswered = new Set<string>()
  #rpcClient: Promise<RpcClient> | undefined
  #count = 0

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** The connection is closed. */
  left(): void {
    this.#rpcClient = undefined
  }

  ask({ queue, on, abortAfter, timeout }: StepOf<'ask'>): void {
    const name = queueName(queue)
    const bounds = { signal: this.#desk.signalAfter(abortAfter), ...(timeout !== undefined && { timeout }) }
    const asked = this.#desk.channel(on, on === 'confirm').then(async channel => {
      const asking = channel.queueDeclare(name, { passive: true, ...bounds })
      this.#expectInTime(asking, `a question about ${name}`, timeout)
      const answer = await asking
      if (answer.queue !== name) this.#desk.journal.violations.push(`asked for ${name}, told of ${answer.queue}`)
    })
    this.#desk.forget(`question about ${name}`, asked)
  }

  /** Many calls at once, each on a channel of its own: they wait for numbers. */
  burst(count: number): void {
    const { protocol } = this.#desk
    if (protocol === undefined) return
    for (let n = 0; n < count; n++) {
      const name = queueName(n % 3)
      const asked = protocol.queueDeclare(name, { passive: true }).then(answer => {
        if (answer.queue !== name) this.#desk.journal.violations.push(`asked for ${name}, told of ${answer.queue}`)
      })
      this.#desk.forget(`question about ${name} on its own channel`, asked)
    }
  }

  /** It ends within its timeout, whatever happens. */
  #expectInTime(asked: Promise<unknown>, what: string, timeout: number | undefined): void {
    if (timeout === undefined) return
    const { clock, journal } = this.#desk
    const began = clock.now()
    const judge = (): void => {
      const took = clock.now() - began
      if (took > timeout + PUNCTUAL) journal.violations.push(`${what} with a timeout of ${timeout} ms took ${took} ms`)
    }
    asked.then(judge, judge)
  }

  get({ queue, noAck, abortAfter }: StepOf<'get'>): void {
    const got = this.#desk.channel('get').then(async channel => {
      const controller = new AbortController()
      if (abortAfter !== undefined) this.#desk.clock.after(abortAfter, () => controller.abort())
      const asked = channel.basicGet(queueName(queue), { noAck, signal: controller.signal })
      asked.catch(() => {
        if (noAck) this.#desk.journal.lostGets.add(queueName(queue))
      })
      const result = await asked
      if (result === null) return
      const id = this.#desk.idOf(result.body, result.properties, result.envelope)
      if (noAck) this.#desk.journal.settled.add(id)
      else if (await channel.basicClientAck(result.envelope.deliveryTag)) this.#desk.journal.settled.add(id)
    })
    this.#desk.forget('get', got)
  }

  call(protocol: AmqpProtocol, timeout: number): void {
    const client = this.#rpcClient ?? protocol.rpcClient()
    this.#rpcClient = client
    client.catch(() => {
      // It was lost before it was open: the next call asks for another.
      if (this.#rpcClient === client) this.#rpcClient = undefined
    })
    const question = `question ${this.#count++}`
    this.unanswered.add(question)
    const called = client.then(async opened => {
      const asked = opened.call(RPC_QUEUE, question, { timeout, signal: this.#desk.longSignal })
      this.#expectInTime(asked, question, timeout)
      const answer = (await asked).text()
      this.unanswered.delete(question)
      if (answer !== `answer to ${question}`) this.#desk.journal.violations.push(`${question} got "${answer}"`)
    })
    this.#desk.forget(question, called)
  }
}
