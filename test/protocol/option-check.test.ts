import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EncodeError } from '../../src/errors.ts'
import {
  badValue,
  booleanOption,
  checkOptions,
  choiceOption,
  durationOption,
  eventCheck,
  functionOption,
  hintFor,
  integerOption,
  limitOption,
  shortStringOption,
  signalOption,
  stringOption,
} from '../../src/protocol/option-check.ts'

function refuses(run: () => unknown, message: string | RegExp): void {
  assert.throws(run, error => {
    assert.ok(error instanceof EncodeError)
    if (typeof message === 'string') assert.equal(error.message, message)
    else assert.match(error.message, message)
    return true
  })
}

describe('eventCheck', () => {
  const check = eventCheck('protocol', { disconnected: true, recovered: true, closed: true })

  it('accepts known events, symbols, and those that Node listens for by itself', () => {
    for (const event of ['closed', Symbol('any'), 'error', 'newListener', 'removeListener']) check(event)
  })

  for (const [event, hint] of [
    ['close', 'did you mean "closed"?'],
    ['disconnect', 'did you mean "disconnected"?'],
    ['reconnect', 'did you mean "recovered"?'],
    ['toString', 'known are disconnected, recovered, closed'],
  ] as const) {
    it(`refuses ${event}, with a hint`, () => {
      refuses(() => check(event), `protocol: no event is named "${event}"; ${hint}`)
    })
  }
})

describe('checkOptions', () => {
  const known = ['login', 'password', 'virtualhost', 'ssl', 'verifySsl', 'channelMax', 'heartbeat']

  it('accepts known options and none', () => {
    checkOptions('connect', undefined, known)
    checkOptions('connect', {}, known)
    checkOptions('connect', { login: 'x', heartbeat: undefined }, known)
  })

  const meant: [given: string, expected: string][] = [
    ['username', 'login'],
    ['userName', 'login'],
    ['user', 'login'],
    ['pass', 'password'],
    ['vhost', 'virtualhost'],
    ['tls', 'ssl'],
    ['virtualHost', 'virtualhost'],
    ['channel_max', 'channelMax'],
    ['hearbeat', 'heartbeat'],
    ['verifyTls', 'verifySsl'],
    ['lgoin', 'login'],
  ]
  for (const [given, expected] of meant) {
    it(`asks whether "${expected}" was meant by "${given}"`, () => {
      refuses(
        () => checkOptions('connect', { [given]: 1 }, known),
        `connect: unknown option "${given}"; did you mean "${expected}"?`,
      )
    })
  }

  it('suggests a synonym only if that option exists', () => {
    refuses(
      () => checkOptions('basic.qos', { prefetch: 1 }, ['prefetchCount']),
      'basic.qos: unknown option "prefetch"; did you mean "prefetchCount"?',
    )
    refuses(
      () => checkOptions('basic.get', { username: 1 }, ['noAck']),
      'basic.get: unknown option "username"; known are noAck',
    )
  })

  it('suggests a value, or an argument of the broker', () => {
    const hints: [name: string, known: readonly string[], expected: string][] = [
      ['persistent', ['deliveryMode'], 'deliveryMode: 2'],
      ['ttl', ['expiration'], '"expiration"'],
      ['ttl', ['durable', 'arguments'], 'arguments: { "x-message-ttl": ... }'],
      ['maxRetries', ['maxDelay', 'maxAttempts'], '"maxAttempts"'],
      ['exchange', ['exchangeName'], '"exchangeName"'],
    ]
    for (const [name, known, expected] of hints) assert.equal(hintFor(name, known), `did you mean ${expected}?`)
    assert.equal(hintFor('messageTtl', ['mandatory']), 'known are mandatory')
    for (const [name, argument] of [
      ['messageTtl', 'x-message-ttl'],
      ['x-message-ttl', 'x-message-ttl'],
      ['deadLetterExchange', 'x-dead-letter-exchange'],
      ['alternateExchange', 'alternate-exchange'],
      ['maxLenght', 'x-max-length'],
    ] as const) {
      const text = `did you mean arguments: { "${argument}": ... }?`
      assert.equal(hintFor(name, ['durable', 'arguments']), text)
    }
    // No argument of that name is known.
    assert.equal(hintFor('onFailure', ['durable', 'arguments']), 'known are durable, arguments')
  })

  it('lists what is known if nothing is near', () => {
    refuses(
      () => checkOptions('x', { constructor: 1 }, ['noAck', 'queue']),
      'x: unknown option "constructor"; known are noAck, queue',
    )
  })

  it('refuses what is not an object', () => {
    for (const [options, text] of [
      ['guest', '"guest"'],
      [null, 'null'],
      [5, '5'],
      [[], 'an array'],
    ] as const) {
      refuses(
        () => checkOptions('connect', options as object, known),
        `connect: the options must be an object, not ${text}`,
      )
    }
  })
})

