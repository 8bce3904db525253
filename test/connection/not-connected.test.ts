import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { NotConnected } from '../../src/connection/not-connected.ts'
import { resolveSettings } from '../../src/connection/settings/settings.ts'
import { EncodeError } from '../../src/index.ts'

describe('what stands for a connection before there is one', () => {
  const servers = ['one', 'two'].map(host => ({ host, port: 5671 }))
  const settings = resolveSettings({ servers, ssl: {}, virtualhost: '/orders', connectionName: 'billing' })
  const none = new NotConnected(settings)

  it('is about the server that is tried first', () => {
    const { connectionId } = settings
    assert.deepEqual(none.endpoint, {
      connectionId,
      serverAddress: 'one',
      serverPort: 5671,
      virtualHost: '/orders',
      connectionName: 'billing',
    })
    assert.deepEqual(none.peer, { host: 'one', port: 5671, localPort: 0, encrypted: true })
  })

  it('names all servers in errors', () => {
    assert.equal(none.server, 'one:5671, two:5671')
  })

  it('refuses what no connection could send, and takes a message of any size', () => {
    none.publishes.check('', 'q', false, undefined, Buffer.alloc(1_000_000))
    assert.throws(() => none.publishes.check('', 'k'.repeat(256), false, undefined, 'm'), EncodeError)
  })
})
