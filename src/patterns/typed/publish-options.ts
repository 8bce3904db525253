import type { PublishOptions } from '../../channel/options.ts'
import type { CodecsOption } from './codec.ts'
import type { StandardSchema } from './standard-schema.ts'

/** Options of `protocol.publish()`. */
export interface TypedPublishOptions<Schema = StandardSchema | undefined> extends PublishOptions, CodecsOption {
  /** What the payload must fit: if it does not, nothing is sent, and the publish rejects with an `EncodeError` with the `issues`. */
  readonly schema?: Schema | undefined
}
