import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { maskUri, parseUri, type UriParts } from '../../../src/connection/settings/uri.ts'
import { AmqpUriError } from '../../../src/errors.ts'

function parts(expected: Partial<UriParts>): UriParts {
  return {
    tls: false,
    login: undefined,
    password: undefined,
    host: undefined,
    port: undefined,
    virtualhost: undefined,
    query: {},
    ...expected,
  }
}

function errorOf(uri: string): AmqpUriError {
  try {
    parseUri(uri)
  } catch (error) {
    assert.ok(error instanceof AmqpUriError)
    return error
  }
  assert.fail(`${uri} was accepted`)
}

describe('parseUri', () => {
  // https://www.rabbitmq.com/docs/uri-spec, appendix A, row by row.
  const appendixA: [uri: string, expected: Partial<UriParts>][] = [
    [
      'amqp://user:pass@host:10000/vhost',
      { login: 'user', password: 'pass', host: 'host', port: 10_000, virtualhost: 'vhost' },
    ],
    [
      'amqp://user%61:%61pass@ho%61st:10000/v%2fhost',
      { login: 'usera', password: 'apass', host: 'hoast', port: 10_000, virtualhost: 'v/host' },
    ],
    ['amqp://', {}],
    ['amqp://:@/', { login: '', password: '', virtualhost: '' }],
    ['amqp://user@', { login: 'user' }],
    ['amqp://user:pass@', { login: 'user', password: 'pass' }],
    ['amqp://host', { host: 'host' }],
    ['amqp://:10000', { port: 10_000 }],
    ['amqp:///vhost', { virtualhost: 'vhost' }],
    ['amqp://host/', { host: 'host', virtualhost: '' }],
    ['amqp://host/%2f', { host: 'host', virtualhost: '/' }],
    ['amqp://[::1]', { host: '::1' }],
  ]
  for (const [uri, expected] of appendixA) {
    it(`reads ${uri} as the specification does`, () => {
      assert.deepEqual(parseUri(uri), parts(expected))
      assert.deepEqual(parseUri(uri.replace('amqp', 'amqps')), parts({ ...expected, tls: true }))
    })
  }

  it('reads the scheme in any case', () => {
    assert.deepEqual(parseUri('AMQPS://Host'), parts({ tls: true, host: 'Host' }))
    assert.deepEqual(parseUri('Amqp://host'), parts({ host: 'host' }))
  })

  it('decodes percent-encoded UTF-8 in every part', () => {
    assert.deepEqual(
      parseUri('amqp://us%40er:p%C3%A4ss%23%25%2F%3A@[fe80::1%25eth0]:5673/%E2%82%AC?certfile=%2Ftmp%2Fa%26b+c'),
      parts({
        login: 'us@er',
        password: 'päss#%/:',
        host: 'fe80::1%eth0',
        port: 5673,
        virtualhost: '€',
        query: { certfile: '/tmp/a&b+c' },
      }),
    )
  })

  it('keeps bare colons, sub-delimiters and letters past ASCII in a password', () => {
    assert.equal(parseUri("amqp://u:a:b!$&'()*+,;=~_-.ä@host").password, "a:b!$&'()*+,;=~_-.ä")
  })

  it('takes an empty port as absent', () => {
    assert.deepEqual(parseUri('amqp://host:/v'), parts({ host: 'host', virtualhost: 'v' }))
    assert.deepEqual(parseUri('amqp://[::1]:/v'), parts({ host: '::1', virtualhost: 'v' }))
    for (const host of ['::', '::ffff:127.0.0.1', '2001:DB8:0:0:0:0:0:1', 'fe80::1%eth0']) {
      assert.deepEqual(parseUri(`amqp://[${host.replace('%', '%25')}]`), parts({ host }))
    }
  })

  it('takes a URL object', () => {
    assert.deepEqual(
      parseUri(new URL('amqps://user:p%40ss@[::1]:5671/%2f?heartbeat=5')),
      parts({
        tls: true,
        login: 'user',
        password: 'p@ss',
        host: '::1',
        port: 5671,
        virtualhost: '/',
        query: { heartbeat: 5 },
      }),
    )
    assert.deepEqual(parseUri(new URL('amqp://host')), parts({ host: 'host' }))
    assert.deepEqual(parseUri(new URL('amqp://host/')), parts({ host: 'host', virtualhost: '' }))
  })

  it('reads every query parameter', () => {
    assert.deepEqual(
      parseUri(
        'amqps://host/?heartbeat=0&connection_timeout=10000&channel_max=2047&frame_max=131072&auth_mechanism=plain' +
          '&auth_mechanism=AMQPLAIN&auth_mechanism=external&cacertfile=/ca.pem&certfile=c.pem&keyfile=k.pem' +
          '&verify=verify_none&server_name_indication=broker.example',
      ).query,
      {
        heartbeat: 0,
        connectionTimeout: 10_000,
        channelMax: 2047,
        frameMax: 131_072,
        authMechanisms: ['PLAIN', 'AMQPLAIN', 'EXTERNAL'],
        cacertfile: '/ca.pem',
        certfile: 'c.pem',
        keyfile: 'k.pem',
        verify: 'verify_none',
        serverNameIndication: 'broker.example',
      },
    )
    assert.deepEqual(parseUri('amqp://host?frame_max=0&').query, { frameMax: 0 })
    assert.deepEqual(parseUri('amqp://host?').query, {})
  })

  const refused: [uri: string, message: RegExp][] = [
    ['', /does not start with "amqp:\/\/" or "amqps:\/\/"/],
    ['http://localhost', /"http:\/\/localhost" does not start with/],
    ['localhost:5672', /"localhost:5672" does not start with/],
    ['amqp:host', /does not start with/],
    ['amqp+ssl://host', /does not start with/],
    ['amqp://ho st', /white space/],
    ['amqp://host\n', /white space/],
    ['amqp://host/v#x', /fragment.*%23/],
    ['amqp://host/a/b', /more than one '\/' behind the host.*%2F/],
    ['amqp://host//', /more than one '\/' behind the host.*%2F/],
    ['amqp://host:0', /"amqp:\/\/host:0" has a bad port.*from 1 to 65535/],
    ['amqp://host:65536', /bad port/],
    ['amqp://host:-1', /bad port/],
    ['amqp://host:5672x', /bad port/],
    ['amqp://::1', /IPv6 address has to be in brackets/],
    ['amqp://fe80::1:5672/', /IPv6 address has to be in brackets/],
    ['amqp://[::1', /bad host/],
    ['amqp://[::1]5672', /bad host/],
    ['amqp://[host]', /not an IPv6 address/],
    ['amqp://[:::::]', /not an IPv6 address/],
    ['amqp://[1::2::3]', /not an IPv6 address/],
    ['amqp://[::12345]', /not an IPv6 address/],
    ['amqp://[]', /not an IPv6 address/],
    ['amqp://[127.0.0.1]', /not an IPv6 address/],
    ['amqp://[::1%]', /not an IPv6 address/],
    ['amqp://ho%2fst', /bad host/],
    ['amqp://host/%zz', /virtual host with a '%'.*%25/],
    ['amqp://us%ffer@host', /user name with a '%'/],
    [`amqp://host/${'v'.repeat(256)}`, /virtual host of more than 255 bytes/],
    ['amqp://host?hearbeat=5', /unknown parameter "hearbeat"; did you mean "heartbeat"\?/],
    ['amqp://host?password=x', /unknown parameter "password"; known are heartbeat, /],
    ['amqp://host?heartbeat=5&heartbeat=6', /"heartbeat" twice/],
    ['amqp://host?heartbeat', /bad "heartbeat": it must be an integer from 0 to 3600 \(seconds\), not ""/],
    ['amqp://host?heartbeat=ten', /not "ten"/],
    ['amqp://host?heartbeat=-1', /not "-1"/],
    ['amqp://host?heartbeat=1.5', /not "1.5"/],
    ['amqp://host?heartbeat=10000', /bad "heartbeat"/],
    ['amqp://host?connection_timeout=0', /bad "connection_timeout".*milliseconds/],
    ['amqp://host?channel_max=65536', /bad "channel_max"/],
    ['amqp://host?frame_max=4095', /bad "frame_max"/],
    ['amqp://host?auth_mechanism=gssapi', /bad "auth_mechanism": it must be PLAIN or AMQPLAIN or EXTERNAL/],
    ['amqps://host?verify=yes', /bad "verify": it must be verify_peer or verify_none, not "yes"/],
    ['amqps://host?cacertfile=', /empty "cacertfile"/],
  ]
  for (const [uri, message] of refused) {
    it(`refuses ${JSON.stringify(uri.slice(0, 60))}`, () => {
      assert.match(errorOf(uri).message, message)
    })
  }

  it('never shows a password, not even one that was not percent-encoded', () => {
    const uris = [
      'amqp://user:s3cret@host:99999/',
      'amqp://user:s3cret@host?nope=1',
      'amqp://user:s3cret%zz@host',
      'amqp://user:s3cret@more@host',
      'amqp://user:p/s3cret@host/a/b',
      'amqp://user:s3cret/p@host',
      'amqp://user:p?s3cret@host',
      'amqp://user:1?x=s3cret@host',
      'amqp://user:1?s3cret@host',
      'amqp://user:p#s3cret@host',
      'amqp://user:1#s3cret@host',
      'amqp://user:s3cret',
      'amqp://user: s3cret@host',
      'amqp://host?password=s3cret',
      'amqp://host?password=s3cret@x',
      'http://user:s3cret@host',
      'user:s3cret@host:5672',
      'user:p://s3cret@host',
      'amqp:user:s3cret@host',
      'amqps://user:s3cret@[host]',
    ]
    for (const uri of uris) {
      const error = errorOf(uri)
      assert.ok(!`${error.stack}${error.message}${String(error.cause)}`.includes('s3cret'), error.message)
    }
    assert.match(errorOf('amqp://user:s3cret/p@host').message, /percent-encode '\/'/)
  })
})

