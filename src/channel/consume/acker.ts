import type { IncomingSource } from '../../diagnostics/incoming.ts'
import {
  ProcessContext,
  type ProcessKind,
  type ProcessResult,
  ProcessTrace,
  TracedDeliveries,
} from '../../diagnostics/process.ts'
import type { Endpoint } from '../../diagnostics/server-context.ts'
import { EncodeError } from '../../errors.ts'
import { BASIC_ACK, BASIC_NACK, BASIC_REJECT, writeSettlement } from '../../protocol/basic-codec.ts'
import type { Envelope } from '../../protocol/envelope.ts'
import { inspectShort } from '../../protocol/inspect-short.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { ChannelPort } from '../port.ts'
import type { StreamPosition } from './stream-position.ts'

const MULTIPLE = 1
const NACK_REQUEUE = 2
const REJECT_REQUEUE = 1

/** How a delivery is settled: with basic.ack, basic.nack or basic.reject. */
export type Settlement = 'ack' | 'nack' | 'reject'

/**
 * Settles the deliveries of one life of a channel.
 *
 *     open ──a close is written──▶ frozen ──the life ends──▶ over
 *       └──────────the life ends──────────────────────────▲
 *
 * A stream knows acks only: RabbitMQ before 4 closes the connection for any other settlement of its messages. There, to
 * refuse a message is to ack it, since the stream keeps it and has no dead-letter exchange; to requeue one is to send
 * nothing: the consumer's position stays in front of it. Deliveries that may be of another queue are never settled in this way.
 */
export class Acker implements IncomingSource {
  readonly port: ChannelPort
  readonly channelId: number
  /** The last tag of the channel's earlier lives: the wire's tags count from there. */
  readonly offset: number
  /** The last tag that was delivered. */
  lastTag: number
  /** The broker waits for nothing up to this tag: it was settled with `multiple`, or taken back. */
  #doneUpTo = 0
  /** Settlements that were sent. */
  sent = 0
  #state: 'open' | 'frozen' | 'over' = 'open'
  /** Settlements that wait for tx.commit-ok; undefined while none has to. */
  #held: (() => void)[] | undefined
  /** Positions of the consumers of streams that have unsettled deliveries: a settlement moves them on. */
  #positions: Set<StreamPosition> | undefined
  /** Deliveries of streams. */
  #ofStreams = 0
  /** Streams have got acks for all up to this tag, whether it is settled or not. */
  #roomMadeUpTo = 0
  #watching: Set<AbortController> | undefined
  #settledListeners: Set<() => void> | undefined
  /** Made with the first delivery that is traced. */
  traced: TracedDeliveries | undefined
  /** Why the life is over. */
  #reason: (() => Error) | undefined

  constructor(port: ChannelPort, channelId: number, offset: number) {
    this.port = port
    this.channelId = channelId
    this.offset = offset
    this.lastTag = offset
  }

  get endpoint(): Endpoint {
    return this.port.endpoint
  }

  /** Nothing can be settled any more. */
  get over(): boolean {
    return this.#state !== 'open'
  }

  /** Deliveries of a stream have come, and are not settled. */
  get hasStreams(): boolean {
    return this.#positions !== undefined && this.#positions.size > 0
  }

  /** A delivery of a stream came. */
  onStream(position: StreamPosition): void {
    this.#positions ??= new Set()
    this.#positions.add(position)
    this.#ofStreams++
  }

