import type { Attributes, SpanOptions } from '@opentelemetry/api'
import { ATTRIBUTES, FORMER_NAMES, type OperationNames, SYSTEM } from './conventions.ts'

/** Past it, all is forgotten: a program may use a routing key for each message. */
const MAX_KEPT = 1_000
/** Past it, metrics count the rest together, as those of the SDK do past the same number. */
const MAX_METRIC_ATTRIBUTES = 2_000
const OVERFLOW: Attributes = { 'otel.metric.overflow': true }

/** The fields of a context that say where a message goes to or comes from. */
export interface Place {
  readonly serverAddress: string
  readonly serverPort: number
  readonly virtualHost: string
  readonly connectionName: string
  readonly exchangeName: string
  readonly routingKey: string
}

/** What all messages of one destination have in common: the objects are made once, and never changed. */
export interface Destination {
  readonly spanName: string
  /** Includes the attributes that a sampler may read. They cost time even for messages that are not sampled. */
  readonly options: SpanOptions
  /** The others. */
  readonly details: Attributes
  /** Attributes with few different values: one object for all destinations that share them. */
  readonly metricAttributes: Attributes
}

/** The destinations of one operation. */
export class Destinations {
  readonly #operation: OperationNames
  readonly #kept = new Map<string, Destination>()
  readonly #metricAttributes = new Map<string, Attributes>()
  #last: (Place & { readonly queueName: string; readonly destination: Destination }) | undefined

  constructor(operation: OperationNames) {
    this.#operation = operation
  }

  /** @param queueName of a delivery; `''` of a publish */
  of(place: Place, queueName: string): Destination {
    const { exchangeName, routingKey, serverAddress, serverPort, virtualHost, connectionName } = place
    const last = this.#last
    if (
      last !== undefined &&
      last.routingKey === routingKey &&
      last.exchangeName === exchangeName &&
      last.queueName === queueName &&
      last.connectionName === connectionName &&
      last.serverAddress === serverAddress &&
      last.serverPort === serverPort &&
      last.virtualHost === virtualHost
    ) {
      return last.destination
    }
    const key = [exchangeName, routingKey, queueName, connectionName, serverAddress, serverPort, virtualHost].join('\0')
    let destination = this.#kept.get(key)
    if (destination === undefined) {
      if (this.#kept.size >= MAX_KEPT) this.#kept.clear()
      destination = this.#describe(place, queueName)
      this.#kept.set(key, destination)
    }
    this.#last = {
      exchangeName,
      routingKey,
      queueName,
      serverAddress,
      serverPort,
      virtualHost,
      connectionName,
      destination,
    }
    return destination
  }

  #describe(place: Place, queueName: string): Destination {
    const { exchangeName, routingKey } = place
    const operation = this.#operation
    const parts = [exchangeName, routingKey, queueName === routingKey ? '' : queueName].filter(part => part !== '')
    const entity = queueName || exchangeName || routingKey
    const temporary = isNamedByBroker(entity)
    // A routing key may be another one for each message; exchanges and queues are few.
    const template = temporary || entity === '' ? undefined : entity
    const shared: Attributes = {
      ...operationAttributes(operation),
      ...(template !== undefined && { [ATTRIBUTES.destinationTemplate]: template }),
      [ATTRIBUTES.serverAddress]: place.serverAddress,
      [ATTRIBUTES.serverPort]: place.serverPort,
    }
    return {
      spanName: template === undefined ? operation.name : `${operation.name} ${template}`,
      metricAttributes: this.#interned(shared),
      options: {
        kind: operation.kind,
        attributes: { ...shared, [ATTRIBUTES.destinationName]: parts.join(':') || 'amq.default' },
      },
      details: {
        ...(temporary && { [ATTRIBUTES.destinationTemporary]: true, [ATTRIBUTES.destinationAnonymous]: true }),
        ...(routingKey !== '' && { [ATTRIBUTES.routingKey]: routingKey, [FORMER_NAMES.routingKey]: routingKey }),
        [ATTRIBUTES.clientId]: place.connectionName,
        [ATTRIBUTES.virtualHost]: place.virtualHost,
      },
    }
  }

  #interned(attributes: Attributes): Attributes {
    const key = JSON.stringify(attributes)
    const known = this.#metricAttributes.get(key)
    if (known !== undefined) return known
    if (this.#metricAttributes.size >= MAX_METRIC_ATTRIBUTES) return OVERFLOW
    this.#metricAttributes.set(key, attributes)
    return attributes
  }
}

/** Every span and every metric of an operation has these. */
export function operationAttributes({ name, type }: OperationNames): Attributes {
  return {
    [ATTRIBUTES.system]: SYSTEM,
    [FORMER_NAMES.system]: SYSTEM,
    [ATTRIBUTES.operationName]: name,
    ...(type !== undefined && { [ATTRIBUTES.operationType]: type }),
  }
}

/** `amq.gen-...`, and the names of direct reply-to; but not `amq.topic` and other exchanges. */
export function isNamedByBroker(name: string): boolean {
  return name.startsWith('amq.gen-') || name.startsWith('amq.rabbitmq.reply-to')
}
