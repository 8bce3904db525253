import type { BasicProperties } from '../../protocol/properties.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { FieldTable } from '../../protocol/values.ts'
import type { ReturnedMessage } from '../consume/delivery.ts'
import type { PendingPublish } from './confirms.ts'

const SCALARS = [
  'messageId',
  'correlationId',
  'contentType',
  'contentEncoding',
  'deliveryMode',
  'priority',
  'replyTo',
  'expiration',
  'messageType',
  'userId',
  'appId',
  'clusterId',
] as const satisfies readonly (keyof BasicProperties)[]

/** A publish and its delivery tag. */
export interface TaggedPublish {
  readonly tag: number
  readonly publish: PendingPublish
}

/**
 * Which of `publishes`, the most likely first, a message that came back is: messages come back in the order they were published,
 * but those that went to a queue are still among them. So it is the first that was sent to the same place with the same
 * content; where the broker has changed the content, the first that comes near.
 */
export function findReturned(publishes: Iterable<TaggedPublish>, returned: ReturnedMessage): TaggedPublish | undefined {
  const { exchangeName, routingKey } = returned.envelope
  let likely: TaggedPublish | undefined
  let likelihood = -1
  for (const tagged of publishes) {
    const { publish } = tagged
    if (publish.exchange !== exchangeName || publish.routingKey !== routingKey) continue
    const alike = likeness(publish, returned)
    if (alike === SAME) return tagged
    if (alike > likelihood) {
      likely = tagged
      likelihood = alike
    }
  }
  return likely
}

const SAME = 2

function likeness({ payload, properties }: PendingPublish, returned: ReturnedMessage): number {
  if (properties?.messageId !== returned.properties.messageId || !sameBytes(payload, returned.body)) return 0
  return sameProperties(properties, returned.properties) ? SAME : 1
}

function sameBytes(payload: Uint8Array | string | undefined, body: Buffer): boolean {
  if (payload === undefined) return false
  if (typeof payload !== 'string') return body.equals(payload)
  return payload.length <= body.length && body.equals(Buffer.from(payload))
}

function sameProperties(sent: BasicProperties | undefined, returned: Properties): boolean {
  for (const name of SCALARS) if (sent?.[name] !== returned[name]) return false
  return sameHeaders(sent?.headers, returned.headers)
}

/** Headers are told apart by their strings, numbers and booleans; what else they hold is not looked into. */
function sameHeaders(sent: FieldTable | undefined, returned: FieldTable | undefined): boolean {
  for (const name in sent) {
    const [one, other] = [sent[name], returned?.[name]]
    if (typeof one === typeof other && typeof one !== 'object' && one !== other) return false
    if (other === undefined && one !== undefined && name !== 'BCC') return false
  }
  for (const name in returned) if (sent?.[name] === undefined) return false
  return true
}
