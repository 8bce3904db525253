import type { BasicProperties } from '../../protocol/properties.ts'
import type { FieldTable } from '../../protocol/values.ts'
import type { ReturnedMessage } from '../consume/delivery.ts'
import type { PublishRoutes } from '../publish-routes.ts'
import { CHANGED_HEADERS, isSameReplyTo } from '../rabbitmq.ts'
import type { PendingPublish } from './message.ts'
import type { Unconfirmed } from './unconfirmed.ts'

const SCALARS = [
  'messageId',
  'correlationId',
  'contentType',
  'contentEncoding',
  'deliveryMode',
  'priority',
  'expiration',
  'messageType',
  'userId',
  'appId',
  'clusterId',
] as const satisfies readonly (keyof BasicProperties)[]

/** Messages that are compared without a match for each that came back, in the long run. */
const LOOKED_AT = 64

/**
 * Which publish a message that came back belongs to. They come back in the order they were published, each before its
 * confirm, but those that a queue took are still among the unconfirmed. So it is the first equal message after the last
 * match. If none is equal, the broker has changed it on the way, and it is the first message with that exchange and
 * routing key.
 *
 * Messages that were passed over are not compared again, and comparisons without a match are amortized over the next
 * returns, so that the total work is linear.
 */
export class Returns {
  readonly #unconfirmed: Unconfirmed
  readonly #routes: PublishRoutes
  /** What came back last. */
  #last = 0
  #inVain = 0

  constructor(unconfirmed: Unconfirmed, routes: PublishRoutes) {
    this.#unconfirmed = unconfirmed
    this.#routes = routes
  }

  match(returned: ReturnedMessage): PendingPublish | undefined {
    const { exchangeName, routingKey } = returned.envelope
    const { lastTag, floor } = this.#unconfirmed
    let [likely, likelyTag] = [undefined as PendingPublish | undefined, 0]
    let most = Number.POSITIVE_INFINITY
    if (this.#inVain > 0) {
      this.#inVain -= LOOKED_AT
      most = LOOKED_AT
    }
    let tag = Math.max(floor, this.#last + 1)
    for (; tag <= lastTag && (likely === undefined || tag - likelyTag < most); tag++) {
      const publish = this.#unconfirmed.at(tag)
      if (publish?.mandatory !== true) continue
      if (publish.exchange !== exchangeName || this.#written(publish) !== routingKey) continue
      if (isAlike(publish, returned)) return this.#found(publish, tag, returned)
      if (likely === undefined) {
        likely = publish
        likelyTag = tag
      }
    }
    if (likely === undefined) return undefined
    this.#inVain += tag - likelyTag
    return this.#found(likely, likelyTag, returned)
  }

  /** The routing key that it was written with: that of a queue whose name has changed. */
  #written({ exchange, routingKey }: PendingPublish): string {
    return this.#routes.plain ? routingKey : this.#routes.routingKey(exchange, routingKey)
  }

  #found(publish: PendingPublish, tag: number, returned: ReturnedMessage): PendingPublish {
    this.#last = tag
    publish.returned = returned
    return publish
  }
}

function isAlike({ payload, properties }: PendingPublish, returned: ReturnedMessage): boolean {
  const { properties: back } = returned
  try {
    for (const name of SCALARS) if (properties?.[name] !== back[name]) return false
    return (
      sameBody(payload, returned) &&
      isSameReplyTo(properties?.replyTo, back.replyTo) &&
      sameHeaders(properties?.headers, back.headers)
    )
  } catch {
    // The program's properties may have getters that throw.
    return false
  }
}

function sameBody(payload: Uint8Array | string | undefined, { body, refused }: ReturnedMessage): boolean {
  // The program does not await this publish: it may have changed it since.
  if (payload === undefined) return true
  if (typeof payload !== 'string') {
    return refused === undefined ? body.equals(payload) : payload.length === refused.size
  }
  if (refused !== undefined) return Buffer.byteLength(payload) === refused.size
  return payload.length <= body.length && body.equals(Buffer.from(payload))
}

/** Headers are compared by their strings, numbers and booleans; other values are ignored. */
function sameHeaders(sent: FieldTable | undefined, returned: FieldTable | undefined): boolean {
  for (const name in sent) {
    const [one, other] = [sent[name], returned?.[name]]
    if (one === undefined || CHANGED_HEADERS.has(name)) continue
    if (other === undefined) return false
    if (typeof one === typeof other && typeof one !== 'object' && one !== other) return false
  }
  for (const name in returned) if (sent?.[name] === undefined && !CHANGED_HEADERS.has(name)) return false
  return true
}
