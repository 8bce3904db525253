import { type AmqpProtocol, type ConnectOptions, connect } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { FakeBroker, type FakePeer, methodFrame, type SentFrame } from './fake-broker.ts'
import { PROTOCOL_EVENTS, type SeenEvent } from './protocol-events.ts'
import { VirtualClock } from './virtual-clock.ts'

/** What a method is refused with. */
export interface Refusal {
  readonly replyCode: number
  readonly replyText: string
}

/**
 * A client with recovery, on a clock of the test's, and a broker that agrees to all methods but those in `refuse`, by
 * `queue.declare orders`: the method and the first name in it.
 */
export class Recoverable {
  readonly clock = new VirtualClock()
  readonly broker = new FakeBroker()
  readonly refuse = new Map<string, Refusal | ((frame: SentFrame) => Refusal | undefined)>()
  readonly events: SeenEvent[] = []
  readonly errors: Error[] = []
  /** Methods, by name, that are not answered. */
  readonly silent = new Set<string>()
  protocol!: AmqpProtocol
  peer!: FakePeer
  #names = 0

  static async open(options: ConnectOptions = {}): Promise<Recoverable> {
    const made = new Recoverable()
    made.broker.prepare = peer => made.#prepare(peer)
    made.protocol = await connect({
      createTransport: made.broker.createTransport,
      clock: made.clock,
      heartbeat: 0,
      onError: error => made.errors.push(error),
      ...options,
    })
    made.peer = await made.broker.accept()
    for (const name of PROTOCOL_EVENTS)
      made.protocol.on(name, (...args: unknown[]) => made.events.push([name, ...args]))
    return made
  }

  #prepare(peer: FakePeer): void {
    const reply = <M extends methods.AnyMethod>(
      to: methods.AnyMethod,
      method: M,
      args: (asked: SentFrame['args']) => methods.ArgumentsOf<M>,
    ): void => {
      peer.answers.set(to.name, frame => {
        const [name = ''] = Object.values(frame.args).filter(value => typeof value === 'string')
        const entry = this.refuse.get(`${to.name} ${name}`)
        const refusal = typeof entry === 'function' ? entry(frame) : entry
        if (refusal !== undefined) {
          const { key } = to
          return methodFrame(frame.channel, methods.ChannelClose, {
            ...refusal,
            classId: key >>> 16,
            methodId: key & 0xffff,
          })
        }
        if (this.silent.has(to.name) || frame.args['noWait'] === true) return undefined
        return methodFrame(frame.channel, method, args(frame.args))
      })
    }
    const none = () => ({})
    reply(methods.QueueDeclare, methods.QueueDeclareOk, ({ queueName }) => ({
      queue: queueName === '' ? `amq.gen-${++this.#names}` : String(queueName),
      messageCount: 0,
      consumerCount: 0,
    }))
    reply(methods.QueueDelete, methods.QueueDeleteOk, () => ({ messageCount: 0 }))
    reply(methods.QueueBind, methods.QueueBindOk, none)
    reply(methods.QueueUnbind, methods.QueueUnbindOk, none)
    reply(methods.ExchangeDeclare, methods.ExchangeDeclareOk, none)
    reply(methods.ExchangeDelete, methods.ExchangeDeleteOk, none)
    reply(methods.ExchangeBind, methods.ExchangeBindOk, none)
    reply(methods.BasicQos, methods.BasicQosOk, none)
    reply(methods.ConfirmSelect, methods.ConfirmSelectOk, none)
    reply(methods.TxSelect, methods.TxSelectOk, none)
    reply(methods.TxCommit, methods.TxCommitOk, none)
    reply(methods.TxRollback, methods.TxRollbackOk, none)
    reply(methods.BasicConsume, methods.BasicConsumeOk, ({ consumerTag }) => ({ consumerTag: String(consumerTag) }))
    reply(methods.BasicCancel, methods.BasicCancelOk, ({ consumerTag }) => ({ consumerTag: String(consumerTag) }))
  }

  /** Cut the connection, and wait for the next one. */
  async lose(): Promise<FakePeer> {
    this.peer.transport.break(new Error('cut'))
    await this.clock.advance(50)
    this.peer = await this.broker.accept()
    return this.peer
  }

  /** Cut the connection, and wait until all is recovered. */
  async recover(): Promise<FakePeer> {
    const recovered = new Promise<unknown>(resolve => this.protocol.once('recovered', resolve))
    await this.lose()
    await this.clock.until(recovered)
    return this.peer
  }

  /** The events of this name, with what came with them. */
  seen(name: (typeof PROTOCOL_EVENTS)[number]): unknown[][] {
    return this.events.filter(([each]) => each === name).map(([, ...args]) => args)
  }

  /** The methods of these names that the present connection was sent, as text. */
  sent(...names: string[]): string[] {
    return this.peer.frames.flatMap(({ method, args }) => {
      if (method === undefined || !names.includes(method.name)) return []
      const texts = Object.values(args).filter(value => typeof value === 'string' && value !== '')
      return [[method.name, ...texts].join(' ')]
    })
  }
}