describe('maskUri', () => {
  it('hides the password and the query, and nothing else', () => {
    assert.equal(maskUri('amqp://user:pass@host:5672/v?x=y'), 'amqp://user:***@host:5672/v')
    assert.equal(maskUri('amqps://user@host/v'), 'amqps://user@host/v')
    assert.equal(maskUri('amqp://host:5672/v'), 'amqp://host:5672/v')
    assert.equal(maskUri('amqp://[::1]:5672/v'), 'amqp://[::1]:5672/v')
    assert.equal(maskUri('amqp://'), 'amqp://')
  })

  it('hides all that may be a part of the password, wherever that was not percent-encoded', () => {
    for (const uri of [
      'amqp://me:se@cr?et@host/vh',
      'amqp://me:se?cr@et@host',
      'amqp://me:se/cr@host',
      'amqp://me:se@cr/et@host',
      'amqp://me:se#cr@host',
      'amqp://me:se@cr#et',
      'amqp://me:secret',
      'me:se?cr@host',
      'amqp://me:se@cr@host?heartbeat=5@x',
    ]) {
      assert.match(maskUri(uri), /^(amqp:\/\/)?me:\*\*\*$/, uri)
    }
  })

  it('lets no message show a part of the password, whatever is wrong with the URI', () => {
    for (const uri of [
      'amqp://me:s3@cr?3t@host/vh',
      'amqp://me:s3?cr@3t=1@host',
      'amqp://me:cr@h/3t@host',
      'amqp://me:s3%zz3t@host',
      'amqp://me:s3 3t@host',
      'amqp://me:3t@host@host',
      'http://me:3t@host',
      'amqp://me:x@host?heartbeat=3t@y',
      'amqp://me:x@host?3t=1@y',
    ]) {
      assert.throws(
        () => parseUri(uri),
        (error: Error) => error instanceof AmqpUriError && !/3t|cr/.test(error.message),
        uri,
      )
    }
  })
})
