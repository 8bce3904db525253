// A strict program that uses every public name of `asyncamqp/codec`. It is compiled, never run.
import { type FrameError as ClientFrameError, int32 } from 'asyncamqp'
import {
  AccessRequest,
  AccessRequestOk,
  type AnyMethod,
  type Argument,
  type ArgumentsOf,
  BasicAck,
  BasicCancel,
  BasicCancelOk,
  BasicConsume,
  BasicConsumeOk,
  BasicDeliver,
  BasicGet,
  BasicGetEmpty,
  BasicGetOk,
  BasicNack,
  type BasicProperties,
  BasicPublish,
  BasicQos,
  BasicQosOk,
  BasicRecover,
  BasicRecoverAsync,
  BasicRecoverOk,
  BasicReject,
  BasicReturn,
  type BodyFrame,
  ChannelClose,
  ChannelCloseOk,
  ChannelFlow,
  ChannelFlowOk,
  ChannelOpen,
  ChannelOpenOk,
  ConfirmSelect,
  ConfirmSelectOk,
  ConnectionBlocked,
  ConnectionClose,
  ConnectionCloseOk,
  ConnectionOpen,
  ConnectionOpenOk,
  ConnectionSecure,
  ConnectionSecureOk,
  ConnectionStart,
  ConnectionStartOk,
  ConnectionTune,
  ConnectionTuneOk,
  ConnectionUnblocked,
  ConnectionUpdateSecret,
  ConnectionUpdateSecretOk,
  type DecodedOf,
  decodeTable,
  EncodeError,
  ExchangeBind,
  ExchangeBindOk,
  ExchangeDeclare,
  ExchangeDeclareOk,
  ExchangeDelete,
  ExchangeDeleteOk,
  ExchangeUnbind,
  ExchangeUnbindOk,
  encodeBody,
  encodeContentHeader,
  encodeFrame,
  encodeHeartbeat,
  encodeMethod,
  encodeProtocolHeader,
  encodeTable,
  type Field,
  type FieldInputs,
  type FieldKind,
  type FieldOutputs,
  type Fields,
  type FieldTable,
  type FieldValue,
  FRAME_END,
  FRAME_MIN_SIZE,
  FRAME_OVERHEAD,
  type Frame,
  type FrameBase,
  FrameError,
  FrameReader,
  type FrameReaderOptions,
  FrameType,
  type HeaderFrame,
  type HeartbeatFrame,
  type KnownMethod,
  type MalformedFrame,
  type Method,
  type MethodFrame,
  type MethodFrameOf,
  methodByKey,
  methodName,
  type Presence,
  type Properties,
  type ProtocolHeaderFrame,
  QueueBind,
  QueueBindOk,
  QueueDeclare,
  QueueDeclareOk,
  QueueDelete,
  QueueDeleteOk,
  QueuePurge,
  QueuePurgeOk,
  QueueUnbind,
  QueueUnbindOk,
  ReplyCode,
  type ReplyOf,
  replyCodeName,
  type SyncMethod,
  TxCommit,
  TxCommitOk,
  TxRollback,
  TxRollbackOk,
  TxSelect,
  TxSelectOk,
} from 'asyncamqp/codec'

