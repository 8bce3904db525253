import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError, ConnectionClosedError } from '../../src/index.ts'
import { openFixture } from '../support/fixture.ts'
import { uniqueName } from '../support/names.ts'
import { rejection } from '../support/rejection.ts'

describe('a channel', { timeout: 60_000 }, () => {
  it('has a number other than 0 and is open', async () => {
    await using fixture = await openFixture()
    await using channel = await fixture.protocol.channel()
    assert.notEqual(channel.channelId, 0)
    assert.equal(channel.isOpen, true)
  })

  it('is closed when close() resolves', async () => {
    await using fixture = await openFixture()
    const channel = await fixture.protocol.channel()
    assert.equal(await channel.close(), undefined)
    assert.equal(channel.isOpen, false)
    await channel.waitClosed()
  })

  it('closed by a 404 rejects the call with it, and the connection opens another channel', async () => {
    await using fixture = await openFixture()
    const { channel, protocol } = fixture
    const missing = uniqueName('missing')
    const error = await rejection(channel.basicGet(missing), ChannelClosedError)
    assert.equal(error.replyCode, 404)
    assert.ok(error.replyText?.startsWith(`NOT_FOUND - no queue '${missing}' in vhost '`), error.replyText)
    assert.equal(error.method, 'basic.get')
    assert.equal(channel.isOpen, false)

    assert.equal(protocol.state, 'open')
    await using next = await protocol.channel()
    assert.equal(next.isOpen, true)
    assert.equal(await next.basicGet((await next.queueDeclare()).queue), null)
  })

  it('closed twice gives the same promise', async () => {
    await using fixture = await openFixture()
    const channel = await fixture.protocol.channel()
    const closing = channel.close()
    assert.equal(channel.close(), closing)
    await closing
    assert.equal(channel.close(), closing)
  })

  it('has a number of its own', async () => {
    await using fixture = await openFixture()
    const channels = await Promise.all([fixture.protocol.channel(), fixture.protocol.channel()])
    const ids = new Set([fixture.channel, ...channels].map(channel => channel.channelId))
    assert.equal(ids.size, 3)
  })

  it('counts while it is open, and its number is used again after that', async () => {
    await using fixture = await openFixture()
    const { protocol } = fixture
    const before = protocol.channelsIdsCount
    assert.equal(before, 1)
    const channel = await protocol.channel()
    assert.equal(protocol.channelsIdsCount, before + 1)
    await channel.close()
    assert.equal(protocol.channelsIdsCount, before)
    for (let i = 0; i < 50; i++) await (await protocol.channel()).close()
    await using again = await protocol.channel()
    assert.ok(again.channelId <= 3, `the number ${again.channelId} shows that closed ones are not used again`)
    assert.equal(protocol.channelsIdsCount, before + 1)
  })
})

describe('channel.flow', { timeout: 60_000 }, () => {
  it('asks the broker to send, and says that it does', async () => {
    await using fixture = await openFixture()
    assert.deepEqual(await fixture.channel.flow(true), { active: true })
  })

  it('cannot stop a RabbitMQ broker: it closes the connection with 540, which rejects the call', async () => {
    await using fixture = await openFixture()
    const error = await rejection(fixture.channel.flow(false), ConnectionClosedError)
    assert.equal(error.replyCode, 540)
    assert.equal(error.replyText, 'NOT_IMPLEMENTED - active=false')
    const next = await rejection(fixture.channel.flow(true), ConnectionClosedError)
    assert.equal(next.replyCode, 540)
  })

  it('may be asked for again while it is on', async () => {
    await using fixture = await openFixture()
    assert.deepEqual(await fixture.channel.flow(true), { active: true })
    assert.deepEqual(await fixture.channel.flow(true), { active: true })
  })

  it('stays refused after it was on, and rejects whatever is pending on the connection', async () => {
    await using fixture = await openFixture()
    const { channel, protocol } = fixture
    const other = await protocol.channel()
    assert.deepEqual(await channel.flow(true), { active: true })
    const refused = rejection(channel.flow(false), ConnectionClosedError)
    const bystander = rejection(declareUntilRejected(other), ConnectionClosedError)
    assert.equal((await refused).replyCode, 540)
    assert.equal((await bystander).replyCode, 540)
    assert.equal(other.isOpen, false)
  })
})

/** Works on a channel until something ends it. */
async function declareUntilRejected(channel: { queueDeclare(): Promise<unknown> }): Promise<never> {
  for (;;) await channel.queueDeclare()
}
