import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type CloseReason, closedByClient, closedByServer } from '../../../src/channel/close-reason.ts'
import { closedByServer as connectionClosedByServer, lost } from '../../../src/connection/close-reasons.ts'
import { PoisonSearch } from '../../../src/patterns/publish/poison-search.ts'
import { BasicPublish } from '../../../src/protocol/methods.ts'

interface Message {
  readonly id: number
  readonly exchange: string
  readonly routingKey: string
}

const message = (id: number, exchange = 'x', routingKey = 'k'): Message => ({ id, exchange, routingKey })
const ids = (messages: readonly Message[]): number[] => messages.map(({ id }) => id)
const all = (): boolean => true

/** The broker closed the channel over a publish. */
const channelClosed = (replyText = 'PRECONDITION_FAILED - invalid expiration', replyCode = 406): CloseReason =>
  closedByServer(1, replyCode, replyText, BasicPublish.classId, BasicPublish.methodId)
const broken = connectionClosedByServer('host:5672', 541, 'INTERNAL_ERROR', 0, 0)
const cut = lost('host:5672', 'socket', 'read ECONNRESET')

/**
 * Publishes as the search says, to a broker that closes over what `closes` says, until all is settled. Each step is one
 * channel.
 */
function run(
  count: number,
  closes: (message: Message) => CloseReason | undefined,
): { readonly atFault: number[]; readonly saved: number[]; readonly channels: number } {
  const search = new PoisonSearch<Message>()
  let queue = Array.from({ length: count }, (_, id) => message(id))
  const atFault: number[] = []
  const saved: number[] = []
  let channels = 0
  while (queue.length > 0) {
    channels++
    for (;;) {
      const written = queue.splice(0, search.state === 'none' ? queue.length : 1)
      const closing = written.find(each => closes(each) !== undefined)
      if (closing === undefined) {
        saved.push(...ids(written))
        search.settled(queue[0])
        if (queue.length === 0) break
        continue
      }
      const verdict = search.channelEnded(written, closes(closing) ?? cut, all)
      atFault.push(...ids(verdict.atFault))
      queue = [...verdict.again, ...queue]
      search.settled(queue[0])
      break
    }
  }
  assert.equal(search.state, 'none')
  return { atFault, saved, channels }
}

