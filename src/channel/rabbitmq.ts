import type { ChannelClosedError } from '../errors.ts'
import { replyCodeName } from '../protocol/constants.ts'
import { isPlainObject } from '../protocol/values.ts'

/**
 * What RabbitMQ does that AMQP does not say: its texts, versions and limits. The test of this file names the versions on
 * which each was seen.
 */

/** Bytes of a frame that RabbitMQ takes at most before the login; it drops the connection at a larger one. */
const FRAME_MAX_BEFORE_LOGIN = 8_192
const FRAME_MAX_BEFORE_LOGIN_ONCE = 4_096
/** The version of the change. */
const LARGE_LOGIN_SINCE = 4_001
/** RabbitMQ 4.3 refuses a smaller frame-max in connection.tune-ok: by closing the socket, 3 s later. */
const LEAST_FRAME_MAX = 8_192
/** From this version on, basic.qos with global set limits each consumer and not the channel. */
const GLOBAL_QOS_ENDS = 4_003
/** From this version on, a direct reply-to may have any text. */
const ANY_REPLY_TO_SINCE = 4_000

/** From this version on, a stream takes any settlement as an ack. */
const ANY_SETTLEMENT_OF_STREAM_SINCE = 4_000

const QUORUM_TTL_SINCE = 3_010

/** The version of a server that is RabbitMQ, as 1,000 times major plus minor: 4.1.3 is 4,001. */
export function rabbitVersion(serverProperties: Readonly<Record<string, unknown>>): number | undefined {
  const { product, version } = serverProperties
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(String(version)) ?? []
  return product === 'RabbitMQ' && major !== undefined ? Number(major) * 1000 + Number(minor) : undefined
}

/** Whether basic.qos with `connectionGlobal` limits each consumer of the channel by itself. */
export function limitsEachConsumer(serverProperties: Readonly<Record<string, unknown>>): boolean {
  const version = rabbitVersion(serverProperties)
  return version !== undefined && version >= GLOBAL_QOS_ENDS
}

/** Whether a message to a direct reply-to that names no process of the cluster ends the connection (541). */
export function mindsReplyTo(serverProperties: Readonly<Record<string, unknown>>): boolean {
  const version = rabbitVersion(serverProperties)
  return version !== undefined && version < ANY_REPLY_TO_SINCE
}

/** Whether a message of a stream may be refused as any other is. Before, that ended the connection (540). */
export function takesRejectOfStream(serverProperties: Readonly<Record<string, unknown>>): boolean {
  return (rabbitVersion(serverProperties) ?? 0) >= ANY_SETTLEMENT_OF_STREAM_SINCE
}

/** Whether quorum queues know `x-message-ttl`, and can dead-letter at least once. */
export function knowsQuorumTimeToLive(serverProperties: Readonly<Record<string, unknown>>): boolean {
  return (rabbitVersion(serverProperties) ?? 0) >= QUORUM_TTL_SINCE
}

/**
 * Whether the server waits for basic.cancel-ok after a basic.cancel of its own, also after one with no-wait, before it
 * takes the consumer off the channel: RabbitMQ from 4.3.7 on. Earlier versions close the connection over a cancel-ok.
 */
export function takesCancelOk({ capabilities }: Readonly<Record<string, unknown>>): boolean {
  return isPlainObject(capabilities) && capabilities['accept_consumer_cancel_ok'] === true
}

/** Why a server may have dropped the connection at a connection.start-ok of `bytes`; '' if that is not why. */
export function startOkHint(bytes: number, serverProperties: Readonly<Record<string, unknown>>): string {
  const isRecent = (rabbitVersion(serverProperties) ?? 0) >= LARGE_LOGIN_SINCE
  const most = isRecent ? FRAME_MAX_BEFORE_LOGIN : FRAME_MAX_BEFORE_LOGIN_ONCE
  if (bytes <= most) return ''
  const server = isRecent ? 'RabbitMQ' : 'RabbitMQ before 4.1'
  return `; connection.start-ok was ${bytes} bytes, and ${server} takes at most ${most} before the login: the password (a token?) or clientProperties are too long`
}

