import { ReplyCode } from '../../src/protocol/constants.ts'
import * as methods from '../../src/protocol/methods.ts'
import { FrameClient, type Received } from './frame-client.ts'

const CHANNEL = 1
const LOG_CHANNEL = 2

/** Looks at queues and deletes them, over one connection that no step of a sequence uses. */
export class ControlClient {
  readonly #url: string
  readonly #logQueue: string
  /** Queues that do not exist or belong to another connection, until something is declared. */
  readonly #unreachable = new Set<string>()
  #client: FrameClient | undefined

  /** `name` is unique. */
  constructor(url: string, name: string) {
    this.#url = url
    this.#logQueue = `${name}-log`
  }

  /** A queue may exist that did not. */
  declared(): void {
    this.#unreachable.clear()
  }

  /** Resolves when everything is done that these queues had to do. */
  async queueBarrier(queueNames: readonly string[]): Promise<void> {
    for (;;) {
      const asked = queueNames.filter(queueName => !this.#unreachable.has(queueName))
      if (asked.length === 0) return
      const { client, answers } = await this.#ask(asked, (one, queueName) =>
        one.send(CHANNEL, methods.QueueDeclare, { queueName, passive: true }),
      )
      if (client.openChannels.has(CHANNEL)) return
      const refused = asked[answers.length - 1]
      if (refused === undefined) return
      this.#unreachable.add(refused)
    }
  }

  /**
   * Resolves when quorum queues have written to disk what they had got: there is one log for all of them, so that a
   * message to another one that is confirmed comes after.
   */
  async logBarrier(): Promise<void> {
    const client = await this.#connected()
    if (!client.openChannels.has(LOG_CHANNEL)) {
      client.send(LOG_CHANNEL, methods.ChannelOpen, {})
      client.send(LOG_CHANNEL, methods.ConfirmSelect, {})
      client.send(LOG_CHANNEL, methods.QueueDeclare, {
        queueName: this.#logQueue,
        durable: true,
        arguments: { 'x-queue-type': 'quorum', 'x-max-length': 1 },
      })
    }
    client.publish(LOG_CHANNEL, '', this.#logQueue, false, undefined, '')
    await client.until(() => client.received.some(({ method }) => method === methods.BasicAck))
    client.received = []
  }

  /** Deletes queues, also those that another connection has not quite left, and exchanges. */
  async delete(queueNames: readonly string[], exchangeNames: readonly string[]): Promise<void> {
    let left = queueNames
    for (let tries = 0; left.length > 0 && tries < 40; tries++) {
      const { client, answers } = await this.#ask(left, (one, queueName) =>
        one.send(CHANNEL, methods.QueueDelete, { queueName }),
      )
      if (client.openChannels.has(CHANNEL)) break
      left = left.slice(answers.length - 1)
      if (answers.at(-1)?.args['replyCode'] !== ReplyCode.RESOURCE_LOCKED) left = left.slice(1)
      else await new Promise(resolve => setTimeout(resolve, 20))
    }
    await this.#ask(exchangeNames, (one, exchangeName) => one.send(CHANNEL, methods.ExchangeDelete, { exchangeName }))
    this.declared()
  }

  async end(): Promise<void> {
    await this.delete([this.#logQueue], [])
    this.#client?.end()
  }

  async #connected(): Promise<FrameClient> {
    if (this.#client === undefined || this.#client.closed) this.#client = await FrameClient.connect(this.#url)
    return this.#client
  }

  /** Sends one method for each name, in one write; the answers end early if one of them closes the channel. */
  async #ask(
    names: readonly string[],
    send: (client: FrameClient, name: string) => void,
  ): Promise<{ readonly client: FrameClient; readonly answers: readonly Received[] }> {
    const client = await this.#connected()
    if (!client.openChannels.has(CHANNEL)) client.send(CHANNEL, methods.ChannelOpen, {})
    for (const name of names) send(client, name)
    const answers = () => client.received.filter(({ method }) => method !== methods.ChannelOpenOk)
    const ended = () => answers().some(({ method }) => method === methods.ChannelClose)
    await client.until(() => ended() || answers().length === names.length)
    const got = answers()
    client.received = []
    return { client, answers: got }
  }
}