  /** It is not a stream, though some of its deliveries looked so: which ones, is not known any more. */
  onNoStream(position: StreamPosition): void {
    if (this.#positions?.delete(position)) this.#ofStreams = Number.NEGATIVE_INFINITY
  }

  /**
   * Settle a delivery. Returns false, with nothing sent, if it came in an earlier life of the channel, this one is
   * over, a message of a stream is requeued, or it is not known whether it is of a stream and the broker does not allow that.
   */
  settle(how: Settlement, tag: number, multiple: boolean, requeue: boolean): boolean {
    if (!Number.isSafeInteger(tag) || tag < 0 || (tag === 0 && !multiple)) {
      throw new EncodeError(
        `basic.${how}: deliveryTag must be a positive integer${how === 'reject' ? '' : ', or 0 with multiple for all'}, not ${inspectShort(tag)}`,
      )
    }
    if (this.#state !== 'open') return false
    let wireTag = 0
    if (tag !== 0) {
      wireTag = tag - this.offset
      if (wireTag <= 0) return false
    }
    // Nothing has changed if it cannot be written: in a getter of a message that is being encoded.
    if (!this.isOfStream(tag, multiple)) this.#write(how, wireTag, multiple, requeue)
    else {
      const wireHow = this.#onStreams(how, tag, multiple, requeue)
      if (wireHow === undefined) {
        this.traced?.settled(resultOf(how, requeue), tag, multiple)
        return false
      }
      if (tag === 0 || tag > this.#roomMadeUpTo) this.#write(wireHow, wireTag, multiple, false)
      this.#settledOnStreams(tag, multiple)
    }
    if (multiple) this.#doneUpTo = Math.max(this.#doneUpTo, tag === 0 ? this.lastTag : tag)
    if (this.traced !== undefined) this.traced.settled(resultOf(how, requeue), tag, multiple)
    if (this.#settledListeners !== undefined) for (const listener of this.#settledListeners) listener()
    return true
  }

  #write(how: Settlement, wireTag: number, multiple: boolean, requeue: boolean): void {
    if (this.#held !== undefined) {
      this.#held.push(() => {
        if (this.#state === 'open') this.#write(how, wireTag, multiple, requeue)
      })
      return
    }
    const { writer } = this.port
    const bit = multiple ? MULTIPLE : 0
    if (how === 'ack') writeSettlement(writer, this.channelId, BASIC_ACK, wireTag, bit)
    else if (how === 'nack') {
      writeSettlement(writer, this.channelId, BASIC_NACK, wireTag, bit | (requeue ? NACK_REQUEUE : 0))
    } else writeSettlement(writer, this.channelId, BASIC_REJECT, wireTag, requeue ? REJECT_REQUEUE : 0)
    this.sent++
    this.port.outgoing.written()
  }

  /** Whether it, or one up to it with `multiple`, is a stream's, or looks so. */
  isOfStream(tag: number, multiple: boolean): boolean {
    if (this.#positions === undefined) return false
    for (const position of this.#positions) if (position.has(tag, multiple)) return true
    return false
  }

  /** Whether it is a stream's without doubt, so that an ack removes nothing. */
  isKnownStream(tag: number): boolean {
    if (this.#positions === undefined) return false
    for (const position of this.#positions) if (position.isStream === true && position.has(tag, false)) return true
    return false
  }

  /** The ack for streams; undefined if nothing may be sent. */
  #onStreams(how: Settlement, tag: number, multiple: boolean, requeue: boolean): Settlement | undefined {
    if (how === 'ack') return how
    if (!requeue && this.port.takesRejectOfStream) return how
    let isSure = !multiple || this.#ofStreams === this.lastTag - this.offset
    for (const position of this.#positions ?? []) {
      if (position.isStream !== true && position.has(tag, multiple)) isSure = false
    }
    if (isSure) return requeue ? undefined : 'ack'
    const which = multiple ? 'some of the messages up to it are of a stream, or may be' : 'its queue may be a stream'
    this.port.report(
      new EncodeError(
        `basic.${how} of delivery tag ${tag} on channel ${this.channelId} was not sent: ${which}, which takes acks only; declare the stream on this connection, or consume it with an x-stream-offset, and settle its messages by themselves`,
      ),
      'warn',
    )
    return undefined
  }

  #settledOnStreams(tag: number, multiple: boolean): void {
    for (const position of this.#positions ?? []) {
      position.settled(tag, multiple)
      // Its consumer may be cancelled; the next delivery adds it again.
      if (position.isSettled) this.#positions?.delete(position)
    }
  }

  /**
   * Lets a stream send more: unsettled deliveries no longer count for the prefetch window, and can be settled as before. The
   * stream keeps its messages, and the position of a consumer is known here: an ack says nothing else to the broker.
   */
  makeRoom(position: StreamPosition): void {
    const tag = position.lastUnsettled
    if (this.#state !== 'open' || tag <= this.#roomMadeUpTo) return
    this.#write('ack', tag - this.offset, true, false)
    this.#roomMadeUpTo = tag
  }

  /** The queue may give it to another consumer. */
  giveBack(tag: number): void {
    if (tag > this.#doneUpTo) this.settle('nack', tag, false, true)
  }

  /** The broker has taken all of them back (basic.recover). */
  takenBack(): void {
    this.#doneUpTo = this.lastTag
  }

  /**
   * Have `run` called after each settlement, and when nothing can be settled any more. Returns a function that takes it
   * back.
   */
  onSettled(run: () => void): () => void {
    this.#settledListeners ??= new Set()
    const listeners = this.#settledListeners
    listeners.add(run)
    return () => listeners.delete(run)
  }

  // ---- what becomes of work in hand

  /** Trace the work on a delivery, which begins. */
  trace(
    kind: ProcessKind,
    queueName: string,
    body: Buffer,
    envelope: Envelope,
    properties: Properties,
    noAck: boolean,
  ): ProcessTrace {
    const trace = new ProcessTrace(new ProcessContext(this, kind, queueName, body, envelope, properties, noAck))
    if (noAck) trace.settled('noAck')
    else if (this.over) trace.settled('lost')
    else {
      this.traced ??= new TracedDeliveries()
      this.traced.add(trace)
    }
    return trace
  }

  /** A controller that is aborted when its message goes to another consumer. */
  watch(): AbortController {
    const controller = new AbortController()
    if (this.#state === 'over') controller.abort(this.#reason?.())
    else {
      this.#watching ??= new Set()
      this.#watching.add(controller)
    }
    return controller
  }

  /** Its message is settled. */
  unwatch(controller: AbortController): void {
    this.#watching?.delete(controller)
  }

  /** A tx.commit has no answer yet. */
  get waits(): boolean {
    return this.#held !== undefined
  }

  /** tx.commit is written: what is settled from now on, also by this client itself, waits for the reply. */
  wait(): void {
    this.#held = []
  }

  /**
   * Run `write`, of anything else that does not wait for its turn on the channel, when it may be written, or at the end of the
   * life, when it fails.
   */
  inTurn(write: () => void): void {
    if (this.#held === undefined) write()
    else this.#held.push(write)
  }

  /** The reply came. */
  goOn(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const write of held) write()
  }

  /** The broker reads nothing more on the channel, and takes back unsettled deliveries. */
  freeze(): void {
    if (this.#state === 'open') this.#state = 'frozen'
  }

  /** The life is over. */
  end(reason: () => Error): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#reason = reason
    this.goOn()
    this.traced?.lost()
    if (this.#settledListeners !== undefined) for (const listener of [...this.#settledListeners]) listener()
    this.#positions = undefined
    const watching = this.#watching
    this.#watching = undefined
    // Listeners are the program's: they run with the promises that reject for the same reason.
    if (watching !== undefined) void Promise.resolve().then(() => abortAll(watching, reason()))
  }
}

function resultOf(how: Settlement, requeue: boolean): ProcessResult {
  if (how === 'ack') return 'acked'
  return requeue ? 'requeued' : 'rejected'
}

function abortAll(controllers: Iterable<AbortController>, reason: Error): void {
  for (const controller of controllers) controller.abort(reason)
}
