import { Operation } from './operation.ts'
import { type EndpointSource, ServerContext } from './server-context.ts'

/** What subscribers to `asyncamqp:call` get: one synchronous method of a channel, from the call to its reply. */
export class CallContext extends ServerContext {
  /** `queue.declare`, and so on; also `waitForConfirms`. */
  readonly method: string
  /** The queue or the exchange that it is about, the one that is changed; undefined if it names none. */
  readonly target: string | undefined
  readonly channelId: number
  /** The options that the program gave; not to be changed. */
  readonly options: object

  /** @internal */
  constructor(source: EndpointSource, method: string, target: string | undefined, channelId: number, options: object) {
    super(source)
    this.method = method
    this.target = target
    this.channelId = channelId
    this.options = options
  }

  /** @internal */
  succeeded(): void {}
}

/** @internal */
export const METHOD_CALL = new Operation<CallContext>('call')
