/// <reference types="node" preserve="true" />

/** `asyncamqp/testing`: a broker in the process, and messages without one. It is for tests, examples and first steps. */
export type { ReleaseName } from '../broker/release-name.ts'
export type { Permissions, UserOptions } from '../broker/user-options.ts'
export { Broker, type BrokerOptions, type CloseReason, startBroker } from './broker.ts'
export {
  CreatedMessage,
  type CreateMessageOptions,
  createMessage,
  type MessageSettlement,
} from './message-factory.ts'
export { type PublicOf, standIn } from './stand-in.ts'
export type {
  BrokerBinding,
  BrokerConsumer,
  BrokerMessage,
  ConnectionView,
  ExchangeView,
  QueuedMessage,
  QueueView,
} from './views.ts'
export type { WaitOptions } from './watch.ts'
