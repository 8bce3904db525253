/** The current names of queues, and whether the entities that a publish or a call needs are there. */
export interface PublishRoutes {
  /** True while every name means itself and nothing is away: `isBack` and `routingKey` need not be asked. */
  readonly plain: boolean
  /** Whether all that this program has made and that a publish with this exchange and key needs is there again. */
  isBack(exchangeName: string, routingKey: string): boolean
  /** Whether no queue or exchange of these names that this program has made is away. */
  areBack(names: readonly string[]): boolean
  /** The routing key to write: on the default exchange, the name that a renamed queue has now. */
  routingKey(exchangeName: string, routingKey: string): string
}

/** Nothing is recovered. */
export const PLAIN_ROUTES: PublishRoutes = {
  plain: true,
  isBack: () => true,
  areBack: () => true,
  routingKey: (_exchangeName, routingKey) => routingKey,
}
