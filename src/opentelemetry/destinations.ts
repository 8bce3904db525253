import type { Attributes, SpanOptions } from '@opentelemetry/api'
import type { Endpoint, EndpointSource } from '../diagnostics/server-context.ts'
import { ATTRIBUTES, FORMER_NAMES, type OperationNames, SYSTEM } from './conventions.ts'

/** Past it, all is forgotten: a program may use a routing key for each message. */
const MAX_KEPT = 1_000
/** Past it, metrics count the rest together, as those of the SDK do past the same number. */
const MAX_METRIC_ATTRIBUTES = 2_000
const OVERFLOW: Attributes = { 'otel.metric.overflow': true }

/** The fields of a context that say where a message goes to or comes from. */
export interface Place {
  readonly source: EndpointSource
  readonly exchangeName: string
  readonly routingKey: string
}

/** What all messages of one destination have in common: the objects are made once, and never changed. */
export interface Destination {
  readonly spanName: string
  /** Includes the attributes that a sampler may read. They cost time even for messages that are not sampled. */
  readonly options: Required<Pick<SpanOptions, 'kind' | 'attributes'>>
  /** The others. */
  readonly details: Attributes
  /** Attributes with few different values: one object for all destinations that share them. */
  readonly metricAttributes: Attributes
}

interface Last {
  readonly exchangeName: string
  readonly routingKey: string
  readonly queueName: string
  readonly endpoint: Endpoint
  readonly destination: Destination
}

/** The destinations of one operation. */
export class Destinations {
  readonly #operation: OperationNames
  readonly #kept = new Map<string, Destination>()
  readonly #metricAttributes = new Map<string, Attributes>()
  /** That of the last message: they come in runs. */
  #last: Last | undefined

  constructor(operation: OperationNames) {
    this.#operation = operation
  }

  /** @param queueName of a delivery; `''` of a publish */
  of(place: Place, queueName: string): Destination {
    const { exchangeName, routingKey, source } = place
    const { endpoint } = source
    const last = this.#last
    if (
      last !== undefined &&
      last.endpoint === endpoint &&
      last.routingKey === routingKey &&
      last.exchangeName === exchangeName &&
      last.queueName === queueName
    ) {
      return last.destination
    }
    const { serverAddress, serverPort, virtualHost, connectionName } = endpoint
    const key = [exchangeName, routingKey, queueName, connectionName, serverAddress, serverPort, virtualHost].join('\0')
    let destination = this.#kept.get(key)
    if (destination === undefined) {
      if (this.#kept.size >= MAX_KEPT) this.#kept.clear()
      destination = this.#describe(exchangeName, routingKey, queueName, endpoint)
      this.#kept.set(key, destination)
    }
    this.#last = { exchangeName, routingKey, queueName, endpoint, destination }
    return destination
  }

  #describe(exchangeName: string, routingKey: string, queueName: string, endpoint: Endpoint): Destination {
    const operation = this.#operation
    const parts = [exchangeName, routingKey, queueName === routingKey ? '' : queueName].filter(part => part !== '')
    const entity = queueName || exchangeName || routingKey
    const temporary = isNamedByBroker(entity)
    // A routing key may be another one for each message; exchanges and queues are few.
    const template = temporary || entity === '' ? undefined : entity
    const { [FORMER_NAMES.system]: system, ...names } = operationAttributes(operation)
    const shared: Attributes = {
      ...names,
      ...(template !== undefined && { [ATTRIBUTES.destinationTemplate]: template }),
      [ATTRIBUTES.serverAddress]: endpoint.serverAddress,
      [ATTRIBUTES.serverPort]: endpoint.serverPort,
    }
    return {
      spanName: template === undefined ? operation.name : `${operation.name} ${template}`,
      metricAttributes: this.#interned({ [FORMER_NAMES.system]: system, ...shared }),
      options: {
        kind: operation.kind,
        attributes: { ...shared, [ATTRIBUTES.destinationName]: parts.join(':') || 'amq.default' },
      },
      details: {
        [FORMER_NAMES.system]: system,
        ...(temporary && { [ATTRIBUTES.destinationTemporary]: true, [ATTRIBUTES.destinationAnonymous]: true }),
        ...(routingKey !== '' && { [ATTRIBUTES.routingKey]: routingKey, [FORMER_NAMES.routingKey]: routingKey }),
        [ATTRIBUTES.clientId]: endpoint.connectionName,
        [ATTRIBUTES.virtualHost]: endpoint.virtualHost,
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
