import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Call, type CallContext, Calls, type CallsHost } from '../../src/channel/calls.ts'
import { AbortError, ChannelClosedError, EncodeError, TimeoutError } from '../../src/errors.ts'
import { placeOfCall } from '../../src/lib/call-site.ts'
import { FakeChannelPort } from '../support/fake-channel-port.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'

const [DECLARE, DECLARE_OK, BIND, BIND_OK, CLOSE, CLOSE_OK] = [1, 2, 3, 4, 5, 6]

class Fixture {
  readonly port = new FakeChannelPort()
  readonly timedOut: Call[] = []
  readonly host: CallsHost = { calls: undefined, timedOut: call => this.timedOut.push(call) }
  readonly calls = new Calls(this.port, this.host, 'and so on')

  declare(what: string, options: Partial<CallContext> = {}, replied?: (reply: unknown, abandoned: boolean) => void) {
    const context = { what, site: undefined, ...options }
    return this.calls.start<unknown>(context, DECLARE, DECLARE_OK, () => replied && { replied })
  }

  bind(what: string, options: Partial<CallContext> = {}) {
    return this.calls.start<unknown>({ what, site: undefined, ...options }, BIND, BIND_OK, () => undefined)
  }
}

describe('Calls', () => {
  it('give each reply to the oldest call that waits for that reply', async () => {
    const { calls, declare, bind } = bound(new Fixture())
    const [a, b, c] = [declare('a'), bind('b'), declare('c')]
    calls.settle(BIND_OK, 'bound')
    calls.settle(DECLARE_OK, 'first')
    calls.settle(DECLARE_OK, 'second')
    assert.deepEqual(await Promise.all([a, b, c]), ['first', 'bound', 'second'])
    assert.equal(calls.settle(DECLARE_OK, 'third'), false)
    assert.equal(calls.isEmpty, true)
  })

  it('are kept by their channel while a reply is due, also one that no caller waits for', async () => {
    const { calls, host, declare } = bound(new Fixture())
    assert.equal(host.calls, undefined)
    const controller = new AbortController()
    const given = declare('a', { signal: controller.signal })
    assert.equal(host.calls, calls)
    controller.abort()
    await rejection(given, AbortError)
    assert.equal(host.calls, calls)
    let next: Promise<unknown> | undefined
    const first = declare('b', {}, () => {
      next = declare('c')
    })
    calls.settle(DECLARE_OK, 'absorbed')
    calls.settle(DECLARE_OK, 'b')
    assert.equal(host.calls, calls)
    calls.settle(DECLARE_OK, 'c')
    assert.equal(host.calls, undefined)
    assert.deepEqual(await Promise.all([first, next]), ['b', 'c'])
  })

  it('give each reply to the oldest that waits for it, in whatever order replies and calls come', async () => {
    const { calls, declare, bind } = bound(new Fixture())
    const first = [declare('a'), bind('b'), declare('c'), bind('d')]
    calls.settle(BIND_OK, 'first bound')
    const later = [bind('e'), declare('f')]
    calls.settle(BIND_OK, 'second bound')
    calls.settle(DECLARE_OK, 'first')
    calls.settle(BIND_OK, 'third bound')
    calls.settle(DECLARE_OK, 'second')
    const last = [declare('g'), bind('h')]
    calls.settle(DECLARE_OK, 'third')
    calls.settle(DECLARE_OK, 'fourth')
    assert.equal(calls.settle(DECLARE_OK, 'fifth'), false)
    calls.settle(BIND_OK, 'fourth bound')
    assert.deepEqual(await Promise.all([...first, ...later, ...last]), [
      ...['first', 'first bound', 'second', 'second bound'],
      ...['third bound', 'third'],
      ...['fourth', 'fourth bound'],
    ])
    assert.equal(calls.isEmpty, true)
  })

  it('have the effect of a reply before its promise resolves', async () => {
    const { calls, declare } = bound(new Fixture())
    const order: string[] = []
    const promise = declare('a', {}, (reply, abandoned) => order.push(`effect ${reply} ${abandoned}`))
    const after = promise.then(() => order.push('resolved'))
    calls.settle(DECLARE_OK, 'r')
    order.push('settled')
    await after
    assert.deepEqual(order, ['effect r false', 'settled', 'resolved'])
  })

  it('start nothing if writing the method throws', async () => {
    const { calls, port } = bound(new Fixture())
    const wrong = calls.start({ what: 'a', site: undefined }, DECLARE, DECLARE_OK, () => {
      throw new EncodeError('bad')
    })
    await rejection(wrong, EncodeError)
    assert.equal(calls.isEmpty, true)
    assert.equal(calls.expects(DECLARE_OK), false)
    assert.equal(port.waiting, 0)
  })

  it('write nothing for a signal that is aborted already', async () => {
    const { calls } = bound(new Fixture())
    const signal = AbortSignal.abort()
    const refused = calls.start({ what: 'a', site: undefined, signal }, DECLARE, DECLARE_OK, () =>
      assert.fail('written'),
    )
    await rejection(refused, AbortError)
  })

  it('absorb the reply to a call that was aborted, and say so to its effect', async () => {
    const { calls, declare, port } = bound(new Fixture())
    const abort = new AbortController()
    const effects: boolean[] = []
    const aborted = declare('queue.declare of "a"', { signal: abort.signal }, (_reply, abandoned) =>
      effects.push(abandoned),
    )
    const next = declare('b')
    abort.abort(new Error('not any more'))
    const error = await rejection(aborted, AbortError)
    assert.equal(error.message, 'queue.declare of "a" was aborted')
    assert.equal((error.cause as Error).message, 'not any more')
    assert.equal(port.waiting, 1)
    assert.equal(calls.settle(DECLARE_OK, 'of a'), true)
    assert.deepEqual(effects, [true])
    calls.settle(DECLARE_OK, 'of b')
    assert.equal(await next, 'of b')
    assert.equal(port.waiting, 0)
  })

  it('give a signal that timed out as a TimeoutError', async () => {
    const { declare } = bound(new Fixture())
    const keepAlive = setTimeout(() => {}, 1000)
    await rejection(declare('a', { signal: AbortSignal.timeout(1) }), TimeoutError)
    clearTimeout(keepAlive)
  })

  it('stop listening to the signal of a call that is settled', async () => {
    const { calls, declare } = bound(new Fixture())
    const { signal } = new AbortController()
    let listeners = 0
    signal.addEventListener = () => listeners++
    signal.removeEventListener = () => listeners--
    const promise = declare('a', { signal })
    assert.equal(listeners, 1)
    calls.settle(DECLARE_OK, undefined)
    await promise
    assert.equal(listeners, 0)
  })

  it('run the general timeout for the oldest call only, from the start each time', async () => {
    const { calls, declare, bind, port, timedOut } = bound(new Fixture())
    const a = declare('a')
    const b = follow(bind('b'))
    assert.equal(port.running.length, 1)
    assert.equal(port.running[0]?.milliseconds, 20_000)
    calls.settle(DECLARE_OK, 1)
    await a
    assert.equal(port.deadlines[0]?.cancelled, true)
    assert.equal(port.running.length, 1)
    port.running[0]?.expire()
    await turn()
    assert.ok(b.error instanceof TimeoutError)
    assert.equal(b.error.message, 'b was not answered by broker:5672 within 20000 ms; and so on')
    assert.deepEqual(
      timedOut.map(call => call.what),
      ['b'],
    )
  })

  it('go on with the general timeout after a call that was aborted and is not answered', async () => {
    const { declare, port } = bound(new Fixture())
    const abort = new AbortController()
    const aborted = declare('a', { signal: abort.signal })
    const behind = follow(declare('b'))
    abort.abort()
    await rejection(aborted, AbortError)
    assert.equal(port.running.length, 1)
    port.running[0]?.expire()
    await turn()
    assert.ok(behind.error instanceof TimeoutError)
  })

  it('keep no other call by one that was given up, whose reply may come much later', async () => {
    const { declare, bind, port, timedOut } = bound(new Fixture())
    const before = follow(bind('before'))
    const givenUp = follow(declare('a', { timeout: 50 }))
    const behind = follow(bind('behind'))
    port.running.find(({ milliseconds }) => milliseconds === 50)?.expire()
    await turn()
    assert.ok(givenUp.error instanceof TimeoutError)
    const [call] = timedOut
    assert.equal(call?.what, 'a')
    assert.deepEqual([call?.previous, call?.next], [undefined, undefined])
    assert.deepEqual([before.error, behind.error], [undefined, undefined])
  })

  it('run a timeout of the call’s own from the call on, whatever waits before it', async () => {
    const { declare, port, timedOut } = bound(new Fixture())
    const a = follow(declare('a'))
    const b = follow(declare('b', { timeout: 50 }))
    assert.deepEqual(
      port.running.map(({ milliseconds }) => milliseconds),
      [20_000, 50],
    )
    port.running[1]?.expire()
    await turn()
    assert.equal(a.state, 'pending')
    assert.match(b.error?.message ?? '', /^b was not answered by broker:5672 within 50 ms/)
    assert.equal(timedOut.length, 1)
  })

  it('run a timeout of the call’s own from when it was made, also if it is sent later', async () => {
    const { port, declare } = bound(new Fixture())
    const late = declare('a', { timeout: 50, since: port.clock.now() - 30 })
    const left = port.running[0]?.milliseconds ?? 0
    assert.ok(left > 0 && left <= 20, `${left} ms`)
    port.running[0]?.expire()
    assert.match((await rejection(late, TimeoutError)).message, /^a was not answered by broker:5672 within 50 ms/)
  })

  it('write nothing for a call whose own timeout is over', async () => {
    const { port, calls, timedOut } = bound(new Fixture())
    const context = { what: 'a', site: undefined, timeout: 50, since: port.clock.now() - 60 }
    const over = calls.start(context, DECLARE, DECLARE_OK, () => assert.fail('it was written'))
    assert.equal((await rejection(over, TimeoutError)).message, 'a was not sent within 50 ms')
    assert.equal(calls.isEmpty, true)
    assert.deepEqual(timedOut, [])
  })

  it('let the general timeout stand still while the broker blocks', () => {
    const { calls, declare, port } = bound(new Fixture())
    void declare('a')
    void declare('b', { timeout: 50 })
    port.isBlocked = true
    calls.blockedChanged()
    assert.deepEqual(
      port.running.map(({ milliseconds }) => milliseconds),
      [50],
    )
    port.isBlocked = false
    calls.blockedChanged()
    assert.deepEqual(
      port.running.map(({ milliseconds }) => milliseconds),
      [50, 20_000],
    )
  })

  it('reject everything with an error of its own, but resolve the method that is spared', async () => {
    const { calls, declare, bind, port } = bound(new Fixture())
    const abort = new AbortController()
    const [a, b] = [declare('a'), bind('b')]
    const close = calls.start({ what: 'close', site: undefined }, CLOSE, CLOSE_OK, () => undefined)
    const aborted = declare('c', { signal: abort.signal })
    abort.abort()
    await rejection(aborted, AbortError)
    calls.failAll(({ what }) => new ChannelClosedError(what), CLOSE)
    const errors = [await rejection(a, ChannelClosedError), await rejection(b, ChannelClosedError)]
    assert.deepEqual(
      errors.map(({ message }) => message),
      ['a', 'b'],
    )
    await close
    assert.equal(port.waiting, 0)
    assert.equal(port.running.length, 0)
    assert.equal(calls.settle(DECLARE_OK, 1), false)
    assert.equal(calls.settle(CLOSE_OK, undefined), true)
    assert.equal(calls.isEmpty, true)
  })

  it('refuse the oldest call whose reply came but cannot be given', async () => {
    const { calls, declare } = bound(new Fixture())
    const a = declare('a')
    const b = declare('b')
    assert.equal(calls.refuse(DECLARE_OK, 'of a', new EncodeError('too large')), true)
    await rejection(a, EncodeError)
    calls.settle(DECLARE_OK, 'of b')
    assert.equal(await b, 'of b')
  })

  it('show the line of the call in the stack of its error', async () => {
    const { calls, declare } = bound(new Fixture())
    const method = (): Promise<unknown> => declare('a', { site: placeOfCall() })
    const failing = callsMethod()
    function callsMethod(): Promise<unknown> {
      return method()
    }
    calls.failAll(() => new ChannelClosedError('over'), 0)
    const { stack } = await rejection(failing, ChannelClosedError)
    assert.match(stack ?? '', /^ChannelClosedError: over\n\s+at callsMethod .*calls\.test/)
  })
})

function bound(fixture: Fixture): {
  readonly calls: Calls
  readonly host: CallsHost
  readonly port: FakeChannelPort
  readonly timedOut: Call[]
  readonly declare: Fixture['declare']
  readonly bind: Fixture['bind']
} {
  const { calls, host, port, timedOut } = fixture
  return {
    calls,
    host,
    port,
    timedOut,
    declare: (...args) => fixture.declare(...args),
    bind: (...args) => fixture.bind(...args),
  }
}
