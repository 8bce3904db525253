import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConfirmWindow } from '../../../src/channel/publish/confirm-window.ts'
import { Publishing, type PublishingConnection, type PublishingHost } from '../../../src/channel/publish/publishing.ts'
import { AbortError, BufferFullError, ChannelClosedError, EncodeError, TimeoutError } from '../../../src/errors.ts'
import { FakeChannelPort } from '../../support/fake-channel-port.ts'
import { rejection } from '../../support/rejection.ts'
import { follow, turn } from '../../support/settled.ts'

const BODY_FRAME = 3

class Fixture implements PublishingHost, PublishingConnection {
  readonly port = new FakeChannelPort()
  readonly clock = this.port.clock
  readonly publishes = this.port.publishes
  readonly endpoint = this.port.endpoint
  readonly publishGoal = 'its turn to be written'
  readonly id = 1
  readonly reported: unknown[] = []
  readonly maxWaiting: number
  readonly publishing: Publishing
  #isBack = false

  constructor(maxWaiting = Number.POSITIVE_INFINITY) {
    this.maxWaiting = maxWaiting
    this.publishing = new Publishing(this, this)
    this.publishing.confirmSelects++
  }

  after = (milliseconds: number, expired: () => void) => this.port.after(milliseconds, expired)
  report(error: unknown): void {
    this.reported.push(error)
  }
  assertUsable(): void {}
  isBack(): boolean {
    return this.#isBack
  }
  transactionBegun(): void {}

  begin(): ConfirmWindow {
    const window = new ConfirmWindow(this.port, 1, 0)
    window.startCounting()
    this.publishing.begin(window)
    this.#isBack = true
    this.publishing.allowOperations()
    return window
  }

  publish(body: string, options?: { readonly timeout?: number; readonly signal?: AbortSignal }): Promise<void> {
    return this.publishing.publish(body, '', 'q', undefined, false, options)
  }

  operation(name: string, behindPublishes = false): { ran: boolean; readonly done: Promise<void> } {
    const run = async (): Promise<void> => {
      operation.ran = true
      // It shows its place in the order of the wire.
      void this.publishing.window?.send(name, '', 'q', undefined, false)
    }
    const operation = { ran: false, done: Promise.resolve() }
    operation.done = this.publishing.defer(run, { what: name, site: undefined }, behindPublishes)
    operation.done.catch(() => {})
    return operation
  }

  /** The bodies written since the last look. */
  get written(): string {
    const bytes = Buffer.concat(this.port.writer.take())
    let bodies = ''
    for (let at = 0; at < bytes.length; ) {
      const end = at + 7 + bytes.readUInt32BE(at + 3)
      if (bytes[at] === BODY_FRAME) bodies += bytes.toString('latin1', at + 7, end)
      at = end + 1
    }
    return bodies
  }
}

