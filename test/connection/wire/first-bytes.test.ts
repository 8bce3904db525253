import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { explainFirstBytes } from '../../../src/connection/wire/first-bytes.ts'

describe('The first bytes of a server that is none of AMQP 0-9-1', () => {
  const explanations = [
    { from: 'none at all', bytes: '', says: /TLS port \(then use amqps:\/\/ or ssl\), or not an AMQP port\?$/ },
    {
      from: 'another version of AMQP',
      bytes: 'AMQP\x03\x01\x00\x00',
      says: /speaks AMQP 1\.0\.0 \(protocol id 3\), not 0-9-1$/,
    },
    { from: 'another version of AMQP, cut', bytes: 'AMQP\x00\x01\x00', says: /speaks AMQP 1\.0 \(protocol id 0\)/ },
    { from: 'HTML', bytes: '<!DOCTYPE html>', says: /looks like HTTP/ },
    { from: 'HTTP', bytes: 'HTTP/1.1 400 Bad Request\r\n', says: /looks like HTTP.*management page\?$/ },
    { from: 'SSH', bytes: 'SSH-2.0-OpenSSH_9.2\r\n', says: /looks like SSH/ },
    { from: 'a TLS alert', bytes: '\x15\x03\x03\x00\x02\x02\x0a', says: /TLS port\? then use amqps:\/\/ or ssl$/ },
    { from: 'a TLS handshake', bytes: '\x16\x03\x01\x00\x05', says: /TLS port\?/ },
  ]
  for (const { from, bytes, says } of explanations) {
    it(`explain themselves: ${from}`, () => {
      assert.match(explainFirstBytes(Buffer.from(bytes, 'latin1'), false) ?? '', says)
    })
  }

  it('are not said to need TLS if there is TLS', () => {
    assert.equal(
      explainFirstBytes(Buffer.alloc(0), true),
      'the server closed the connection before it said anything: is this not an AMQP port?',
    )
  })

  it('are left alone if they may be a frame', () => {
    assert.equal(explainFirstBytes(Buffer.from('0100000000', 'hex'), false), undefined)
    assert.equal(explainFirstBytes(Buffer.from('hello'), false), undefined)
  })
})
