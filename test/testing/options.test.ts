import assert from 'node:assert/strict'
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
  })

  it('refuses options that it does not know', () => {
    assert.throws(() => createMessage('x', { propertes: {} } as never), refusal(/did you mean "properties"/))
    assert.throws(
      () => createMessage('x', { envelope: { exchange: 'x' } } as never),
      refusal(/"envelope": unknown option/),
    )
  })
})