describe('The search for a message that the broker refuses', () => {
  it('blames the only message on a channel that the broker closed over a publish, and is certain', () => {
    const search = new PoisonSearch<Message>()
    const verdict = search.channelEnded([message(1)], channelClosed(), all)
    assert.deepEqual(ids(verdict.atFault), [1])
    assert.equal(verdict.certain, true)
    assert.equal(search.state, 'none')
  })

  it('blames no message if the channel or the connection ended for another reason', () => {
    const other = closedByServer(1, 404, "NOT_FOUND - no queue 'q'", 60, 20)
    const shutdown = connectionClosedByServer('host:5672', 320, 'CONNECTION_FORCED', 0, 0)
    for (const ending of [cut, closedByClient(1), other, shutdown]) {
      const search = new PoisonSearch<Message>()
      const verdict = search.channelEnded([message(1), message(2)], ending, all)
      assert.deepEqual(verdict.atFault, [])
      assert.deepEqual(ids(verdict.again), [1, 2])
      assert.equal(search.state, 'none')
    }
  })

  it('blames the messages whose exchange the broker names, and is certain of one only', () => {
    const missing = channelClosed("NOT_FOUND - no exchange 'gone' in vhost '/'", 404)
    const one = new PoisonSearch<Message>().channelEnded([message(1), message(2, 'gone'), message(3)], missing, all)
    assert.deepEqual(ids(one.atFault), [2])
    assert.deepEqual(ids(one.again), [1, 3])
    assert.equal(one.certain, true)
    const search = new PoisonSearch<Message>()
    const two = search.channelEnded([message(1, 'gone'), message(2, 'gone'), message(3)], missing, all)
    assert.deepEqual(ids(two.atFault), [1, 2])
    assert.equal(two.certain, false)
    assert.equal(search.state, 'none')
  })

  it('publishes the messages one by one if the broker names none, and goes back to all once they are settled', () => {
    const search = new PoisonSearch<Message>()
    const messages = [message(1), message(2), message(3)]
    const first = search.channelEnded(messages, channelClosed(), all)
    assert.deepEqual(first.atFault, [])
    assert.deepEqual(ids(first.again), [1, 2, 3])
    assert.equal(search.state, 'one by one')
    search.settled(messages[1])
    const second = search.channelEnded(messages.slice(1, 2), channelClosed(), all)
    assert.deepEqual(ids(second.atFault), [2])
    search.settled(messages[2])
    assert.equal(search.state, 'one by one')
    search.settled(message(4))
    assert.equal(search.state, 'none')
  })

  it('goes on after a lost connection that has nothing to do with it', () => {
    const search = new PoisonSearch<Message>()
    const messages = [message(1), message(2)]
    search.channelEnded(messages, channelClosed(), all)
    const verdict = search.channelEnded(messages.slice(0, 1), cut, all)
    assert.deepEqual(ids(verdict.again), [1])
    assert.equal(search.state, 'one by one')
    search.settled(messages[0])
    assert.equal(search.state, 'one by one')
  })

  it('publishes alone after a hard error, and blames a message only if the broker closes the connection over it twice', () => {
    const search = new PoisonSearch<Message>()
    const messages = [message(1), message(2)]
    assert.deepEqual(search.channelEnded(messages, broken, all).atFault, [])
    assert.equal(search.state, 'alone')
    const once = search.channelEnded(messages.slice(0, 1), broken, all)
    assert.deepEqual(once.atFault, [])
    assert.deepEqual(ids(once.again), [1])
    const twice = search.channelEnded(messages.slice(0, 1), broken, all)
    assert.deepEqual(ids(twice.atFault), [1])
    assert.equal(twice.certain, false)
  })

  it('blames no message that was confirmed between two hard errors', () => {
    const search = new PoisonSearch<Message>()
    const messages = [message(1), message(2)]
    search.channelEnded(messages, broken, all)
    search.channelEnded(messages.slice(0, 1), broken, all)
    search.settled(messages[1])
    assert.deepEqual(search.channelEnded(messages.slice(1), broken, all).atFault, [])
  })

  it('takes up a hard error while it publishes one by one', () => {
    const search = new PoisonSearch<Message>()
    const messages = [message(1), message(2)]
    search.channelEnded(messages, channelClosed(), all)
    search.channelEnded(messages.slice(0, 1), broken, all)
    assert.equal(search.state, 'alone')
    const verdict = search.channelEnded(messages.slice(0, 1), channelClosed(), all)
    assert.deepEqual(ids(verdict.atFault), [1])
    assert.equal(search.state, 'alone')
    search.settled(undefined)
    assert.equal(search.state, 'none')
  })

  it('forgets messages that no caller waits for any more', () => {
    const search = new PoisonSearch<Message>()
    const messages = [message(1), message(2)]
    const verdict = search.channelEnded(messages, channelClosed(), ({ id }) => id === 2)
    assert.deepEqual(ids(verdict.again), [2])
    const none = new PoisonSearch<Message>()
    none.channelEnded(messages, channelClosed(), () => false)
    assert.equal(none.state, 'none')
  })

  it('finds every message at fault and saves all others in order, wherever they stand', () => {
    for (let bad = 0; bad < 2 ** 6; bad++) {
      const isBad = ({ id }: Message): boolean => (bad & (1 << id)) !== 0
      const numbers = Array.from({ length: 6 }, (_, id) => id)
      for (const ending of [channelClosed(), broken]) {
        const { atFault, saved, channels } = run(6, each => (isBad(each) ? ending : undefined))
        assert.deepEqual(
          atFault,
          numbers.filter(id => isBad(message(id))),
        )
        assert.deepEqual(
          saved,
          numbers.filter(id => !isBad(message(id))),
        )
        assert.ok(channels <= 2 + 2 * atFault.length, `${channels} channels for ${atFault.length} messages at fault`)
      }
    }
  })
})