describe('what a channel publishes', () => {
  it('waits for a life, and then is done in the order of the calls, whatever it is', async () => {
    const the = new Fixture()
    const all = [the.publish('a'), the.operation('b').done, the.publish('c'), the.operation('d', true).done].map(follow)
    const window = the.begin()
    assert.equal(the.written, 'abcd')
    window.settle(0, true, true)
    await turn()
    assert.ok(all.every(({ state }) => state === 'resolved'))
  })

  it('waits on if the new life takes nothing yet, while other operations go, but for those after it', async () => {
    const the = new Fixture()
    void the.publish('a')
    const operation = the.operation('b')
    void the.publish('c')
    const behind = the.operation('d', true)
    void the.publish('e')
    the.port.publishable = false
    the.begin()
    assert.equal(the.written, 'b')
    assert.deepEqual([operation.ran, behind.ran], [true, false])
    void the.publish('f')
    the.port.publishable = true
    the.publishing.resume()
    assert.equal(the.written, 'acdef')
  })

  it('goes on where it was when the gate closes in the middle, and nothing newer goes first', () => {
    const the = new Fixture()
    the.begin()
    the.port.publishable = false
    for (const body of 'abc') void the.publish(body)
    const publishWritten = the.port.publishWritten
    the.port.publishable = true
    the.port.publishWritten = () => {
      the.port.publishable = false
      return undefined
    }
    the.publishing.resume()
    assert.equal(the.written, 'a')
    the.port.publishWritten = publishWritten
    the.port.publishable = true
    void the.publish('d')
    the.publishing.resume()
    assert.equal(the.written, 'bcd')
  })

  it('waits over several lives, each of which may end before the next began', () => {
    const the = new Fixture()
    the.begin()
    the.port.publishable = false
    void the.publish('a')
    the.publishing.end()
    void the.publish('b')
    the.begin()
    the.publishing.end()
    void the.publish('c')
    the.port.publishable = true
    the.begin()
    assert.equal(the.written, 'abc')
  })

  it('is not sent when its timeout or its signal ends it in front of the write, which then goes on with the next', async () => {
    const the = new Fixture()
    the.begin()
    the.port.publishable = false
    const abort = new AbortController()
    const timed = the.publish('a', { timeout: 50 })
    const aborted = the.publish('b', { signal: abort.signal })
    void the.publish('c')
    the.port.running[0]?.expire()
    abort.abort()
    assert.equal((await rejection(timed, TimeoutError)).outcome, 'notSent')
    assert.equal((await rejection(aborted, AbortError)).outcome, 'notSent')
    assert.throws(() => the.publish('d', { signal: abort.signal }), { name: 'AbortError', outcome: 'notSent' })
    the.port.publishable = true
    the.publishing.resume()
    assert.equal(the.written, 'c')
  })

  it('is of unknown fate when they end it after the write, and the channel goes on', async () => {
    const the = new Fixture()
    const window = the.begin()
    const timed = the.publish('a', { timeout: 50 })
    const next = follow(the.publish('b', { timeout: 50 }))
    the.port.running[0]?.expire()
    assert.equal((await rejection(timed, TimeoutError)).outcome, 'unknown')
    window.settle(2, true, true)
    await turn()
    assert.equal(next.state, 'resolved')
    assert.deepEqual([the.port.running, the.port.waiting], [[], 0])
  })

  it('ends an operation that waits for it by the timeout of that, which is taken back', async () => {
    const the = new Fixture()
    the.begin()
    the.port.publishable = false
    void the.publish('a')
    const timed = the.publishing.defer(
      async () => assert.fail('it ran'),
      { what: 'tx.commit', site: undefined, timeout: 50 },
      true,
    )
    the.port.running[0]?.expire()
    assert.equal((await rejection(timed, TimeoutError)).outcome, 'notSent')
    the.port.publishable = true
    the.publishing.resume()
    assert.equal(the.written, 'a')
  })

  it('lets an operation go when the last publish in front of it is given up', () => {
    const the = new Fixture()
    the.begin()
    the.port.publishable = false
    the.publish('a', { timeout: 50 }).catch(() => {})
    const behind = the.operation('b', true)
    assert.equal(behind.ran, false)
    the.port.running[0]?.expire()
    assert.equal(behind.ran, true)
  })

  it('goes when an operation in front of it is given up that could not go yet', async () => {
    const the = new Fixture()
    const operation = the.publishing.defer(async () => {}, { what: 'a', site: undefined, timeout: 50 })
    void the.publish('b')
    const window = new ConfirmWindow(the.port, 1, 0)
    the.publishing.begin(window)
    assert.equal(the.written, '')
    assert.equal(the.port.waiting, 1)
    the.port.running[0]?.expire()
    await rejection(operation, TimeoutError)
    assert.equal(the.written, 'b')
    assert.equal(the.port.waiting, 0)
  })

  it('is refused past maxWaiting, whatever waits; what need not wait is not', async () => {
    const the = new Fixture(2)
    void the.publish('a')
    void the.operation('b')
    assert.throws(() => the.publish('c'), BufferFullError)
    const error = await rejection(the.operation('d').done, BufferFullError)
    assert.equal(error.message, 'd was refused: 2 operations wait already, the limit set by maxWaiting')
    const none = new Fixture(0)
    assert.throws(() => none.publish('a'), BufferFullError)
    none.begin()
    void none.publish('a')
    assert.equal(none.written, 'a')
  })

  it('is checked before it waits; onError gets the error of one that need not be awaited', async () => {
    const the = new Fixture()
    the.begin()
    the.port.publishable = false
    assert.throws(() => the.publishing.publish('a', '', 'k'.repeat(256), undefined, false, undefined), EncodeError)
    const error = await rejection(the.publishing.basicPublish('a', '', 'k'.repeat(256), undefined, false), EncodeError)
    assert.equal(error.outcome, 'notSent')
    assert.deepEqual(the.reported, [error])
    assert.equal(the.publishing.waiting, 0)
  })

  it('rejects when the channel is over, each with an error of its own; onError is called once for those that need not be awaited', async () => {
    const the = new Fixture()
    the.begin()
    the.port.publishable = false
    const all = [
      the.publish('a'),
      the.operation('b').done,
      the.publishing.basicPublish('c', 'x', 'q', undefined, false),
      the.publishing.basicPublish('d', 'x', 'q', undefined, false),
    ].map(follow)
    the.publishing.failAll(what => new ChannelClosedError(`${what} failed`, { outcome: 'notSent' }))
    await turn()
    assert.deepEqual(
      all.map(({ error }) => error?.message),
      [
        'publish of a message to the default exchange with routing key "q" failed',
        'b failed',
        'publish of a message to exchange "x" with routing key "q" failed',
        'publish of a message to exchange "x" with routing key "q" failed',
      ],
    )
    assert.deepEqual(the.reported, [all[2]?.error])
    assert.equal(the.port.waiting, 0)
  })

  it('keeps the connection reading while it waits', async () => {
    const the = new Fixture()
    the.begin()
    the.port.publishable = false
    void the.publishing.basicPublish('a', '', 'q', undefined, false)
    assert.equal(the.port.waiting, 1)
    the.port.publishable = true
    the.publishing.resume()
    assert.equal(the.port.waiting, 0)
  })
})
