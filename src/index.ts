/// <reference types="node" preserve="true" />

export {
  AmqpProtocol,
  type ChannelOptions,
  type ProtocolCloseOptions,
  type ReadyOptions,
} from './amqp-protocol.ts'
export {
  type CancellationCallback,
  Channel,
  type ConsumerCallback,
  type ReturnCallback,
} from './channel/channel.ts'
export type { Envelope, GetEnvelope, GetResult, ReturnEnvelope, ReturnedMessage } from './channel/consume/delivery.ts'
export type * from './channel/options.ts'
export { connect, connectInBackground, fromUrl } from './connect.ts'
export type { ConnectionRole, ConnectionState } from './connection/connection-state.ts'
export type { AmqpProtocolEvents } from './connection/protocol-events.ts'
export type {
  ExpiringPassword,
  PasswordFunction,
  SaslMechanism,
  SaslName,
  SaslResponse,
} from './connection/settings/auth.ts'
export type {
  ConnectOptions,
  ConnectUrl,
  RecoveryOptions,
  ServerAddress,
  ServerOrder,
} from './connection/settings/options.ts'
export type {
  TlsOptions,
  Transport,
  TransportFactory,
  TransportHandler,
  TransportPeer,
  TransportStep,
  TransportTarget,
} from './connection/wire/transport.ts'
export type { CallContext } from './diagnostics/call.ts'
export type { ConnectContext } from './diagnostics/connecting.ts'
export type { IncomingContext } from './diagnostics/incoming.ts'
export type { LifecycleEvent, LifecycleEventName, LifecycleEvents } from './diagnostics/lifecycle-events.ts'
export type { LogFormat, Logger } from './diagnostics/logger.ts'
export type { OutgoingContext } from './diagnostics/outgoing.ts'
export type { ProcessContext, ProcessKind, ProcessResult } from './diagnostics/process.ts'
export type { PublishContext, PublishResult } from './diagnostics/publish.ts'
export type { RpcCallContext, RpcCallResult, RpcHandleContext, RpcHandleResult } from './diagnostics/rpc.ts'
export type { Endpoint } from './diagnostics/server-context.ts'
export type { SettleContext } from './diagnostics/settle.ts'
export type { ConnectionStats, ConsumerStats, PublisherStats } from './diagnostics/stats.ts'
export {
  AbortError,
  AmqpError,
  AmqpUriError,
  AuthenticationError,
  BufferFullError,
  ChannelClosedError,
  type ConnectionAttempt,
  ConnectionClosedError,
  ConnectionError,
  ConnectionFailedError,
  ConnectionLostError,
  ConsumerCancelledError,
  DecodeError,
  DuplicateConsumerTagError,
  EncodeError,
  FrameError,
  type LossReason,
  MessageReturnedError,
  NoChannelAvailableError,
  ProtocolError,
  PublishError,
  PublishFailedError,
  type PublishOutcome,
  RemoteError,
  type SchemaIssue,
  TimeoutError,
} from './errors.ts'
export { Consumer } from './patterns/consume/consumer.ts'
export type { ConsumerEvents } from './patterns/consume/consumer-events.ts'
export type {
  BatchHandler,
  BatchHandlerOptions,
  BatchOptions,
  CancelDecider,
  ConsumerCloseOptions,
  ConsumerOptions,
  FailureOptions,
  HandlerOptions,
  LoopOptions,
  MessageHandler,
  NextOptions,
  OffsetStore,
} from './patterns/consume/consumer-options.ts'
export type {
  ErrorDestination,
  FailureAction,
  FailureDecider,
  RetryPolicy,
} from './patterns/consume/failure-action.ts'
export { Message } from './patterns/consume/message.ts'
export type { Payload } from './patterns/publish/payload.ts'
export {
  Publisher,
  type PublisherCloseOptions,
  type PublisherEvents,
  type PublisherOptions,
} from './patterns/publish/publisher.ts'
export type { RpcCallOptions, RpcClient, RpcClientOptions, RpcSchema } from './patterns/rpc/rpc-client.ts'
export type { RpcHandler, RpcReply, RpcServer, RpcServerOptions } from './patterns/rpc/rpc-server.ts'
export type { Codec, CodecsOption, ContentCodec, EncodingCodec } from './patterns/typed/codec.ts'
export type { TypedPublishOptions } from './patterns/typed/publish-options.ts'
export type { SchemaInput, SchemaResult, StandardSchema } from './patterns/typed/standard-schema.ts'
export type { BasicProperties } from './protocol/properties.ts'
export { Properties } from './protocol/received-properties.ts'
export {
  Decimal,
  decimal,
  double,
  type FieldTable,
  type FieldValue,
  float,
  int8,
  int16,
  int32,
  int64,
  type NumericType,
  TypedValue,
  timestamp,
  uint8,
  uint16,
  uint32,
} from './protocol/values.ts'
