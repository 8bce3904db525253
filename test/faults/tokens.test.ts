import assert from 'node:assert/strict'
import { createSign, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type AmqpProtocol, ConnectionLostError, connect, type ExpiringPassword } from '../../src/index.ts'
import { startNode } from '../support/broker.ts'
import { openFaultProxy } from '../support/fault-proxy.ts'
import { sized } from '../support/sizes.ts'
import { until } from '../support/until.ts'

const SECONDS = sized(20, 600)
/** Seconds of a token. */
const LIFETIME = 5
const RESET_EVERY = 7_000
const CONNECTIONS = 3

const { publicKey, privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 2_048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})
const folder = mkdtempSync(join(tmpdir(), 'asyncamqp-key-'))
after(() => rmSync(folder, { recursive: true }))
const keyFile = join(folder, 'key.pem')
writeFileSync(keyFile, publicKey)

const node = await startNode({
  plugins: ['rabbitmq_auth_backend_oauth2'],
  config: {
    'auth_backends.1': 'rabbit_auth_backend_oauth2',
    'auth_backends.2': 'rabbit_auth_backend_internal',
    'auth_oauth2.resource_server_id': 'rabbitmq',
    'auth_oauth2.signing_keys.own': keyFile,
    'auth_oauth2.default_key': 'own',
  },
})
after(() => node.destroy())

let asked = 0

/** A JSON Web Token of `LIFETIME` seconds, or a little less: its times are whole seconds. */
function token(): ExpiringPassword {
  asked++
  const iat = Math.floor(Date.now() / 1_000)
  const exp = iat + LIFETIME
  const scope = ['configure', 'write', 'read'].map(right => `rabbitmq.${right}:*/*`)
  const parts = [
    { alg: 'RS256', typ: 'JWT', kid: 'own' },
    { aud: 'rabbitmq', sub: 'service', iat, exp, scope },
  ]
  const text = parts.map(part => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  const signature = createSign('RSA-SHA256').update(text).sign(privateKey, 'base64url')
  return { password: `${text}.${signature}`, expiresAt: exp * 1_000 }
}

/** Declares, publishes and consumes, and asks for more of it than a token lasts. */
class Work {
  operations = 0
  received = 0
  recoveries = 0
  readonly refused: unknown[] = []
  #running = true
  #done: Promise<unknown> | undefined

  async start(protocol: AmqpProtocol, name: string): Promise<void> {
    protocol.on('recovered', () => this.recoveries++)
    await protocol.queueDeclare(name)
    await protocol.consumer(name, () => void this.received++)
    this.#done = Promise.all([
      this.#repeat(() => protocol.publish('m', '', name, { deliveryMode: 2 })),
      this.#repeat(() => protocol.queueDeclare(`${name}-other`)),
    ])
  }

  async #repeat(operation: () => Promise<unknown>): Promise<void> {
    while (this.#running) {
      await operation().then(
        () => this.operations++,
        // A reset takes the calls that are under way.
        (error: unknown) => error instanceof ConnectionLostError || this.refused.push(error),
      )
      await sleep(20)
    }
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#done
  }
}

describe("tokens of five seconds at RabbitMQ's OAuth 2 plugin", { timeout: (SECONDS + 120) * 1_000 }, () => {
  it('are renewed on open connections and after resets, and no operation is refused', async t => {
    await using proxy = await openFaultProxy(node.host, node.port)
    const url = new URL(proxy.url(node.url))
    url.username = 'service'
    url.password = ''
    const errors: Error[] = []
    const options = { password: token, onError: (error: Error) => errors.push(error) }
    const protocols = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect(url.href, options)))
    const works = protocols.map(() => new Work())
    await Promise.all(works.map((work, n) => work.start(protocols[n] as AmqpProtocol, `tokens-${n}`)))
    let resets = 0
    const timer = setInterval(() => {
      resets++
      proxy.reset()
    }, RESET_EVERY)
    await sleep(SECONDS * 1_000)
    clearInterval(timer)
    await until('all are open', () => protocols.every(({ state }) => state === 'open'))
    await Promise.all(works.map(work => work.stop()))
    const refused = works.flatMap(work => work.refused)
    t.diagnostic(
      `${works.map(({ operations }) => operations).join(', ')} operations, ${works.map(({ received }) => received).join(', ')} messages, ` +
        `${works.map(({ recoveries }) => recoveries).join(', ')} recoveries, ${asked} tokens in ${SECONDS} s; ${refused.length} refused`,
    )
    assert.deepEqual(refused.map(String).slice(0, 5), [])
    assert.deepEqual(errors.map(String), [])
    for (const { recoveries } of works) assert.equal(recoveries, resets, 'no connection was lost but by a reset')
    assert.ok(asked <= SECONDS / (LIFETIME * 0.8 - 1) + 2, `${asked} tokens`)
    await Promise.all(protocols.map(protocol => protocol.close()))
  })
})
