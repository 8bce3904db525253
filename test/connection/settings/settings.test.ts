import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { VERSION } from '../../../src/connection/settings/client-properties.ts'
import type { ConnectOptions } from '../../../src/connection/settings/options.ts'
import { resolveSettings } from '../../../src/connection/settings/settings.ts'
import { AmqpUriError, EncodeError } from '../../../src/errors.ts'
import { systemClock } from '../../../src/lib/clock.ts'
import { type Certificates, makeCertificates } from '../wire/certificates.ts'

const GUEST = {
  host: 'localhost',
  port: 5672,
  tls: undefined,
  login: 'guest',
  password: 'guest',
  virtualhost: '/',
  loginMethods: ['PLAIN'],
}

const { bun, deno } = process.versions
const PLATFORM = bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node.js ${process.version}`

/** The only server of the settings. */
function serverOf(...args: Parameters<typeof resolveSettings>) {
  const { servers } = resolveSettings(...args)
  assert.equal(servers.length, 1)
  const [server] = servers
  assert.ok(server)
  return server
}

function refuses(options: object, message: string | RegExp): void {
  assert.throws(
    () => resolveSettings(options as ConnectOptions),
    error => {
      assert.ok(error instanceof EncodeError)
      if (typeof message === 'string') assert.equal(error.message, message)
      else assert.match(error.message, message)
      return true
    },
  )
}

describe('resolveSettings', () => {
  it('has a default for everything', () => {
    const { clientProperties, connectionName, connectionId, ...settings } = resolveSettings()
    assert.equal(resolveSettings().connectionId, connectionId + 1)
    const { giveUpOn, ...recovery } = settings.recovery ?? assert.fail('no recovery')
    assert.deepEqual(
      { ...settings, recovery },
      {
        servers: [GUEST],
        serverOrder: 'ordered',
        channelMax: 0,
        frameMax: 0,
        heartbeat: 10,
        maxMessageSize: 134_217_728,
        connectTimeout: 10_000,
        rpcTimeout: 20_000,
        separate: false,
        maxBuffered: 16_777_216,
        maxWaiting: Number.POSITIVE_INFINITY,
        publishTimeout: undefined,
        firstAttempts: undefined,
        recovery: {
          initialDelay: 0,
          maxDelay: 30_000,
          factor: 2,
          jitter: 1,
          maxAttempts: Number.POSITIVE_INFINITY,
          topology: true,
        },
        onError: undefined,
        logger: undefined,
        frameLog: undefined,
        slowHandlerThreshold: 30_000,
        signal: undefined,
        createTransport: undefined,
        clock: systemClock,
      },
    )
    assert.equal(giveUpOn(new Error('any')), false)
    assert.ok(connectionName.endsWith(`@${hostname()}:${process.pid}`))
    assert.deepEqual(clientProperties, {
      product: 'asyncamqp',
      version: VERSION,
      platform: PLATFORM,
      connection_name: connectionName,
      capabilities: {
        publisher_confirms: true,
        exchange_exchange_bindings: true,
        'basic.nack': true,
        consumer_cancel_notify: true,
        'connection.blocked': true,
        authentication_failure_close: true,
      },
    })
  })

  it('knows the version of the package', () => {
    assert.equal(VERSION, JSON.parse(readFileSync('package.json', 'utf8')).version)
  })

  it('treats undefined options as absent', () => {
    const options = { host: undefined, heartbeat: undefined, recovery: undefined, login: undefined, ssl: undefined }
    assert.deepEqual(resolveSettings(options).servers, [GUEST])
    assert.equal(resolveSettings('amqp://localhost', options).heartbeat, 10)
    assert.equal(resolveSettings(undefined, { ...options, host: 'localhost' }).heartbeat, 10)
  })

  it('refuses a URL that is undefined, and goes to localhost without one', () => {
    assert.deepEqual(resolveSettings().servers, [GUEST])
    assert.deepEqual(resolveSettings({}).servers, [GUEST])
    for (const args of [[undefined], [undefined, {}], [undefined, { port: 5673 }]] as const) {
      assert.throws(() => resolveSettings(...args), {
        code: 'ENCODE_ERROR',
        message: /^connect: the URL is undefined; is an environment variable missing\?/,
      })
    }
  })

  it('takes options alone', () => {
    assert.deepEqual(
      serverOf({ host: 'broker', port: 5673, login: 'me', password: 'mine', virtualhost: '', loginMethod: 'AMQPLAIN' }),
      {
        host: 'broker',
        port: 5673,
        tls: undefined,
        login: 'me',
        password: 'mine',
        virtualhost: '',
        loginMethods: ['AMQPLAIN'],
      },
    )
    assert.equal(serverOf({ host: '[::1]' }).host, '::1')
  })

  it('takes a URL, and what it leaves out from the defaults', () => {
    assert.deepEqual(serverOf('amqp://'), GUEST)
    assert.deepEqual(serverOf('amqp://:@host/'), { ...GUEST, host: 'host', login: '', password: '', virtualhost: '' })
    assert.deepEqual(serverOf(new URL('amqp://me:mine@host:1/%2f?auth_mechanism=external&auth_mechanism=plain')), {
      ...GUEST,
      host: 'host',
      port: 1,
      login: 'me',
      password: 'mine',
      loginMethods: ['EXTERNAL', 'PLAIN'],
    })
  })

  it('takes what concerns the connection from the URL', () => {
    const { heartbeat, connectTimeout, channelMax, frameMax } = resolveSettings(
      'amqp://host?heartbeat=0&connection_timeout=500&channel_max=7&frame_max=8192',
    )
    assert.deepEqual([heartbeat, connectTimeout, channelMax, frameMax], [0, 500, 7, 8192])
  })

  it('lets options beside a URL win over it', () => {
    const url =
      'amqp://me:mine@host:1/v?heartbeat=1&connection_timeout=1&channel_max=1&frame_max=5000&auth_mechanism=external'
    const password = () => 'asked'
    const settings = resolveSettings(url, {
      host: 'other',
      port: 2,
      login: 'you',
      password,
      virtualhost: 'w',
      loginMethod: 'PLAIN',
      heartbeat: 2,
      connectTimeout: 2,
      channelMax: 2,
      frameMax: 0,
    })
    assert.deepEqual(settings.servers, [{ ...GUEST, host: 'other', port: 2, login: 'you', password, virtualhost: 'w' }])
    const { heartbeat, connectTimeout, channelMax, frameMax } = settings
    assert.deepEqual([heartbeat, connectTimeout, channelMax, frameMax], [2, 2, 2, 0])
    assert.equal(serverOf('amqps://host', { ssl: false }).tls, undefined)
    assert.equal(serverOf('amqps://host', { ssl: false }).port, 5672)
    assert.equal(serverOf('amqp://host', { ssl: true }).port, 5671)
  })

  it('takes several URLs, each with its own login', () => {
    const { servers } = resolveSettings(['amqp://a:1@one', new URL('amqps://b:2@two/v')], { virtualhost: 'w' })
    assert.deepEqual(servers, [
      { ...GUEST, host: 'one', login: 'a', password: '1', virtualhost: 'w' },
      {
        ...GUEST,
        host: 'two',
        port: 5671,
        login: 'b',
        password: '2',
        virtualhost: 'w',
        tls: { rejectUnauthorized: true },
      },
    ])
  })

  it('takes servers as addresses and URLs, whose own words win', () => {
    const { servers, serverOrder } = resolveSettings({
      servers: [{ host: 'one' }, { host: 'two', port: 2 }, 'amqp://b:2@three:3/v', 'amqps://four'],
      serverOrder: 'race',
      login: 'a',
      password: '1',
      port: 9,
    })
    assert.equal(serverOrder, 'race')
    assert.deepEqual(
      servers.map(({ host, port, login, password, virtualhost, tls }) => [
        host,
        port,
        login,
        password,
        virtualhost,
        tls !== undefined,
      ]),
      [
        ['one', 9, 'a', '1', '/', false],
        ['two', 2, 'a', '1', '/', false],
        ['three', 3, 'b', '2', 'v', false],
        ['four', 9, 'a', '1', '/', true],
      ],
    )
  })

  it('reads recovery from a boolean or an object', () => {
    assert.equal(resolveSettings({ recovery: false }).recovery, undefined)
    assert.equal(resolveSettings({ recovery: true }).recovery?.maxDelay, 30_000)
    const giveUpOn = () => true
    const given = { initialDelay: 5, maxDelay: 6, factor: 1, jitter: 0.5, maxAttempts: 3, topology: false, giveUpOn }
    const { giveUpOn: guarded, ...numbers } = resolveSettings({ recovery: given }).recovery ?? {}
    assert.deepEqual({ ...numbers, giveUpOn }, given)
    assert.equal(guarded?.(new Error('no')), true)
    assert.equal(resolveSettings({ recovery: { jitter: 'full' } }).recovery?.jitter, 1)
    refuses({ recovery: 1 }, 'connect: "recovery" must be true, false or an object, not 1')
    refuses({ recovery: { jitter: 2 } }, 'connect: "recovery.jitter" must be "full" or a number from 0 to 1, not 2')
    refuses({ recovery: { factor: 0.5 } }, /"recovery.factor" must be a number from 1 to 1000, not 0.5/)
    refuses(
      { recovery: { maxAttempt: 2 } },
      'connect, "recovery": unknown option "maxAttempt"; did you mean "maxAttempts"?',
    )
  })

  it('merges the client properties, and keeps capabilities that are not named', () => {
    const { clientProperties, connectionName } = resolveSettings({
      clientProperties: { product: 'mine', extra: 1, capabilities: { 'basic.nack': false, own: true } },
      connectionName: 'me',
    })
    assert.equal(connectionName, 'me')
    assert.deepEqual(clientProperties, {
      product: 'mine',
      version: VERSION,
      platform: PLATFORM,
      extra: 1,
      connection_name: 'me',
      capabilities: {
        publisher_confirms: true,
        exchange_exchange_bindings: true,
        'basic.nack': false,
        consumer_cancel_notify: true,
        'connection.blocked': true,
        authentication_failure_close: true,
        own: true,
      },
    })
    assert.equal(resolveSettings({ clientProperties: { connection_name: 'theirs' } }).connectionName, 'theirs')
  })

  it('takes a mechanism of the program’s own', () => {
    const loginMethod = { name: 'X', response: () => '' }
    assert.deepEqual(serverOf({ loginMethod }).loginMethods, [loginMethod])
  })

  const bad: [options: object, message: string | RegExp][] = [
    [{ username: 'me' }, 'connect: unknown option "username"; did you mean "login"?'],
    [{ vhost: '/' }, 'connect: unknown option "vhost"; did you mean "virtualhost"?'],
    [{ host: 5 }, 'connect: "host" must be a string, not 5'],
    [{ host: '' }, 'connect: "host" is empty'],
    [{ port: 0 }, 'connect: "port" must be an integer from 1 to 65535, not 0'],
    [{ port: '5672' }, /"port" must be an integer from 1 to 65535, not "5672"/],
    [{ login: null }, /"login" must be a string, not null/],
    [{ password: 12_345 }, 'connect: "password" must be a string or a function, not a value of type number'],
    [{ virtualhost: 'v'.repeat(256) }, 'connect: "virtualhost" has 256 bytes; AMQP allows 255'],
    [{ ssl: 'yes' }, /"ssl" must be true, false or Node's tls.ConnectionOptions, not "yes"/],
    [{ verifySsl: 0 }, /"verifySsl" must be true or false, not 0/],
    [{ loginMethod: 'GSSAPI' }, /"loginMethod" must be PLAIN, AMQPLAIN, EXTERNAL or an object .* not "GSSAPI"/],
    [{ loginMethod: { name: 'X' } }, /"loginMethod" must be/],
    [{ channelMax: 65_536 }, /"channelMax" must be an integer from 0 to 65535/],
    [{ frameMax: 4095 }, /"frameMax" must be an integer from 4096/],
    [{ heartbeat: -1 }, /"heartbeat" must be an integer from 0 to 3600, not -1/],
    [{ heartbeat: 1.5 }, /"heartbeat" must be an integer/],
    [
      { heartbeat: 10_000 },
      'connect: "heartbeat" is in seconds and at most 3600, not 10000; was it meant in milliseconds?',
    ],
    [{ maxMessageSize: -1 }, /"maxMessageSize"/],
    [{ clientProperties: [] }, /"clientProperties" must be an object, not an array/],
    [{ clientProperties: { since: () => 1 } }, /^connect: clientProperties.*since.*function/],
    [{ clientProperties: { deep: { list: [Number.NaN] } } }, /^connect: clientProperties.*deep.*NaN/],
    [{ clocks: 1 }, /^connect: unknown option "clocks"; known are (?!.*\bclock\b)/],
    [{ connectionName: 1 }, /"connectionName" must be a string/],
    [{ connectTimeout: 0 }, /"connectTimeout" must be a number of milliseconds, 1 or more/],
    [{ rpcTimeout: Number.NaN }, /"rpcTimeout".*not NaN/],
    [{ maxBuffered: 0 }, /"maxBuffered" must be an integer of 1 or more, or Infinity/],
    [{ maxWaiting: -1 }, /"maxWaiting"/],
    [{ onError: true }, /"onError" must be a function, not true/],
    [{ logger: {} }, /"logger" must be an object with methods debug, info, warn or error/],
    [{ logger: null }, /"logger" must be an object .* not null/],
    [{ signal: {} }, /"signal" must be an AbortSignal/],
    [{ createTransport: 'tcp' }, /"createTransport" must be a function/],
    [{ serverOrder: 'any' }, /"serverOrder" must be "ordered" or "random" or "race", not "any"/],
    [
      { host: 'amqp://me:s3cret@broker/vh' },
      'connect: "host" must be the name or address of a broker, not "amqp://me:***@broker/vh"',
    ],
    [
      { servers: [{ host: 'me:s3cret@broker' }] },
      'connect: "servers[0].host" must be the name or address of a broker, not "me:***@broker"',
    ],
    [{ traceFrames: 'yes' }, /"traceFrames"/],
    [{ servers: [] }, 'connect: the list of servers is empty'],
    [{ servers: 'amqp://host' }, /"servers" must be a list/],
    [{ servers: [5] }, /"servers\[0\]" must be a URL or \{ host, port \}, not 5/],
    [{ servers: [{ port: 5 }] }, 'connect: "servers[0]" has no host'],
    [{ servers: new Array(1) }, /"servers\[0\]" must be a URL or \{ host, port \}, not undefined/],
    [{ host: '[]' }, 'connect: "host" must be the name or address of a broker, not "[]"'],
    [{ servers: [{ host: 'a', ssl: true }] }, 'connect, "servers[0]": unknown option "ssl"; known are host, port'],
    [{ servers: [{ host: 'a' }], host: 'b' }, 'connect: give "host" or "servers", not both'],
  ]
  for (const [options, message] of bad) {
    it(`refuses ${JSON.stringify(options).slice(0, 60)}`, () => refuses(options, message))
  }

  it('refuses arguments that are neither a URL nor options', () => {
    assert.throws(() => resolveSettings(5 as unknown as string), /the options must be an object, not 5/)
    assert.throws(() => resolveSettings(null as unknown as string), /the options must be an object, not null/)
    assert.throws(() => resolveSettings({}, {}), /the URL must be a string, a URL or a list of these/)
    assert.throws(() => resolveSettings('amqp://', null as unknown as ConnectOptions), /must be an object, not null/)
    assert.throws(() => resolveSettings([]), /the list of servers is empty/)
    assert.throws(() => resolveSettings([5 as unknown as string]), /"url\[0\]" must be a URL, not 5/)
    assert.throws(() => resolveSettings(new Array(2)), /"url\[0\]" must be a URL, not undefined/)
    assert.throws(() => resolveSettings('amqp://a', { servers: [] }), /give a URL or "servers", not both/)
    assert.throws(() => resolveSettings(['amqp://a', 'amqp://b'], { host: 'c' }), /give "host" or several URLs/)
    assert.throws(() => resolveSettings('http://host'), AmqpUriError)
    assert.throws(
      () => resolveSettings(['amqp://a?heartbeat=5', 'amqp://b?heartbeat=6']),
      new AmqpUriError('the AMQP URIs do not agree on "heartbeat": 5, 6'),
    )
    assert.equal(resolveSettings(['amqp://a?heartbeat=5', 'amqp://b', 'amqp://c?heartbeat=5']).heartbeat, 5)
  })
})

describe('a password in a wrong place', () => {
  const uri = 'amqp://me:s3cret@broker'
  const wrong: readonly (readonly unknown[])[] = [
    ['amqp://broker', uri],
    [{ servers: uri }],
    [{ servers: [{ host: uri }] }],
    [{ ssl: uri }],
    [{ recovery: uri }],
    [{ [uri]: 1 }],
    [{ password: 51_423 }],
    [new URL('http://me:s3cret@broker')],
  ]
  for (const args of wrong) {
    it(`is not shown: ${
      typeof args.at(-1) === 'string'
        ? 'options'
        : Object.keys(args.at(-1) as object)
            .join()
            .slice(0, 20)
    }`, () => {
      assert.throws(
        () => resolveSettings(...(args as Parameters<typeof resolveSettings>)),
        (error: Error) => !/s3cret|51423/.test(`${error.message} ${error.stack}`),
      )
    })
  }
})

describe('TLS settings', () => {
  let files: Certificates
  before(() => {
    files = makeCertificates()
  })
  after(() => files.remove())

  it('verify the server unless an option says otherwise, and the option wins', () => {
    assert.deepEqual(serverOf('amqps://host').tls, { rejectUnauthorized: true })
    assert.deepEqual(serverOf('amqps://host?verify=verify_none').tls, { rejectUnauthorized: false })
    assert.deepEqual(serverOf('amqps://host?verify=verify_none', { verifySsl: true }).tls, { rejectUnauthorized: true })
    assert.deepEqual(serverOf({ ssl: true, verifySsl: false }).tls, { rejectUnauthorized: false })
    assert.deepEqual(serverOf({ ssl: { rejectUnauthorized: false } }).tls, { rejectUnauthorized: false })
    assert.deepEqual(serverOf({ ssl: { rejectUnauthorized: false }, verifySsl: true }).tls, {
      rejectUnauthorized: true,
    })
    assert.equal(serverOf({ verifySsl: false }).tls, undefined)
  })

  it('read the files that a URL names, and let ssl win over them', () => {
    const { caFile, certFile, keyFile, ca, cert, key } = files
    const url = `amqps://host?cacertfile=${caFile}&certfile=${certFile}&keyfile=${keyFile}&server_name_indication=other`
    assert.deepEqual(serverOf(url).tls, { ca, cert, key, servername: 'other', rejectUnauthorized: true })
    const unset = { ca: undefined, cert: undefined, key: undefined, servername: undefined }
    assert.deepEqual(serverOf(url, { ssl: unset }).tls, serverOf(url).tls, 'undefined is as if it were left out')
    assert.deepEqual(serverOf(url, { ssl: { ca: 'mine', minVersion: 'TLSv1.3' } }).tls, {
      ca: 'mine',
      cert,
      key,
      servername: 'other',
      minVersion: 'TLSv1.3',
      rejectUnauthorized: true,
    })
  })

  it('look for the key in certfile if no keyfile is named', () => {
    const { tls } = serverOf(`amqps://host?certfile=${files.certFile}`)
    assert.deepEqual(tls?.key, files.cert)
  })

  it('refuse a file that cannot be read, with the cause and without the password', () => {
    const missing = join(tmpdir(), 'no', 'such.pem')
    assert.throws(
      () => resolveSettings(`amqps://me:s3cret@host?cacertfile=${missing}`),
      (error: Error) => {
        assert.ok(error instanceof AmqpUriError)
        assert.match(
          error.message,
          /^the AMQP URI "amqps:\/\/me:\*\*\*@host" names a "cacertfile" that cannot be read: ENOENT/,
        )
        assert.equal((error.cause as NodeJS.ErrnoException).code, 'ENOENT')
        return true
      },
    )
  })

  it('refuse TLS parameters if nothing is encrypted', () => {
    for (const parameter of [
      'cacertfile=x',
      'certfile=x',
      'keyfile=x',
      'verify=verify_peer',
      'server_name_indication=x',
    ]) {
      assert.throws(
        () => resolveSettings(`amqp://host?${parameter}`),
        (error: Error) => {
          assert.ok(error instanceof AmqpUriError)
          assert.match(
            error.message,
            new RegExp(`"${parameter.split('=')[0]}", which only works with TLS; use "amqps://"`),
          )
          return true
        },
      )
    }
    assert.deepEqual(serverOf('amqp://host?verify=verify_none', { ssl: true }).tls, { rejectUnauthorized: false })
  })
})