/** All rows of the table. */
export const rows: readonly KnownMethod[] = [
  AccessRequest,
  AccessRequestOk,
  BasicAck,
  BasicCancel,
  BasicCancelOk,
  BasicConsume,
  BasicConsumeOk,
  BasicDeliver,
  BasicGet,
  BasicGetEmpty,
  BasicGetOk,
  BasicNack,
  BasicPublish,
  BasicQos,
  BasicQosOk,
  BasicRecover,
  BasicRecoverAsync,
  BasicRecoverOk,
  BasicReject,
  BasicReturn,
  ChannelClose,
  ChannelCloseOk,
  ChannelFlow,
  ChannelFlowOk,
  ChannelOpen,
  ChannelOpenOk,
  ConfirmSelect,
  ConfirmSelectOk,
  ConnectionBlocked,
  ConnectionClose,
  ConnectionCloseOk,
  ConnectionOpen,
  ConnectionOpenOk,
  ConnectionSecure,
  ConnectionSecureOk,
  ConnectionStart,
  ConnectionStartOk,
  ConnectionTune,
  ConnectionTuneOk,
  ConnectionUnblocked,
  ConnectionUpdateSecret,
  ConnectionUpdateSecretOk,
  ExchangeBind,
  ExchangeBindOk,
  ExchangeDeclare,
  ExchangeDeclareOk,
  ExchangeDelete,
  ExchangeDeleteOk,
  ExchangeUnbind,
  ExchangeUnbindOk,
  QueueBind,
  QueueBindOk,
  QueueDeclare,
  QueueDeclareOk,
  QueueDelete,
  QueueDeleteOk,
  QueuePurge,
  QueuePurgeOk,
  QueueUnbind,
  QueueUnbindOk,
  TxCommit,
  TxCommitOk,
  TxRollback,
  TxRollbackOk,
  TxSelect,
  TxSelectOk,
]
export const first: AnyMethod | undefined = methodByKey.get(QueueDeclare.key)
export const fields: Fields = QueueDeclare.fields
export const fieldOf = ({ name, field }: Argument): readonly [string, FieldKind, Presence] => [
  name,
  field.kind,
  field.presence,
]
export const flag: Field<'bit', 'optional'> = QueueDeclare.fields.durable
export const given: FieldInputs['longstr'] = 'secret'
export const decodedText: FieldOutputs['longstr'] = Buffer.from('secret')
export const declare: SyncMethod<'queue.declare', Fields, AnyMethod> = QueueDeclare
export const ack: Method<'basic.ack'> = BasicAck

const table: FieldTable = { n: int32(1) }
export const value: FieldValue | undefined = decodeTable(encodeTable(table))['n']
export const args: ArgumentsOf<typeof QueueDeclare> = { queueName: 'orders', arguments: table }
export const reply: ReplyOf<typeof QueueDeclare> = { queue: 'orders', messageCount: 1, consumerCount: 0 }
export const delivered: DecodedOf<typeof BasicDeliver>['deliveryTag'] = 1
const properties: BasicProperties = { contentType: 'text/plain' }

export const written: readonly Buffer[] = [
  encodeProtocolHeader(),
  encodeMethod(1, QueueDeclare, args, FRAME_MIN_SIZE),
  encodeContentHeader(1, 5, properties),
  encodeBody(1, 'hello', 4096),
  encodeFrame(FrameType.BODY, 1, Buffer.alloc(0)),
  encodeHeartbeat(),
  Buffer.from([FRAME_END, FRAME_OVERHEAD]),
]

/** One parameter for each type of frame. */
export interface Seen {
  opened(frame: ProtocolHeaderFrame): number
  method(frame: MethodFrame): string
  declared(frame: MethodFrame<typeof QueueDeclare>): string
  bound(frame: MethodFrameOf<typeof QueueBind>): string
  header(frame: HeaderFrame): Properties
  body(frame: BodyFrame): number
  heartbeat(frame: HeartbeatFrame): void
  malformed(frame: MalformedFrame): FrameError
}

const options: FrameReaderOptions = { frameMax: 0 }

export function read(chunk: Uint8Array): readonly string[] {
  const reader = new FrameReader(options)
  reader.frameMax = 4096
  try {
    return Array.from(reader.push(chunk), show)
  } catch (error) {
    const same: ClientFrameError | undefined = error instanceof FrameError ? error : undefined
    if (error instanceof EncodeError) return [error.message]
    return [`${reader.offset} ${same?.offset} ${same === undefined ? '' : replyCodeName(same.replyCode)}`]
  }
}

/** The compiler knows the arguments of a method by its name. */
function show(frame: Frame): string {
  const { offset, bytes }: FrameBase = frame
  switch (frame.type) {
    case 'method':
      if (frame.name === 'basic.publish') return `${frame.channel} ${frame.args.routingKey.length}`
      if (frame.name === 'connection.close' && frame.args.replyCode !== ReplyCode.REPLY_SUCCESS) {
        return methodName(frame.args.classId, frame.args.methodId)
      }
      return frame.method.name
    case 'header':
      return `${frame.bodySize} ${frame.properties.headers?.['x'] ?? ''}`
    case 'body':
      return frame.payload.toString()
    case 'malformed':
      return frame.error.message
    case 'protocol-header':
      return `${frame.major}`
    case 'heartbeat':
      return `${offset} ${bytes.length}`
  }
}
