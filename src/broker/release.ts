import { PROTOCOL_HEADER } from '../protocol/constants.ts'
import type { ReleaseName } from './release-name.ts'

/** The differences between releases that a client sees. */
export interface Release {
  readonly name: ReleaseName
  readonly version: string
  readonly mechanisms: string
  /** The answer to a client that speaks another protocol: the header of the protocol that the server prefers. */
  readonly header: Uint8Array
  /** The virtual host `/` has an exchange for the log of the node. */
  readonly logsToExchange: boolean
  /** The smallest frame size that a client may agree to, and the largest until it has. */
  readonly frameMin: number
  /** basic.qos with `global` limits the channel; else it is taken as a limit for each consumer. */
  readonly globalPrefetch: boolean
  /** Deliveries that a quorum queue makes of a message unless an argument says otherwise; 0 for no limit. */
  readonly deliveryLimit: number
  /** basic.nack and basic.recover count as failed deliveries of quorum queues; later only basic.reject and lost channels do. */
  readonly nackCounts: boolean
  /** A quorum queue without a delivery limit puts returned messages at its end. */
  readonly requeuesLast: boolean
  /** Quorum queues also say how often a message was taken, in `x-acquired-count`. */
  readonly acquiredCount: boolean
  /** Dead-lettered messages have `x-last-death-*` beside `x-first-death-*`. */
  readonly lastDeath: boolean
  /** The story of deaths that a message was published with is its own; later, its first death replaces it. */
  readonly takesPublishedDeaths: boolean
  /** If a message died before, the headers of its last death are in order. */
  readonly sortsLaterDeaths: boolean
  /** In an entry of `x-death`, the original expiration comes first. */
  readonly expirationFirst: boolean
  /** The story of a death has the keys by which a message was routed; before, that of its publish and those in CC. */
  readonly deathsTellAllKeys: boolean
  /**
   * Failed deliveries are counted. A message that dies takes the count along, and counts as redelivered if it is not 0. So
   * does a message of a classic queue that was stopped.
   */
  readonly carriesFailures: boolean
  /** A message that dies keeps its header `CC`, also if its queue names the key that it dies with. */
  readonly keepsCopies: boolean
  /** An age without a number is an internal error, which ends the connection. */
  readonly breaksOnAge: boolean
  /** Looks at `x-queue-mode`. */
  readonly checksQueueMode: boolean
  /** What `x-queue-version` may be. */
  readonly queueVersions: readonly number[]
  /** The values that `x-queue-master-locator` may have, and the refusal of others. */
  readonly masterLocators: readonly unknown[]
  readonly masterLocatorText: string
  /** A queue without a name whose type is unknown is refused; before, RabbitMQ broke on it. */
  readonly namesUnknownTypes: boolean
  /**
   * A message to a direct reply-to counts as routed, even if the channel of that reply-to is gone. Before, a reply left
   * at once, also in a transaction, had no delivery tag of its own, and did not count as routed.
   */
  readonly repliesAreQueues: boolean
  /** Ages of streams are compared, and printed, in milliseconds. */
  readonly agesInMilliseconds: boolean
  /** Values of `x-queue-type` that say nothing. */
  readonly unsetTypes: readonly unknown[]
  /** Refusals name the permission that is missing. */
  readonly namesPermission: boolean
  /** A passive declare needs one of the permissions. */
  readonly checksPassive: boolean
  /** Where basic.cancel overtakes its consume-ok: only that one's answer comes. */
  readonly cancelBeforeConsumeOk: 'cancel-ok' | 'consume-ok'
  /** A queue without `x-queue-type` has `classic` there for later declarations. */
  readonly typeInArguments: boolean
  /** Takes messages of no delivery mode but 1 and 2. */
  readonly checksDeliveryMode: boolean
  /** If several properties of a message are wrong, its user is refused first. */
  readonly checksUserFirst: boolean
  /** A message of a quorum queue has `x-delivery-count` from its first basic.get on. */
  readonly getTellsDeliveryCount: boolean
  /**
   * Messages of a quorum queue that a closed channel had come back in the order of the tags of its consumers, in later
   * releases of their age.
   */
  readonly ordersConsumersByTag: boolean
  /** The single active consumer of a quorum queue is one of the highest priority, else the one that came first. */
  readonly activeByPriority: boolean
  /** How one text prints the type of a quorum queue. */
  readonly printedQuorum: string
  /** The refusals of a stream: for a consumer without prefetch, and for one without acks. */
  readonly streamNeedsPrefetch: (stream: string) => string
  readonly streamNeedsAcks: (stream: string) => string
  /** Messages that died may go to a stream; before, a stream loses them. */
  readonly streamsTakeDeaths: boolean
  /** Streams keep arrays and tables of headers that are named `x-*` or CC, and say how each message is kept. */
  readonly streamsKeepExtensions: boolean
  /** The refusal of basic.nack and basic.reject by streams; undefined if these count as acks. */
  readonly streamsRefuseNacks: ((stream: string) => string) | undefined
  /** A transaction breaks on a queue that is gone when it is committed; before, its message went to those that are there. */
  readonly commitNeedsQueues: boolean
  /** Properties of messages count toward `x-max-length-bytes` of a quorum queue. */
  readonly sizesCountProperties: boolean
  /** The highest priority that quorum queues know. */
  readonly quorumPriorities: number
  /** What a classic queue makes of a smaller `x-max-priority`. */
  readonly leastPriorities: number
  /** Wildcards `#` that the key of a binding to a topic exchange may have. */
  readonly mostHashes: number
  /** A basic.cancel-ok, to which no client is asked, ends the consumer that it names; without one, it is an internal error. */
  readonly takesCancelOk: boolean
  /** An auto-delete exchange goes with its last binding, also if that one goes with a queue in a restart. */
  readonly restartEndsExchanges: boolean
  /** Exchanges that are not durable survive a restart all the same, with their bindings. */
  readonly keepsExchanges: boolean
  /** An expiration of `+05` is sent as `5`. */
  readonly rewritesExpirations: boolean
  /** Texts that are printed as Erlang's lists have an octet of UTF-8 for each character of Latin-1. */
  readonly printsLatin1: boolean
  /** Headers of a message are put in order, though not the tables in them. */
  readonly sortsHeaders: boolean
  /** A headers exchange distinguishes 1 from 1.0, and a time from a number of seconds. */
  readonly headersMatchExactly: boolean
  /** An exchange of a type that does not exist ends the channel alone. */
  readonly unknownTypeEndsChannel: boolean
  /** Refuses at once a message that is longer than its header says, or will be far too long. */
  readonly checksContentSize: boolean
  /** Bytes of the largest message that is taken. */
  readonly maxMessageSize: number
}