/**
 * Why a server may have dropped the connection at a connection.tune-ok; '' if that is not why. `frameMax` 0 is the
 * server's.
 */
export function tuneOkHint(frameMax: number): string {
  if (frameMax === 0 || frameMax >= LEAST_FRAME_MAX) return ''
  return ` (RabbitMQ 4.3 says no to a frameMax below ${LEAST_FRAME_MAX} by this, 3 s later; it was ${frameMax})`
}

/** `NOT_FOUND (404), no queue 'orders' in vhost '/'`, without the name that RabbitMQ puts in front of its text. */
export function describeReply(replyCode: number, replyText: string): string {
  const name = replyCodeName(replyCode)
  const text = (replyText.startsWith(`${name} - `) ? replyText.slice(name.length + 3) : replyText).replace(/\.$/, '')
  return text === '' || text === name ? `${name} (${replyCode})` : `${name} (${replyCode}), ${text}`
}

/** What a reader of the error can do about it, if that is known. */
export function replyHint(replyCode: number, replyText: string): string {
  if (replyCode === 406 && replyText.includes("inequivalent arg 'durable'")) {
    return ' (here queues are durable unless exclusive, and exchanges always, unless the program says otherwise)'
  }
  if (replyCode === 406 && replyText.includes('consumer prefetch count is not set for ')) {
    return ' (a stream needs acks and a prefetch: no noAck, and a prefetchCount above 0)'
  }
  if (replyCode === 406 && replyText.includes('unknown delivery tag ')) {
    return ' (it was settled before, came on another channel, or needs no ack because of noAck)'
  }
  return ''
}

/** Whether connection.close in the answer to connection.open is about the virtual host: unknown (530) or forbidden (403). */
export function refusesVirtualHost(replyCode: number): boolean {
  return replyCode === 530 || replyCode === 403
}

/**
 * Whether a connection was refused (530) only because there are as many as the virtual host, the user or the node may have:
 *
 *     NOT_ALLOWED - access to vhost 'orders' refused for user 'guest': connection limit (1) is reached
 *     NOT_ALLOWED - connection refused for user 'guest': user connection limit (1) is reached
 */
export function isLimitReached(replyText: string): boolean {
  return /limit \(\d+\) is reached/.test(replyText)
}

/**
 * Whether the broker refused a consumer (403) since another has the queue for itself: perhaps that of our own lost
 * connection, so that it will grant it soon. A missing permission is a 403, too, and remains one:
 *
 *     ACCESS_REFUSED - queue 'orders' in vhost '/' in exclusive use
 *     ACCESS_REFUSED - access to queue 'orders' in vhost '/' refused for user 'guest'
 *
 * The end of a text above 255 bytes is cut off, and names are the program's: only the beginning counts.
 */
export function isExclusiveUse({ replyCode, replyText }: ChannelClosedError): boolean {
  return replyCode === 403 && /^ACCESS_REFUSED - queue '/i.test(replyText ?? '')
}

/**
 * Whether a queue is missing (404) only because its node is down, so that it will be there again:
 *
 *     NOT_FOUND - home node 'rabbit@b' of durable queue 'orders' in vhost '/' is down or inaccessible
 */
export function isOfNodeDown({ replyCode, replyText }: ChannelClosedError): boolean {
  return replyCode === 404 && replyText?.startsWith("NOT_FOUND - home node '") === true
}

/** The queue that stands for the channel itself as a place for replies (direct reply-to). */
export const DIRECT_REPLY_TO = 'amq.rabbitmq.reply-to'

/**
 * Whether a message came back with the `replyTo` it was sent with. In place of the direct reply-to, RabbitMQ writes the
 * channel's address into the message: `amq.rabbitmq.reply-to.g1h2AA...`
 */
export function isSameReplyTo(sent: string | undefined, returned: string | undefined): boolean {
  return sent === returned || (sent === DIRECT_REPLY_TO && returned?.startsWith(`${DIRECT_REPLY_TO}.`) === true)
}

/** Headers that RabbitMQ takes away when it routes a message, or that its message interceptors add. */
export const CHANGED_HEADERS: ReadonlySet<string> = new Set(['BCC', 'timestamp_in_ms', 'x-routed-by'])
