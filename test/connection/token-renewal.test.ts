import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { AuthenticationError, connect, type PasswordFunction } from '../../src/index.ts'
// Loaded later, it would come by the machine's time.
import '../../src/connection/token-renewal.ts'
import * as methods from '../../src/protocol/methods.ts'
import { FakeBroker, type FakePeer, methodFrame } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const LIFETIME = 5_000

/** Tokens of five seconds, a broker that accepts all but revoked ones, and the tokens that it got. */
class Tokens {
  readonly clock = new VirtualClock()
  readonly broker = new FakeBroker()
  readonly errors: Error[] = []
  readonly logins: string[] = []
  readonly secrets: string[] = []
  readonly peers: FakePeer[] = []
  /** Tokens that the broker refuses. */
  readonly revoked = new Set<string>()
  asked = 0
  /** What the next answer waits for. */
  answering: Promise<void> | undefined
  fails = false

  constructor() {
    this.broker.prepare = peer => {
      this.peers.push(peer)
      const agree = peer.answers.get('connection.start-ok')
      peer.answers.set('connection.start-ok', frame => {
        const [, , token = ''] = String(frame.args['response']).split('\0')
        this.logins.push(token)
        if (!this.revoked.has(token)) return agree?.(frame)
        const replyText = 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN'
        return methodFrame(0, methods.ConnectionClose, { replyCode: 403, replyText, classId: 0, methodId: 0 })
      })
      peer.answers.set('connection.update-secret', frame => {
        this.secrets.push(String(frame.args['newSecret']))
        return methodFrame(0, methods.ConnectionUpdateSecretOk, {})
      })
    }
  }

  readonly password: PasswordFunction = async () => {
    this.asked++
    await this.answering
    if (this.fails) throw new Error('no tokens today')
    return { password: `token ${this.asked}`, expiresAt: new Date(this.clock.wallTime() + LIFETIME) }
  }

  async connect(t: TestContext, password: PasswordFunction = this.password) {
    const protocol = await connect({
      createTransport: this.broker.createTransport,
      clock: this.clock,
      heartbeat: 0,
      recovery: { jitter: 0, initialDelay: 0 },
      onError: error => this.errors.push(error),
      password,
    })
    t.after(() => this.clock.until(protocol.close({ timeout: 0 })))
    return protocol
  }
}

