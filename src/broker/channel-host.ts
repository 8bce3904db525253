import type { AnyMethod, ArgumentsOf } from '../protocol/methods.ts'
import type { Receiver } from './consumer.ts'
import type { Message } from './message.ts'
import type { Release } from './release.ts'
import type { User } from './users.ts'
import type { VirtualHost } from './virtual-host.ts'

/** The fate of a message that is published with confirms: what a test asks for, else `take`. */
export type ConfirmFate = 'take' | 'nack' | 'withhold'

/** The connection of a channel, as the channel sees it. */
export interface ChannelHost {
  readonly release: Release
  readonly vhost: VirtualHost
  readonly user: User
  /** What the client says it can do. */
  readonly capabilities: { readonly cancelNotify: boolean }
  /** The queue that `amq.rabbitmq.reply-to` stands for, by its whole name. */
  readonly replies: Map<string, ReplyReceiver>
  post(turn: () => void): void
  send<M extends AnyMethod>(channel: number, method: M, args: ArgumentsOf<M>): void
  sendContent<M extends AnyMethod>(channel: number, method: M, args: ArgumentsOf<M>, message: Message): void
  /** Run it when what was sent before has left for the client. */
  afterWriting(turn: () => void): void
  /** A unique name: `amq.gen-` and the like before it. */
  uniqueName(prefix: string): string
  confirmFate(message: Message): ConfirmFate
  /** Keep a confirm back until a test wants it to go. */
  withhold(message: Message, confirm: () => void): void
  published(message: Message): void
}

/** The receiver of replies to a direct reply-to queue. */
export interface ReplyReceiver extends Pick<Receiver, 'post'> {
  deliverReply(message: Message): void
}
