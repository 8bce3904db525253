import assert from 'node:assert/strict'
import { channel } from 'node:diagnostics_channel'
import { describe, it } from 'node:test'
import { EncodeError } from '../../src/errors.ts'
import { createMessage, startBroker } from '../../src/testing/index.ts'

function refusal(pattern: RegExp): (error: unknown) => boolean {
  return error => error instanceof EncodeError && pattern.test(error.message)
}

describe('startBroker', () => {
  for (const [options, pattern] of [
    [{ relaese: '4.3' }, /unknown option "relaese"; did you mean "release"\?/],
    [{ release: '5' }, /startBroker: "release" must be "3\.10" or "4\.3", not "5"/],
    [{ port: '1' }, /"port" must be an integer/],
    [{ heartbeat: -1 }, /"heartbeat" must be an integer/],
    [{ vhosts: 'test' }, /"vhosts" must be a list of names/],
    [{ users: { me: 'secret' } }, /user "me": "options" must be an object with a password/],
    [{ users: { me: {} } }, /user "me": "password" must be a string/],
    [null, /the options must be an object, not null/],
  ] as const) {
    it(`refuses ${JSON.stringify(options)}`, async () => {
      await assert.rejects(startBroker(options as never), refusal(pattern))
    })
  }
})

describe('A broker for tests', () => {
  it('refuses names, close reasons and waits that it does not know', async () => {
    await using broker = await startBroker()
    assert.throws(() => broker.closeConnections({ code: 320 } as never), refusal(/unknown option "code"/))
    assert.throws(() => broker.closeChannels('text' as never), refusal(/the options must be an object/))
    assert.throws(() => broker.setUser('me', {} as never), refusal(/"password" must be a string/))
    assert.throws(() => broker.setUser(5 as never, { password: '' }), refusal(/setUser: "name" must be a string/))
    assert.throws(() => broker.queue(undefined as never), refusal(/queue: "name" must be a string, not undefined/))
    assert.throws(() => broker.exchange(5 as never), refusal(/exchange: "name" must be a string/))
    assert.throws(() => broker.queue('q', null as never), refusal(/queue: "vhost" must be a string, not null/))
    await assert.rejects(broker.queue('q').hasReady(1, { timout: 1 } as never), refusal(/did you mean "timeout"/))
    await assert.rejects(broker.hasPublished(1, { timeout: 'x' } as never), refusal(/"timeout" must be a number/))
  })
})

describe('createMessage', () => {
  it('takes the payloads that publish takes, with the content type of JSON', () => {
    const message = createMessage({ id: 1 })
    assert.equal(message.text(), '{"id":1}')
    assert.equal(message.properties.contentType, 'application/json')
    assert.equal(createMessage('text').properties.contentType, undefined)
    assert.equal(createMessage({}, { properties: { contentType: 'x/y' } }).properties.contentType, 'x/y')
    for (const body of [undefined, 5, new Map()]) {
      assert.throws(() => createMessage(body as never), refusal(/createMessage: payload must be/))
    }
    assert.throws(() => createMessage('\ud800'), refusal(/payload has a lone surrogate/))
  })

  it('refuses properties and places that publish refuses, and takes undefined for a default', () => {
    const refused = [
      [{ properties: null }, /properties must be an object, not null/],
      [{ properties: { priority: 'high' } }, /priority/],
      [{ envelope: { routingKey: 7 } }, /routing/],
      [{ signal: {} }, /createMessage: "signal" must be an AbortSignal/],
    ] as const
    for (const [options, pattern] of refused) {
      for (const body of ['x', {}]) assert.throws(() => createMessage(body, options as never), refusal(pattern))
    }
    const { envelope } = createMessage('x', { envelope: { deliveryTag: undefined, routingKey: 'bills' } as never })
    assert.deepEqual(envelope, { ...createMessage('x').envelope, routingKey: 'bills' })
  })

  it('makes a message that cannot be settled once it is lost, nor lost once it is settled', () => {
    const lost = new AbortController()
    const [held, settled] = [lost, lost].map(({ signal }) => createMessage('x', { signal }))
    assert.equal(settled?.ack(), true)
    lost.abort(new Error('cut'))
    assert.deepEqual([held?.signal.aborted, held?.ack(), held?.settlement], [true, false, undefined])
    assert.deepEqual([settled?.signal.aborted, settled?.settlement?.how], [false, 'ack'])
    assert.equal(createMessage('x', { signal: lost.signal }).reject(), false)
  })

  it('makes any number of messages with one signal', async () => {
    const warnings: Error[] = []
    const warned = (warning: Error): void => void warnings.push(warning)
    process.on('warning', warned)
    const { signal } = new AbortController()
    const messages = Array.from({ length: 50 }, () => createMessage('x', { signal }))
    await new Promise(resolve => setImmediate(resolve))
    process.off('warning', warned)
    assert.deepEqual(warnings, [])
    for (const message of messages) assert.equal(message.signal.aborted, false)
  })

  it('makes a message that remembers how it was settled also while settlements are traced', () => {
    const start = channel('tracing:asyncamqp:settle:start')
    const traced = (): void => {}
    start.subscribe(traced)
    const message = createMessage('x')
    assert.equal(message.nack(), true)
    start.unsubscribe(traced)
    assert.deepEqual(message.settlement, { how: 'nack', requeue: true })
  })

  it('refuses options that it does not know', () => {
    assert.throws(() => createMessage('x', { propertes: {} } as never), refusal(/did you mean "properties"/))
    assert.throws(
      () => createMessage('x', { envelope: { exchange: 'x' } } as never),
      refusal(/"envelope": unknown option/),
    )
  })
})
