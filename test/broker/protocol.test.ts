import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import {
  AmqpProtocol,
  AmqpUriError,
  AuthenticationError,
  ConnectionError,
  ConnectionFailedError,
  connect,
  fromUrl,
} from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { uniqueName } from '../support/names.ts'
import { rejection } from '../support/rejection.ts'
import { openScriptedServer } from '../support/scripted-server.ts'
import { watchSockets } from '../support/sockets.ts'

const skip = broker.has('tlsUrl') ? false : 'the broker has no TLS listener'

describe('an AmqpProtocol', { timeout: 60_000 }, () => {
  it('is open once connect() has resolved', async () => {
    await using protocol = await connect(broker.url)
    assert.ok(protocol instanceof AmqpProtocol)
    assert.equal(protocol.state, 'open')
    assert.equal(protocol.peer.port, broker.port)
    assert.equal(protocol.peer.encrypted, false)
  })

  it('sends the server the client properties it was given, beside its own', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { clientProperties: { program: 'test', version: 'mine' }, recovery: false })
    const peer = await server.accept()
    const { clientProperties } = await peer.handshake()
    await using protocol = await connecting
    assert.equal(protocol.state, 'open')
    assert.equal(clientProperties['program'], 'test')
    assert.equal(clientProperties['version'], 'mine')
    assert.equal(clientProperties['product'], 'asyncamqp')
  })

  it('is refused for an unknown virtual host, with the broker’s 530', async () => {
    const virtualhost = uniqueName('missing')
    const error = await rejection(connect(broker.url, { virtualhost }), AuthenticationError)
    assert.ok(error instanceof ConnectionError)
    assert.equal(error.replyCode, 530)
    assert.equal(error.replyText, `NOT_ALLOWED - vhost ${virtualhost} not found`)
    assert.ok(error.message.includes(`${broker.host}:${broker.port}`), error.message)
  })

  it('is refused for a wrong login, with the broker’s 403', async () => {
    const error = await rejection(connect(broker.url, { login: 'nobody', password: 's3cret' }), AuthenticationError)
    assert.ok(error instanceof ConnectionError)
    assert.equal(error.replyCode, 403)
    assert.ok(error.replyText?.startsWith('ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN'))
    assert.ok(error.message.includes(`${broker.host}:${broker.port}`), error.message)
    assert.ok(!error.message.includes('s3cret'))
  })
})

describe('fromUrl()', { timeout: 60_000 }, () => {
  it('takes host, port, login, password and virtual host from the URL', async () => {
    await using server = await openScriptedServer()
    const connecting = fromUrl(`amqp://us%40er:p%23w@127.0.0.1:${server.port}/v%2Fhost`, { recovery: false })
    const peer = await server.accept()
    const { mechanism, response, virtualhost } = await peer.handshake()
    await using protocol = await connecting
    assert.equal(mechanism, 'PLAIN')
    assert.equal(response.toString(), '\0us@er\0p#w')
    assert.equal(virtualhost, 'v/host')
    assert.equal(protocol.peer.host, '127.0.0.1')
    assert.equal(protocol.peer.port, server.port)
  })

  it('connects to the broker', async () => {
    await using protocol = await fromUrl(broker.url)
    assert.equal(protocol.state, 'open')
  })

  it('with amqps keeps the TLS options it was given', { skip }, async () => {
    const ca = await readFile(broker.caFile)
    await using protocol = await fromUrl(broker.tlsUrl, { ssl: { ca } })
    assert.equal(protocol.state, 'open')
    assert.equal(protocol.peer.encrypted, true)
    assert.equal(protocol.peer.port, broker.tlsPort)
  })

  it('with amqps and no TLS options verifies the certificate with the defaults of Node', { skip }, async () => {
    const error = await rejection(fromUrl(broker.tlsUrl), ConnectionFailedError)
    assert.equal(error.attempts.length, 1)
    assert.equal(error.attempts[0]?.step, 'tls')
    const cause = error.attempts[0]?.cause as NodeJS.ErrnoException
    assert.match(cause.code ?? '', /^(SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE)$/)

    await using protocol = await fromUrl(broker.tlsUrl, { verifySsl: false })
    assert.equal(protocol.peer.encrypted, true)
  })

  it('refuses another scheme with an AmqpUriError, before any socket is opened', async t => {
    const sockets = watchSockets(t)
    for (const url of ['http://localhost/', 'invalid://', 'localhost:5672']) {
      const error = await rejection(fromUrl(url), AmqpUriError)
      assert.match(error.message, /amqp:/)
      assert.match(error.message, new RegExp(`${url.slice(0, url.indexOf(':'))}`))
    }
    assert.deepEqual(sockets, [])
  })
})
