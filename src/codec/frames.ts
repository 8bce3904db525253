import type { FrameError } from '../errors.ts'
import type * as table from '../protocol/methods.ts'
import type { AnyMethod, DecodedOf } from '../protocol/methods.ts'
import type { Properties } from '../protocol/received-properties.ts'

/** Any method of the table. */
export type KnownMethod = Extract<(typeof table)[keyof typeof table], AnyMethod>

/** What every frame has. */
export interface FrameBase {
  /** Bytes of the stream before this frame. */
  readonly offset: number
  /** The whole frame as it came, its header and its end octet included: a view of the chunk that was pushed, if it was whole there. */
  readonly bytes: Buffer
}

/** What opens a connection: the client's, or that of a server which does not speak the client's version (§4.2.2). */
export interface ProtocolHeaderFrame extends FrameBase {
  readonly type: 'protocol-header'
  readonly protocolId: number
  readonly major: number
  readonly minor: number
  readonly revision: number
}

/** A frame with a method that the compiler knows. */
export interface MethodFrameOf<M extends AnyMethod> extends FrameBase {
  readonly type: 'method'
  readonly channel: number
  /** The name of the method, such as `queue.declare`: compare it to know the type of `args`. */
  readonly name: M['name']
  /** Its row in the table of methods. */
  readonly method: M
  /** Its arguments, without the reserved ones. They are the program's own: none is a view of the chunk. */
  readonly args: DecodedOf<M>
}

/** A method, one type for each. */
export type MethodFrame<M extends AnyMethod = KnownMethod> = M extends AnyMethod ? MethodFrameOf<M> : never

/** A content header: what basic.publish, basic.deliver, basic.get-ok and basic.return are followed by. */
export interface HeaderFrame extends FrameBase {
  readonly type: 'header'
  readonly channel: number
  /** Bytes of the whole body, which follow in as many body frames as they need: in none if it is 0. */
  readonly bodySize: number
  /** Decoded when first read; the program's own. */
  readonly properties: Properties
}

/** A piece of a body. */
export interface BodyFrame extends FrameBase {
  readonly type: 'body'
  readonly channel: number
  /** A part of `bytes`. */
  readonly payload: Buffer
}

/** A sign of life (§4.2.7), on channel 0. */
export interface HeartbeatFrame extends FrameBase {
  readonly type: 'heartbeat'
}

/** A frame that ends where its header says, but whose payload is not what its type asks for. The next one is read all the same. */
export interface MalformedFrame extends FrameBase {
  readonly type: 'malformed'
  readonly channel: number
  /** What is wrong; `replyCode` is the one that a server closes the connection with. */
  readonly error: FrameError
}

/** What `FrameReader` makes of bytes. */
export type Frame = ProtocolHeaderFrame | MethodFrame | HeaderFrame | BodyFrame | HeartbeatFrame | MalformedFrame
