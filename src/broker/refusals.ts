import { ReplyCode, replyCodeName } from '../protocol/constants.ts'
import type { AnyMethod } from '../protocol/methods.ts'
import { fits } from './erlang-terms.ts'

/** Codes that close the channel alone; every other one closes the connection. */
const CHANNEL_CODES: ReadonlySet<number> = new Set([
  ReplyCode.CONTENT_TOO_LARGE,
  ReplyCode.NO_ROUTE,
  ReplyCode.NO_CONSUMERS,
  ReplyCode.ACCESS_REFUSED,
  ReplyCode.NOT_FOUND,
  ReplyCode.RESOURCE_LOCKED,
  ReplyCode.PRECONDITION_FAILED,
])

/** A method, by its numbers. */
export type AtFault = Pick<AnyMethod, 'classId' | 'methodId'>

const NO_METHOD: AtFault = { classId: 0, methodId: 0 }
const LONGEST_TEXT = 255

/** A refusal of the broker, with the code and the text of RabbitMQ. */
export class Refusal extends Error {
  readonly replyCode: number
  readonly replyText: string
  /** The method at fault, if it is not the one being carried out. */
  readonly method: AtFault | undefined

  constructor(replyCode: number, explanation: string, method?: AtFault) {
    const name = replyCodeName(replyCode)
    const replyText = cut(explanation === '' ? name : `${name} - ${explanation}`)
    super(replyText)
    this.replyCode = replyCode
    this.replyText = replyText
    this.method = method
  }

  /** Whether it ends the connection, and not the channel alone. */
  get endsConnection(): boolean {
    return !CHANNEL_CODES.has(this.replyCode)
  }
}

/** An input on which RabbitMQ itself crashes: it ends the stream without a word. */
export class Breakdown extends Error {}

/** A reply text is a short string; RabbitMQ ends a longer one with dots. */
function cut(text: string): string {
  const bytes = Buffer.from(text)
  return bytes.length <= LONGEST_TEXT ? text : `${bytes.subarray(0, LONGEST_TEXT - 3).toString()}...`
}

/** How RabbitMQ names a queue or an exchange. */
export function resource(kind: 'queue' | 'exchange', name: string, vhost: string): string {
  return `${kind} '${name}' in vhost '${vhost}'`
}

const of = (replyCode: number) => (explanation: string) => new Refusal(replyCode, explanation)

export const accessRefused = of(ReplyCode.ACCESS_REFUSED)
export const notFound = of(ReplyCode.NOT_FOUND)
export const resourceLocked = of(ReplyCode.RESOURCE_LOCKED)
export const preconditionFailed = of(ReplyCode.PRECONDITION_FAILED)
export const frameError = of(ReplyCode.FRAME_ERROR)
export const commandInvalid = of(ReplyCode.COMMAND_INVALID)
export const channelError = of(ReplyCode.CHANNEL_ERROR)
export const unexpectedFrame = of(ReplyCode.UNEXPECTED_FRAME)
export const notAllowed = of(ReplyCode.NOT_ALLOWED)
export const notImplemented = of(ReplyCode.NOT_IMPLEMENTED)

/** A channel of RabbitMQ crashes on this request. */
export function breakage(): Refusal {
  return new Refusal(ReplyCode.INTERNAL_ERROR, '', NO_METHOD)
}

export function noSuchQueue(name: string, vhost: string): Refusal {
  return notFound(`no ${resource('queue', name, vhost)}`)
}

/** A queue that a message was routed to is gone. The text is a term as Erlang prints it, in lines of 80 characters. */
export function undeliverable(name: string, vhost: string): Refusal {
  const inFront = 'failed to deliver message: '
  const [start, end] = [`{resource,<<"${vhost}">>,queue,`, `<<"${name}">>}}`]
  const column = inFront.length + 4
  const rest = fits(column, start + end) ? start + end : `${start}\n${' '.repeat(column + 4)}${end}`
  const whole = `{not_found,${start}${end}`
  const term = fits(inFront.length, whole) ? whole : `{not_found,\n${' '.repeat(column)}${rest}`
  return new Refusal(ReplyCode.RESOURCE_ERROR, inFront + term)
}

export function noSuchExchange(name: string, vhost: string): Refusal {
  return notFound(`no ${resource('exchange', name, vhost)}`)
}

export function lockedQueue(name: string, vhost: string): Refusal {
  return resourceLocked(
    `cannot obtain exclusive access to locked ${resource('queue', name, vhost)}. It could be originally declared on ` +
      'another connection or the exclusive property value does not match that of the original declaration.',
  )
}

/** `received` and `current` as Erlang prints them. */
export function inequivalent(argument: string, what: string, received: string, current: string): Refusal {
  return preconditionFailed(
    `inequivalent arg '${argument}' for ${what}: received ${received} but current is ${current}`,
  )
}

export function unknownDeliveryTag(tag: number): Refusal {
  return preconditionFailed(`unknown delivery tag ${tag}`)
}
