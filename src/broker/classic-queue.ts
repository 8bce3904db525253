import type { Stored } from './consumer.ts'
import type { Message } from './message.ts'
import { MessageQueue, type Return } from './message-queue.ts'
import type { QueueHost, QueueIdentity } from './queue.ts'
import { numberArgument } from './queue-arguments.ts'
import { PrioritizedMessages } from './ready-messages.ts'

/** A returned message goes back to its old place, any number of times. */
export class ClassicQueue extends MessageQueue {
  readonly type = 'classic'

  constructor(identity: QueueIdentity, host: QueueHost) {
    const most = numberArgument(identity.arguments, 'x-max-priority')
    super(
      identity,
      host,
      new PrioritizedMessages(most === undefined ? 0 : Math.max(most, host.release.leastPriorities)),
    )
  }

  protected takeBack(stored: Stored, how: Return): 'ready' {
    if (how !== 'nack') stored.deliveryCount++
    return 'ready'
  }

  /** With several priorities, a new message may be first. It stays there until the queue is used or its timer ends. */
  protected override looksAtHead(dropped: boolean): boolean {
    return dropped || this.messageCount === 1
  }

  /** It does not know which messages it has delivered unless it was closed; later releases know only which of these failed. */
  protected override restarted(stored: Stored, inOrder: boolean): void {
    if (!inOrder) stored.redelivered = true
    else if (this.host.release.carriesFailures) stored.redelivered = stored.deliveryCount > 0
  }

  protected outgoing({ message }: Stored): Message {
    return message
  }
}
