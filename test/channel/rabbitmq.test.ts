import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  describeReply,
  isExclusiveUse,
  isLimitReached,
  isOfNodeDown,
  isSameReplyTo,
  limitsEachConsumer,
  mindsReplyTo,
  rabbitVersion,
  refusesVirtualHost,
  replyHint,
  startOkHint,
  takesCancelOk,
  tuneOkHint,
} from '../../src/channel/rabbitmq.ts'
import { ChannelClosedError } from '../../src/errors.ts'

/** One observed behaviour of a version of RabbitMQ, and what the client does then. */
interface Seen {
  readonly on: string
  readonly what: string
  readonly value: unknown
  readonly expected: unknown
}

const server = (version: string, product = 'RabbitMQ') => ({ product, version })
const refusal = (replyCode: number, replyText: string) => new ChannelClosedError('', { replyCode, replyText })

const TEXTS: readonly Seen[] = [
  {
    on: '3.10.8 and 4.3.6, every queue method on a queue that is not there',
    what: 'the name of the code in front of the text',
    value: describeReply(404, "NOT_FOUND - no queue 'orders' in vhost '/'"),
    expected: "NOT_FOUND (404), no queue 'orders' in vhost '/'",
  },
  {
    on: '3.10.8, rabbitmqctl close_all_connections',
    what: 'only the name of the code',
    value: describeReply(320, 'CONNECTION_FORCED'),
    expected: 'CONNECTION_FORCED (320)',
  },
  {
    on: 'no version',
    what: 'a text of its own',
    value: describeReply(404, 'no such thing'),
    expected: 'NOT_FOUND (404), no such thing',
  },
  { on: 'no version', what: 'no text', value: describeReply(406, ''), expected: 'PRECONDITION_FAILED (406)' },
  {
    on: 'no version',
    what: 'a code that AMQP does not have',
    value: describeReply(599, 'odd'),
    expected: 'UNKNOWN (599), odd',
  },
  {
    on: '3.10.8 and 4.3.6, queue.declare of a transient queue as durable',
    what: 'inequivalent durability',
    value: replyHint(
      406,
      "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'",
    ),
    expected: ' (here queues are durable unless exclusive, and exchanges always, unless the program says otherwise)',
  },
  {
    on: '3.10.8, basic.consume of a stream with no-ack',
    what: 'a stream without acks',
    value: replyHint(406, "PRECONDITION_FAILED - consumer prefetch count is not set for 'queue 's' in vhost '/''"),
    expected: ' (a stream needs acks and a prefetch: no noAck, and a prefetchCount above 0)',
  },
  {
    on: '4.3.6, basic.consume of a stream with no-ack',
    what: 'a stream without acks',
    value: replyHint(406, "PRECONDITION_FAILED - consumer prefetch count is not set for stream queue 's' in vhost '/'"),
    expected: ' (a stream needs acks and a prefetch: no noAck, and a prefetchCount above 0)',
  },
  {
    on: '3.10.8 and 4.3.6, basic.ack of a delivery without acks',
    what: 'a delivery tag that is settled or was never open',
    value: replyHint(406, 'PRECONDITION_FAILED - unknown delivery tag 1'),
    expected: ' (it was settled before, came on another channel, or needs no ack because of noAck)',
  },
  {
    on: '3.10.8 and 4.3.6, queue.declare with another x-message-ttl',
    what: 'any other inequivalence',
    value: replyHint(
      406,
      "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received none",
    ),
    expected: '',
  },
  {
    on: '3.10.8 and 4.3.6, a mandatory message with the direct reply-to came back',
    what: 'the direct reply-to as it comes back',
    value: isSameReplyTo(
      'amq.rabbitmq.reply-to',
      'amq.rabbitmq.reply-to.g1h2AA5yZXBseUA4MDYyMTY4NAAAFUoAAABkawpjoA==.qCqHBooMXD1PT1chMe5jSQ==',
    ),
    expected: true,
  },
  {
    on: '3.10.8 and 4.3.6, a mandatory message with the name of a queue as replyTo came back',
    what: 'any other replyTo',
    value: [isSameReplyTo('q', 'q'), isSameReplyTo('q', 'q.1'), isSameReplyTo(undefined, 'q')],
    expected: [true, false, false],
  },
  {
    on: '3.10.8 and 4.3.6, basic.consume of a queue with an exclusive consumer',
    what: 'exclusive use',
    value: isExclusiveUse(refusal(403, "ACCESS_REFUSED - queue 'orders' in vhost '/' in exclusive use")),
    expected: true,
  },
  {
    on: '3.10.8 and 4.3.6, basic.consume without the permission to read',
    what: 'a permission',
    value: isExclusiveUse(
      refusal(403, "ACCESS_REFUSED - access to queue 'orders' in vhost '/' refused for user 'guest'"),
    ),
    expected: false,
  },
  {
    on: 'the source of 3.10.8 (rabbit_amqqueue), a classic queue of a node that is down',
    what: 'a queue whose node is down, and one that is not there',
    value: [
      isOfNodeDown(
        refusal(404, "NOT_FOUND - home node 'rabbit@b' of durable queue 'q' in vhost '/' is down or inaccessible"),
      ),
      isOfNodeDown(refusal(404, "NOT_FOUND - no queue 'q' in vhost '/'")),
    ],
    expected: [true, false],
  },
  {
    on: '3.10.8 and 4.3.6, queue.declare of another connection’s exclusive queue',
    what: 'a lock is no exclusive use',
    value: isExclusiveUse(
      refusal(405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'"),
    ),
    expected: false,
  },
  {
    on: '3.10.8 and 4.3.6, connection.open past vhost-limits and user-limits, and of a virtual host that is not there',
    what: 'a limit of connections, which another one may free',
    value: [
      "NOT_ALLOWED - access to vhost 'v' refused for user 'guest': connection limit (0) is reached",
      "NOT_ALLOWED - connection refused for user 'u': user connection limit (0) is reached",
      'NOT_ALLOWED - vhost v not found',
    ].map(isLimitReached),
    expected: [true, true, false],
  },
]

const VERSIONS: readonly Seen[] = [
  { on: '4.3.6, server-properties', what: 'its version', value: rabbitVersion(server('4.3.6')), expected: 4_003 },
  { on: '3.10.8, server-properties', what: 'its version', value: rabbitVersion(server('3.10.8')), expected: 3_010 },
  { on: 'no version', what: 'another product', value: rabbitVersion(server('2.1.0', 'LavinMQ')), expected: undefined },
  { on: 'no version', what: 'no properties', value: rabbitVersion({}), expected: undefined },
  {
    on: '4.3.6, basic.qos with global: each of two consumers got as many messages',
    what: 'the end of global qos',
    value: ['4.3.6', '5.0.0', '4.2.1', '3.10.8'].map(version => limitsEachConsumer(server(version))),
    expected: [true, true, false, false],
  },
  {
    on: '3.10.8, a publish to amq.rabbitmq.reply-to.a.b: 541; 4.3.6 drops the message',
    what: 'a direct reply-to that names no process',
    value: [...['3.10.8', '3.13.7', '4.0.5', '4.3.6'].map(version => mindsReplyTo(server(version))), mindsReplyTo({})],
    expected: [true, true, false, false, false],
  },
  {
    on: '3.10.8, a connection.start-ok of 6 kB, and 4.3.6, one of 9 kB: the socket is closed without a word, 3 s later',
    what: 'a login that is too long',
    value: [
      startOkHint(6_123, server('3.10.8')) !== '',
      startOkHint(6_123, server('4.0.5')) !== '',
      startOkHint(8_193, server('4.1.0')) !== '',
      startOkHint(8_192, server('4.1.0')),
      startOkHint(4_096, server('3.10.8')),
    ],
    expected: [true, true, true, '', ''],
  },
  {
    on: '4.3.6, connection.tune-ok with a frame-max of 4096: the socket is closed 3 s later',
    what: 'a small frame-max',
    value: [tuneOkHint(4_096) !== '', tuneOkHint(8_192), tuneOkHint(0)],
    expected: [true, '', ''],
  },
  {
    on: '3.10.8 (503) and 4.3.6 (541): basic.cancel-ok from the client closes the connection; neither has the capability',
    what: 'an answer to its basic.cancel',
    value: [
      takesCancelOk({ capabilities: { accept_consumer_cancel_ok: true } }),
      takesCancelOk({ capabilities: { accept_consumer_cancel_ok: false, consumer_cancel_notify: true } }),
      takesCancelOk({ capabilities: 'accept_consumer_cancel_ok' }),
      takesCancelOk(server('4.3.7')),
    ],
    expected: [true, false, false, false],
  },
  {
    on: '3.10.8 and 4.3.6, connection.open of a vhost that is not there: 530; 403 is what AMQP says of one that is forbidden',
    what: 'a virtual host that is refused',
    value: [530, 403, 541].map(refusesVirtualHost),
    expected: [true, true, false],
  },
]

describe('what RabbitMQ does', () => {
  for (const { on, what, value, expected } of [...TEXTS, ...VERSIONS]) {
    it(`${what} (seen on ${on})`, () => assert.deepEqual(value, expected))
  }
})
