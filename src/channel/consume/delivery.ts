import type { Envelope } from '../../protocol/envelope.ts'
import type { Properties } from '../../protocol/received-properties.ts'

export type { Envelope }

/** Where a message fetched with basic.get came from: as `Envelope`, without a consumer. */
export interface GetEnvelope {
  readonly deliveryTag: number
  readonly exchangeName: string
  readonly routingKey: string
  readonly isRedeliver: boolean
}

/** Why a mandatory message came back. */
export interface ReturnEnvelope {
  /** 312: no queue is bound for it. */
  readonly replyCode: number
  readonly replyText: string
  readonly exchangeName: string
  readonly routingKey: string
}

/** A message fetched with `basicGet`. */
export interface GetResult {
  readonly body: Buffer
  readonly envelope: GetEnvelope
  readonly properties: Properties
  /** Messages left in the queue. */
  readonly messageCount: number
}

/** A message that came back because no queue wanted it. */
export interface ReturnedMessage {
  /** Empty if it is refused. */
  readonly body: Buffer
  /** It is past a limit of this client, and was not taken into memory. */
  readonly refused?: { readonly size: number; readonly reason: string } | undefined
  readonly envelope: ReturnEnvelope
  readonly properties: Properties
}
