import type { Delivery } from './consumer.ts'

/** A delivery with its tag. */
export type Tagged = readonly [number, Delivery]

/** The groups that RabbitMQ settles together, in its order: the messages of one consumer, or one message of basic.get. */
export function settledTogether(tags: readonly Tagged[]): readonly (readonly Delivery[])[] {
  const groups: Delivery[][] = []
  for (const [, delivery] of tags.toSorted(byQueueAndConsumer)) {
    const last = groups.at(-1)
    if (last?.[0] !== undefined && areTogether(last[0], delivery)) last.push(delivery)
    else groups.push([delivery])
  }
  return groups
}

function areTogether(one: Delivery, other: Delivery): boolean {
  return one.queue === other.queue && other.consumer !== undefined && one.consumer?.tag === other.consumer.tag
}

/** Within one queue, messages of basic.get come before those of consumers. */
function byQueueAndConsumer([tag, one]: Tagged, [otherTag, other]: Tagged): number {
  return (
    inOrder(one.queue.name, other.queue.name) ||
    Number(one.consumer !== undefined) - Number(other.consumer !== undefined) ||
    inOrder(one.consumer?.tag ?? '', other.consumer?.tag ?? '') ||
    tag - otherTag
  )
}

function inOrder(one: string, other: string): number {
  return one < other ? -1 : Number(one > other)
}
