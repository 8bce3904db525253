import type { Message } from './message.ts'

/**
 * Ack those messages that are not settled.
 *
 * @param alone whether nothing that came before them is unsettled: then one ack with `multiple` is enough.
 */
export function ackBatch(messages: readonly Message[], alone: boolean): void {
  const held = messages.filter(message => message.isHeld)
  const last = held.at(-1)
  if (last === undefined || !alone || held.some(({ acker }) => acker !== last.acker)) {
    for (const message of held) message.ack()
    return
  }
  for (const message of held) if (message !== last) message.release()
  last.settle('ack', false, held.length > 1)
}
