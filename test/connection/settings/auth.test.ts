import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Credentials, chooseMechanism, type SaslMechanism } from '../../../src/connection/settings/auth.ts'
import { AuthenticationError, EncodeError } from '../../../src/errors.ts'

const guest: Credentials = { login: 'guest', password: 'guest', loginMethods: ['PLAIN'] }

describe('chooseMechanism', () => {
  it('answers PLAIN as RFC 4616 says', async () => {
    const mechanism = chooseMechanism({ ...guest, login: 'jürgen', password: 'p€ss' }, 'AMQPLAIN PLAIN')
    assert.equal(mechanism.name, 'PLAIN')
    assert.deepEqual(await mechanism.response(), Buffer.from('\0jürgen\0p€ss'))
  })

  it('answers AMQPLAIN with a table without its length', async () => {
    const mechanism = chooseMechanism({ ...guest, loginMethods: ['AMQPLAIN'] }, 'AMQPLAIN PLAIN')
    assert.equal(mechanism.name, 'AMQPLAIN')
    const response = Buffer.from(await mechanism.response())
    assert.equal(response.toString('latin1'), '\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest')
  })

  it('carries long and non-ASCII passwords in AMQPLAIN', async () => {
    const password = 'ß'.repeat(300)
    const mechanism = chooseMechanism({ ...guest, password, loginMethods: ['AMQPLAIN'] }, 'AMQPLAIN')
    const response = Buffer.from(await mechanism.response())
    assert.equal(response.readUInt32BE(response.length - 604), 600)
    assert.equal(response.subarray(-600).toString(), password)
  })

  it('answers EXTERNAL with nothing', async () => {
    const mechanism = chooseMechanism({ ...guest, loginMethods: ['EXTERNAL'] }, 'PLAIN EXTERNAL')
    assert.deepEqual([mechanism.name, await mechanism.response()], ['EXTERNAL', ''])
  })

  it('hands a mechanism of the program’s own through', () => {
    const own: SaslMechanism = {
      name: 'RABBIT-CR-DEMO',
      response: challenge => (challenge ? 'My password is guest' : 'guest'),
    }
    assert.equal(chooseMechanism({ ...guest, loginMethods: [own] }, 'PLAIN RABBIT-CR-DEMO'), own)
  })

  it('prefers in the order that is wanted, not in the server’s', () => {
    const wanted: Credentials = { ...guest, loginMethods: ['EXTERNAL', 'AMQPLAIN', 'PLAIN'] }
    assert.equal(chooseMechanism(wanted, 'PLAIN AMQPLAIN').name, 'AMQPLAIN')
  })

  it('says what the server offers if nothing is shared', () => {
    assert.throws(
      () => chooseMechanism(guest, 'EXTERNAL  X-TOKEN'),
      new AuthenticationError('the server does not offer the SASL mechanism PLAIN, only EXTERNAL, X-TOKEN'),
    )
    assert.throws(
      () => chooseMechanism({ ...guest, loginMethods: ['EXTERNAL'] }, ''),
      /the SASL mechanism EXTERNAL, only none; EXTERNAL needs the plugin rabbitmq_auth_mechanism_ssl/,
    )
  })

  it('does not take a part of a name for the name', () => {
    assert.throws(() => chooseMechanism(guest, 'AMQPLAIN XPLAIN'), AuthenticationError)
  })

  it('asks a password function at each login, and waits for it', async () => {
    let count = 0
    const credentials = { ...guest, password: async () => `secret${++count}` }
    const login = async () => String(await chooseMechanism(credentials, 'PLAIN').response())
    assert.deepEqual([await login(), await login()], ['\0guest\0secret1', '\0guest\0secret2'])
  })

  it('rejects with the cause when the password function fails', async () => {
    const cause = new Error('the token service is down')
    const failing = chooseMechanism({ ...guest, password: () => Promise.reject(cause) }, 'PLAIN')
    await assert.rejects(async () => failing.response(), {
      name: 'AuthenticationError',
      message: 'the "password" function failed: the token service is down',
      cause,
    })
  })

  it('refuses a password that is not a string or that PLAIN cannot carry, without showing it', async () => {
    const number = chooseMechanism({ ...guest, password: (() => 12_345) as unknown as () => string }, 'PLAIN')
    await assert.rejects(
      async () => number.response(),
      new EncodeError(
        'the "password" function must return a string or { password, expiresAt }, not a value of type number',
      ),
    )
    const nul = chooseMechanism({ ...guest, password: 'a\0b' }, 'PLAIN')
    await assert.rejects(
      async () => nul.response(),
      new EncodeError('"password" holds a NUL character, which PLAIN cannot carry'),
    )
    for (const name of ['PLAIN', 'AMQPLAIN'] as const) {
      for (const field of ['login', 'password']) {
        const mechanism = chooseMechanism({ ...guest, loginMethods: [name], [field]: 'a\ud800' }, name)
        await assert.rejects(
          async () => mechanism.response(),
          new EncodeError(`"${field}" has a lone surrogate, which has no UTF-8`),
        )
      }
    }
  })

  it('refuses a challenge that PLAIN does not have', async () => {
    await assert.rejects(
      async () => chooseMechanism(guest, 'PLAIN').response(Buffer.from('?')),
      new AuthenticationError('the server answered PLAIN with a challenge, which PLAIN does not have'),
    )
  })
})