const RELEASES: Readonly<Record<ReleaseName, Release>> = {
  '3.10': {
    name: '3.10',
    version: '3.10.8',
    mechanisms: 'PLAIN AMQPLAIN',
    header: PROTOCOL_HEADER,
    logsToExchange: false,
    frameMin: 4096,
    globalPrefetch: true,
    deliveryLimit: 0,
    nackCounts: true,
    requeuesLast: true,
    acquiredCount: false,
    lastDeath: false,
    takesPublishedDeaths: true,
    sortsLaterDeaths: true,
    expirationFirst: false,
    deathsTellAllKeys: false,
    carriesFailures: false,
    keepsCopies: false,
    breaksOnAge: true,
    checksQueueMode: true,
    queueVersions: [1, 2],
    masterLocators: ['min-masters', 'client-local', 'random'],
    masterLocatorText: '',
    namesUnknownTypes: false,
    repliesAreQueues: false,
    agesInMilliseconds: false,
    unsetTypes: [],
    namesPermission: false,
    checksPassive: false,
    cancelBeforeConsumeOk: 'consume-ok',
    typeInArguments: false,
    checksDeliveryMode: true,
    checksUserFirst: true,
    getTellsDeliveryCount: true,
    ordersConsumersByTag: true,
    activeByPriority: false,
    printedQuorum: 'quorum',
    streamNeedsPrefetch: stream => `consumer prefetch count is not set for '${stream}'`,
    streamNeedsAcks: stream => `automatic acknowledgement not supported by stream queues ${stream}`,
    streamsTakeDeaths: false,
    streamsKeepExtensions: false,
    streamsRefuseNacks: stream => `basic.nack and basic.reject not supported by stream queues ${stream}`,
    commitNeedsQueues: false,
    sizesCountProperties: false,
    quorumPriorities: 0,
    leastPriorities: 0,
    printsLatin1: false,
    restartEndsExchanges: false,
    keepsExchanges: false,
    rewritesExpirations: false,
    takesCancelOk: false,
    mostHashes: Number.POSITIVE_INFINITY,
    sortsHeaders: false,
    headersMatchExactly: false,
    unknownTypeEndsChannel: false,
    checksContentSize: false,
    maxMessageSize: 134_217_728,
  },
  '4.3': {
    name: '4.3',
    version: '4.3.6',
    mechanisms: 'ANONYMOUS PLAIN AMQPLAIN',
    header: Buffer.from('AMQP\x03\x01\0\0'),
    logsToExchange: true,
    frameMin: 8192,
    globalPrefetch: false,
    deliveryLimit: 20,
    nackCounts: false,
    requeuesLast: false,
    acquiredCount: true,
    lastDeath: true,
    takesPublishedDeaths: false,
    sortsLaterDeaths: false,
    expirationFirst: true,
    deathsTellAllKeys: true,
    carriesFailures: true,
    keepsCopies: true,
    breaksOnAge: false,
    checksQueueMode: false,
    queueVersions: [2],
    masterLocators: [],
    masterLocatorText:
      'Feature `queue_master_locator` is deprecated.\nBy default, this feature is not permitted anymore.\n' +
      'The feature will be removed from a future major RabbitMQ version, regardless of the configuration; actual ' +
      'version to be determined.\nTo continue using this feature',
    namesUnknownTypes: true,
    repliesAreQueues: true,
    agesInMilliseconds: true,
    unsetTypes: ['', 'undefined'],
    namesPermission: true,
    checksPassive: true,
    cancelBeforeConsumeOk: 'cancel-ok',
    typeInArguments: true,
    checksDeliveryMode: false,
    checksUserFirst: false,
    getTellsDeliveryCount: false,
    ordersConsumersByTag: false,
    activeByPriority: true,
    printedQuorum: '<<"quorum">>',
    streamNeedsPrefetch: stream => `consumer prefetch count is not set for stream ${stream}`,
    streamNeedsAcks: stream => `automatic acknowledgement not supported by stream ${stream}`,
    streamsTakeDeaths: true,
    streamsKeepExtensions: true,
    streamsRefuseNacks: undefined,
    commitNeedsQueues: true,
    sizesCountProperties: true,
    quorumPriorities: 31,
    leastPriorities: 1,
    printsLatin1: true,
    restartEndsExchanges: true,
    keepsExchanges: true,
    rewritesExpirations: true,
    takesCancelOk: true,
    mostHashes: 2,
    sortsHeaders: true,
    headersMatchExactly: true,
    unknownTypeEndsChannel: true,
    checksContentSize: true,
    maxMessageSize: 16_777_216,
  },
}

export function releaseOf(name: ReleaseName): Release {
  return RELEASES[name]
}
