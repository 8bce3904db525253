import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DeferredOperations } from '../../src/channel/deferred.ts'
import { AbortError, type AmqpError, BufferFullError, ConnectionLostError, TimeoutError } from '../../src/errors.ts'
import { FakeChannelPort } from '../support/fake-channel-port.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'

function fixture(most = Number.POSITIVE_INFINITY) {
  const port = new FakeChannelPort()
  return { port, deferred: new DeferredOperations(most, (ms, expired) => port.after(ms, expired)) }
}

describe('DeferredOperations', () => {
  it('run in the order they were asked for, when they may', async () => {
    const { deferred } = fixture()
    const order: string[] = []
    const run = (name: string) =>
      deferred.add(
        async () => {
          order.push(name)
          return name
        },
        { what: name, site: undefined },
      )
    const all = [run('a'), run('b'), run('c')]
    await turn()
    assert.deepEqual(order, [])
    deferred.runAll()
    assert.deepEqual(await Promise.all(all), ['a', 'b', 'c'])
    assert.deepEqual(order, ['a', 'b', 'c'])
  })

  it('are given up at their timeout or abort, and then never run', async () => {
    const { deferred, port } = fixture()
    const abort = new AbortController()
    const never = () => assert.fail('it ran')
    const timed = deferred.add(never, { what: 'queue.declare of "a"', site: undefined, timeout: 50 })
    const aborted = deferred.add(never, { what: 'publish', site: undefined, signal: abort.signal, outcome: 'notSent' })
    port.running[0]?.expire()
    abort.abort()
    const error = await rejection(timed, TimeoutError)
    assert.equal(error.message, 'queue.declare of "a" was not sent within 50 ms: the connection is being recovered')
    assert.equal((await rejection(aborted, AbortError)).outcome, 'notSent')
    deferred.runAll()
  })

  it('stop their bounds when they run: the operation has its own', async () => {
    const { deferred, port } = fixture()
    const operation = follow(deferred.add(() => new Promise(() => {}), { what: 'a', site: undefined, timeout: 50 }))
    deferred.runAll()
    assert.equal(port.running.length, 0)
    await turn()
    assert.equal(operation.state, 'pending')
  })

  it('are refused for a signal that is aborted already, and past maxWaiting', async () => {
    const { deferred } = fixture(1)
    const nothing = async () => undefined
    await rejection(deferred.add(nothing, { what: 'a', site: undefined, signal: AbortSignal.abort() }), AbortError)
    void deferred.add(nothing, { what: 'b', site: undefined })
    const error = await rejection(deferred.add(nothing, { what: 'c', site: undefined }), BufferFullError)
    assert.equal(error.message, 'c was refused: 1 operations wait already, the limit set by maxWaiting')
  })

  it('reject all with errors made for each', async () => {
    const { deferred } = fixture()
    const all = ['a', 'b'].map(what => follow(deferred.add(async () => undefined, { what, site: undefined })))
    deferred.failAll(({ what }): AmqpError => new ConnectionLostError(what, { reason: 'socket' }))
    await turn()
    assert.deepEqual(
      all.map(({ error }) => error?.message),
      ['a', 'b'],
    )
  })
})
