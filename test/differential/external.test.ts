import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AuthenticationError, connect } from '../../src/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { createAuthority } from '../support/broker.ts'

const authority = await createAuthority()

describe('A client of the broker in the process with a certificate', () => {
  const { certificate: ca } = authority
  const server = authority.issue({ commonName: 'localhost', usage: 'server', names: ['localhost'] })
  const client = authority.issue({ commonName: 'certificate-user', usage: 'client' })
  const tls = { ca, cert: server.certificate, key: server.key, requestCert: true, rejectUnauthorized: false }
  const users = { guest: { password: 'guest' }, 'certificate-user': { password: 'another way in' } }
  const external = { loginMethod: 'EXTERNAL', recovery: false } as const

  it('is logged in by it as the user that it names', async () => {
    await using broker = await startBroker({ tls, users })
    const ssl = { ca, cert: client.certificate, key: client.key }
    await using protocol = await connect(broker.tlsUrl, { ssl, ...external })
    await protocol.queueDeclare('mine', { exclusive: true })
    assert.equal(broker.queue('mine').exists, true)
  })

  it('is refused if it has none, or if no user has its name', async () => {
    await using broker = await startBroker({ tls })
    await assert.rejects(connect(broker.tlsUrl, { ssl: { ca }, ...external }), AuthenticationError)
    const ssl = { ca, cert: client.certificate, key: client.key }
    await assert.rejects(connect(broker.tlsUrl, { ssl, ...external }), AuthenticationError)
  })
})