describe('the validators of options', () => {
  it('let undefined and allowed values through', () => {
    assert.equal(booleanOption('x', 'y', undefined), undefined)
    assert.equal(booleanOption('x', 'y', false), false)
    assert.equal(stringOption('x', 'y', ''), '')
    assert.equal(shortStringOption('x', 'y', 'a'.repeat(255)), 'a'.repeat(255))
    assert.equal(integerOption('x', 'y', 0), 0)
    assert.equal(integerOption('x', 'y', 65_535, 1, 65_535), 65_535)
    assert.equal(limitOption('x', 'y', Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY)
    assert.equal(durationOption('x', 'y', 0.5), 0.5)
    assert.equal(choiceOption('x', 'y', 'a', ['a', 'b']), 'a')
    assert.equal(functionOption('x', 'y', assert.ok), assert.ok)
    const { signal } = new AbortController()
    assert.equal(signalOption('x', 'y', signal), signal)
  })

  it('name the option, what is allowed and what was given', () => {
    refuses(() => booleanOption('queue.declare', 'durable', 1), 'queue.declare: "durable" must be true or false, not 1')
    refuses(() => stringOption('connect', 'host', null), 'connect: "host" must be a string, not null')
    refuses(
      () => stringOption('connect', 'host', new Date(0)),
      'connect: "host" must be a string, not an object (Date)',
    )
    refuses(
      () => shortStringOption('connect', 'virtualhost', 'ä'.repeat(128)),
      'connect: "virtualhost" has 256 bytes; AMQP allows 255',
    )
    refuses(
      () => integerOption('basic.qos', 'prefetchCount', -1, 0, 65_535),
      'basic.qos: "prefetchCount" must be an integer from 0 to 65535, not -1',
    )
    refuses(() => integerOption('x', 'y', 1.5), 'x: "y" must be an integer of 0 or more, not 1.5')
    refuses(() => integerOption('x', 'y', '5'), 'x: "y" must be an integer of 0 or more, not "5"')
    refuses(() => limitOption('x', 'y', Number.NaN), /or Infinity for no limit, not NaN$/)
    refuses(
      () => durationOption('x', 'timeout', -1),
      /"timeout" must be a number of milliseconds, 0 or more, .* not -1$/,
    )
    refuses(() => durationOption('x', 'timeout', Number.NaN), /not NaN$/)
    refuses(() => choiceOption('x', 'y', 'c', ['a', 'b']), 'x: "y" must be "a" or "b", not "c"')
    refuses(() => functionOption('x', 'y', 'z'), 'x: "y" must be a function, not "z"')
    refuses(() => signalOption('x', 'signal', {}), 'x: "signal" must be an AbortSignal, not an object (Object)')
    refuses(() => signalOption('x', 'signal', 5n), 'x: "signal" must be an AbortSignal, not 5n')
    const deaf = { aborted: false, addEventListener: () => {} }
    refuses(() => signalOption('x', 'signal', deaf), 'x: "signal" must be an AbortSignal, not an object (Object)')
  })

  it('shorten long strings', () => {
    refuses(
      () => integerOption('x', 'y', 'a'.repeat(100)),
      `x: "y" must be an integer of 0 or more, not "${'a'.repeat(37)}..."`,
    )
  })

  it('never show a password', () => {
    assert.equal(
      badValue('connect', 'password', 'a string', 12_345).message,
      'connect: "password" must be a string, not a value of type number',
    )
    assert.equal(
      badValue('connect', 'ssl.passphrase', 'a string', ['secret']).message,
      'connect: "ssl.passphrase" must be a string, not a value of type object',
    )
  })
})
