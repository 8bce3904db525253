/** Where a received message came from. */
export interface Envelope {
  readonly consumerTag: string
  /** Number of the delivery on its channel, for `basicClientAck`, `basicClientNack` and `basicReject`. */
  readonly deliveryTag: number
  readonly exchangeName: string
  readonly routingKey: string
  /** The broker has delivered the message before, to this consumer or another. */
  readonly isRedeliver: boolean
}
