import type { Stored } from './consumer.ts'
import type { Message } from './message.ts'
import { MessageQueue, type Return } from './message-queue.ts'
import type { QueueHost, QueueIdentity } from './queue.ts'
import { numberArgument } from './queue-arguments.ts'
import { PrioritizedMessages } from './ready-messages.ts'

/** What comes back goes where it was, and may come back any number of times. */
export class ClassicQueue extends MessageQueue {
  readonly type = 'classic'

  constructor(identity: QueueIdentity, host: QueueHost) {
    super(identity, host, new PrioritizedMessages(numberArgument(identity.arguments, 'x-max-priority') ?? 0))
  }

  protected takeBack(stored: Stored, how: Return): 'ready' {
    if (how !== 'nack') stored.deliveryCount++
    return 'ready'
  }

  /** Of several priorities, one that came may be first, and is left there until the queue is used or its timer ends. */
  protected override looksAtHead(dropped: boolean): boolean {
    return dropped || this.messageCount === 1
  }

  protected outgoing({ message }: Stored): Message {
    return message
  }
}