describe('A password that expires', () => {
  it('is asked for again when 80 % of its time is over, and given to the broker', async t => {
    const tokens = new Tokens()
    await tokens.connect(t)
    await tokens.clock.advance(3_999)
    assert.deepEqual([tokens.asked, tokens.secrets], [1, []])
    assert.deepEqual([tokens.clock.pending, tokens.clock.keeping], [1, 0])
    await tokens.clock.advance(1)
    assert.deepEqual([tokens.asked, tokens.secrets], [2, ['token 2']])
    await tokens.clock.advance(8_000)
    assert.deepEqual([tokens.asked, tokens.secrets], [4, ['token 2', 'token 3', 'token 4']])
    assert.deepEqual(tokens.errors, [])
  })

  it('is asked for once by all connections that were given the same function', async t => {
    const tokens = new Tokens()
    await Promise.all([tokens.connect(t), tokens.connect(t), tokens.connect(t)])
    assert.deepEqual([tokens.asked, tokens.logins], [1, ['token 1', 'token 1', 'token 1']])
    await tokens.clock.advance(1_000)
    await tokens.connect(t)
    await tokens.clock.advance(3_000)
    assert.equal(tokens.asked, 2)
    assert.deepEqual(tokens.secrets, ['token 2', 'token 2', 'token 2', 'token 2'])
  })

  it('is used by the next login while it is good, and renewed on that connection', async t => {
    const tokens = new Tokens()
    await tokens.connect(t)
    await tokens.clock.advance(3_000)
    tokens.peers[0]?.finish()
    await tokens.clock.advance(500)
    assert.deepEqual([tokens.asked, tokens.logins], [1, ['token 1', 'token 1']])
    await tokens.clock.advance(500)
    assert.deepEqual([tokens.asked, tokens.secrets], [2, ['token 2']])
  })

  it('is asked for at once if the broker refuses the one that is known', async t => {
    const tokens = new Tokens()
    await tokens.connect(t)
    tokens.revoked.add('token 1')
    await tokens.connect(t)
    assert.deepEqual(tokens.logins, ['token 1', 'token 1', 'token 2'])
    tokens.revoked.add('token 2').add('token 3')
    const refused = await rejection(tokens.connect(t), AuthenticationError)
    assert.equal(refused.replyCode, 403)
    assert.deepEqual(tokens.logins.slice(3), ['token 2', 'token 3'], 'a new one that is refused is asked for once')
  })

  it('is asked for again, and the failure reported, if the function fails', async t => {
    const tokens = new Tokens()
    const protocol = await tokens.connect(t)
    tokens.fails = true
    await tokens.clock.advance(4_500)
    assert.match(String(tokens.errors), /no tokens today/)
    assert.equal(protocol.state, 'open')
    tokens.fails = false
    await tokens.clock.advance(500)
    assert.deepEqual(tokens.secrets, ['token 3'])
    assert.equal(tokens.errors.length, 1)
  })

  it('is asked for again, and the answer reported, if that is neither a string nor a token', async t => {
    const tokens = new Tokens()
    let answers = 0
    await tokens.connect(t, async () => (++answers === 2 ? (undefined as never) : await tokens.password()))
    await tokens.clock.advance(4_000)
    assert.match(String(tokens.errors), /must return a string or \{ password, expiresAt \}, not .* undefined/)
    await tokens.clock.advance(1_000)
    assert.deepEqual([answers, tokens.secrets, tokens.errors.length], [3, ['token 2'], 1])
  })

  for (const comes of ['never', 'late']) {
    it(`is asked for again, and the wait reported, if the answer of a renewal comes ${comes}`, async t => {
      const tokens = new Tokens()
      const lifetime = 100_000
      let answers = 0
      const protocol = await tokens.connect(t, async () => {
        const number = ++answers
        if (number === 2) await new Promise<void>(resolve => comes === 'late' && tokens.clock.after(11_000, resolve))
        return { password: `token ${number}`, expiresAt: tokens.clock.wallTime() + lifetime }
      })
      await tokens.clock.advance(90_000)
      assert.match(String(tokens.errors), /TimeoutError: the "password" function has not answered within 10000 ms/)
      await tokens.clock.advance(9_000)
      const [asked, secret] = comes === 'late' ? [2, 'token 2'] : [3, 'token 3']
      assert.deepEqual([answers, tokens.secrets, tokens.errors.length], [asked, [secret], 1])
      assert.equal(protocol.state, 'open')
    })
  }

  it('is replaced at the broker by one that has no end', async t => {
    const tokens = new Tokens()
    let answers = 0
    await tokens.connect(t, async () => (++answers === 2 ? 'for good' : await tokens.password()))
    await tokens.clock.advance(100_000)
    assert.deepEqual([answers, tokens.secrets, tokens.errors], [2, ['for good'], []])
  })

  it('is used until its end if there is no other', async t => {
    const tokens = new Tokens()
    await tokens.connect(t)
    tokens.fails = true
    await tokens.clock.advance(4_500)
    tokens.peers[0]?.finish()
    await tokens.clock.advance(100)
    assert.deepEqual(tokens.logins, ['token 1', 'token 1'])
    await tokens.clock.advance(400)
    tokens.peers[1]?.finish()
    await tokens.clock.advance(3_000)
    assert.equal(tokens.logins.length, 2, 'it is over')
    tokens.fails = false
    await tokens.clock.advance(10_000)
    assert.match(tokens.logins[2] ?? '', /^token \d+$/)
  })

  it('does not wait for longer than ten seconds for an answer that another login waits for', async t => {
    const tokens = new Tokens()
    tokens.answering = new Promise(() => {})
    const hanging = rejection(tokens.connect(t), Error)
    await tokens.clock.advance(10_000)
    await hanging
    tokens.answering = undefined
    await tokens.connect(t)
    assert.deepEqual(tokens.logins, ['token 2'])
  })

  it('of no such form is refused', async t => {
    for (const answer of [
      {},
      { password: 'x' },
      { password: 'x', expiresAt: 1_700_000_000 },
      { expiresAt: new Date() },
    ]) {
      const error = await rejection(
        new Tokens().connect(t, () => answer as never),
        AuthenticationError,
      )
      assert.match(error.message, /must return a string, or \{ password, expiresAt \}/)
    }
  })

  it('is asked for at each login if it has no end', async t => {
    const tokens = new Tokens()
    let asked = 0
    const password = async () => `word ${++asked}`
    await Promise.all([tokens.connect(t, password), tokens.connect(t, password)])
    assert.deepEqual(tokens.logins.sort(), ['word 1', 'word 2'])
    await tokens.clock.advance(100_000)
    assert.equal(asked, 2)
  })
})
