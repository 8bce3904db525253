import type { ReplyReceiver } from './channel-host.ts'
import type { Message } from './message.ts'
import { breakage } from './refusals.ts'
import type { Release } from './release.ts'

export const REPLY_TO = 'amq.rabbitmq.reply-to'
const REPLY_QUEUE = `${REPLY_TO}.`
/**
 * RabbitMQ names the queue of direct reply-to after the channel's process: the external term of a process of this node, in
 * base64, and a key. Clients of RabbitMQ 3 look whether it is one.
 */
const TERM_OF_PROCESS = Buffer.from('\x83X\x77\x10rabbit@localhost\0\0\x02\0\0\0\0\0\0\0\0\x01', 'latin1')
export const REPLY_PREFIX = `${REPLY_TO}.${TERM_OF_PROCESS.toString('base64')}.`
/** The first octet of every external term. */
const VERSION_OF_TERMS = 0x83

/** Names of queues that queue.declare takes as those of direct reply-to, whatever they end with. */
export function startsAsReplyQueue(name: string): boolean {
  return name.startsWith(REPLY_TO)
}

/** Whether it can only be the queue of one channel; RabbitMQ 4.3 calls that volatile. */
export function isVolatile(name: string): boolean {
  return name.startsWith(REPLY_QUEUE)
}

/** Whether it is the queue of a channel that there is or was: RabbitMQ 4.3 knows that by the name. */
export function isReplyQueue(name: string, { repliesAreQueues }: Release): boolean {
  return repliesAreQueues && name.startsWith(REPLY_PREFIX)
}

/** The queues of direct reply-to that a message goes to from the default exchange, each once. */
export function replyQueuesOf({ exchange, routingKeys }: Message): readonly string[] {
  if (exchange !== '') return []
  return [...new Set(routingKeys.filter(key => key.startsWith(REPLY_PREFIX)))].sort()
}

/** Gives a message to the channel of a queue of direct reply-to, unless that is gone. */
export function reply(replies: ReadonlyMap<string, ReplyReceiver>, queueName: string, message: Message): void {
  const receiver = replies.get(queueName)
  receiver?.post(() => receiver.deliverReply(message))
}

/** The part that should be a process is not. @throws Refusal (541), as RabbitMQ 3.10 does */
export function checkReplyQueue(name: string): void {
  if (!isVolatile(name)) return
  const [term = '', key, more] = name
    .slice(REPLY_QUEUE.length)
    .split('.')
    .filter(part => part !== '')
  if (key !== undefined && more === undefined && Buffer.from(term, 'base64')[0] !== VERSION_OF_TERMS) throw breakage()
}
