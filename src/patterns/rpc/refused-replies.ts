import type { ConnectionClosedError } from '../../errors.ts'
import { fingerprint } from '../../lib/platform.ts'
import type { Message } from '../consume/message.ts'

/** Requests that are remembered. */
const REMEMBERED = 100

/** Why a reply was refused, and what may still be tried. */
export interface Refusal {
  readonly reason: string
  /** Not even a short error can be sent. */
  readonly final: boolean
}

/**
 * Requests whose replies the broker refused. If it closed the connection over one, the request is delivered again, and
 * the same reply would end in the same way.
 */
export class RefusedReplies {
  readonly #refusals = new Map<string, Refusal>()

  add(request: Message, error: Error): void {
    const key = requestKey(request)
    const final = (error as Partial<ConnectionClosedError>).replyCode === INTERNAL_ERROR || this.#refusals.has(key)
    this.#refusals.set(key, { reason: error.message, final })
    const [oldest] = this.#refusals.keys()
    if (this.#refusals.size > REMEMBERED && oldest !== undefined) this.#refusals.delete(oldest)
  }

  of(request: Message): Refusal | undefined {
    if (!request.envelope.isRedeliver || this.#refusals.size === 0) return undefined
    return this.#refusals.get(requestKey(request))
  }
}

/** RabbitMQ failed inside (541): it cannot handle this address. */
const INTERNAL_ERROR = 541

/** What identifies a request when it is delivered again. */
export function requestKey({ body, properties }: Message): string {
  const { replyTo, correlationId, messageId } = properties
  const named = `${replyTo} ${correlationId} ${messageId}`
  const isNamed = correlationId !== undefined || messageId !== undefined
  return isNamed ? named : `${named} ${fingerprint(body)}`
}
