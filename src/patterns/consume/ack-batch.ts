import type { Message } from './message.ts'

/**
 * Ack those messages that are not settled.
 *
 * @param alone whether nothing that came before them is unsettled: then one ack with `multiple` is enough.
 */
export function ackBatch(messages: readonly Message[], alone: boolean): void {
  const held = messages.filter(message => message.isHeld)
  const last = held.at(-1)
  // A message of a stream that is handled again keeps its tag, which is lower than those of later ones.
  const each = !alone || last?.acker?.hasStreams === true || held.length === 1
  if (last === undefined || each || held.some(({ acker }) => acker !== last.acker)) {
    for (const message of held) message.ack()
    return
  }
  for (const message of held) if (message !== last) message.release()
  last.ackAll()
}
