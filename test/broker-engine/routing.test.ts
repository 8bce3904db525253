import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { matchesHeaders } from '../../src/broker/header-match.ts'
import { releaseOf } from '../../src/broker/release.ts'
import type { ReleaseName } from '../../src/broker/release-name.ts'
import { matchesTopic } from '../../src/broker/topic-pattern.ts'
import * as methods from '../../src/protocol/methods.ts'
import { decimal, double, type FieldValue, int8 } from '../../src/protocol/values.ts'
import { EngineClient, startEngine } from './engine-client.ts'

describe('The pattern of a topic exchange', () => {
  it('takes one word for a star, and any number of words for a hash', () => {
    for (const [pattern, yes, no] of [
      ['a.*', ['a.b', 'a.'], ['a', 'a.b.c', 'b.a']],
      ['a.#', ['a', 'a.b', 'a.b.c'], ['b', 'ab']],
      ['#', ['', 'a', 'a.b'], []],
      ['#.b.#', ['b', 'a.b', 'b.c', 'a.b.c'], ['a', 'a.c']],
      ['*.*', ['a.b', '.'], ['a', 'a.b.c']],
      ['', [''], ['a']],
      ['#.*', ['a', 'a.b'], ['']],
    ] as const) {
      for (const key of yes) assert.equal(matchesTopic(pattern, key), true, `${pattern} takes ${key}`)
      for (const key of no) assert.equal(matchesTopic(pattern, key), false, `${pattern} does not take ${key}`)
    }
  })

  it('is matched in a time that many hashes do not blow up', () => {
    const words = Array.from({ length: 60 }, () => 'a')
    assert.equal(matchesTopic(`${'#.'.repeat(25)}b`, words.join('.')), false)
  })
})

describe('A binding to a headers exchange', () => {
  it('wants all headers, or any of them', () => {
    const headers = { a: 1, b: 'two', 'x-c': true }
    assert.equal(matchesHeaders({ a: 1, b: 'two' }, headers, releaseOf('4.3')), true)
    assert.equal(matchesHeaders({ a: 1, b: 'three' }, headers, releaseOf('4.3')), false)
    assert.equal(matchesHeaders({ 'x-match': 'any', a: 2, b: 'two' }, headers, releaseOf('4.3')), true)
    assert.equal(matchesHeaders({ 'x-match': 'any', a: 2 }, headers, releaseOf('4.3')), false)
    assert.equal(matchesHeaders({ a: null }, headers, releaseOf('4.3')), true)
    assert.equal(matchesHeaders({ 'x-c': false }, headers, releaseOf('4.3')), true)
    assert.equal(matchesHeaders({ 'x-match': 'all-with-x', 'x-c': false }, headers, releaseOf('4.3')), false)
  })
})

/** Values that are alike or nearly so. */
const VALUES: readonly FieldValue[] = [
  1,
  int8(1),
  double(1),
  new Date(1000),
  1000,
  'one',
  Buffer.from('one'),
  [1],
  [int8(1)],
  [],
  {},
  { a: 1 },
  decimal(1, 0),
  null,
]
const RELEASES: readonly ReleaseName[] = ['3.10', '4.3']

describe('The value of a header', () => {
  // Each row: a binding; the values that it takes of 3.10 and of 4.3.
  for (const [binding, ...taken] of [
    [1, [0, 1, 2, 3], [0, 1]],
    [double(1), [0, 1, 2, 3], [2]],
    [new Date(1000), [0, 1, 2, 3], [0, 1]],
    [1000, [4], [3, 4]],
    ['one', [5, 6], [5, 6]],
    [Buffer.from('one'), [5, 6], [5, 6]],
    [[1], [7], [7]],
    [[], [9, 10], [9, 10]],
    [{ a: 1 }, [11], [11]],
    [decimal(1, 0), [12], [12]],
    [null, [...VALUES.keys()], [...VALUES.keys()]],
  ] as const) {
    for (const [at, release] of RELEASES.entries()) {
      it(`is compared with ${inspect(binding)} as in RabbitMQ ${release}`, () => {
        const client = EngineClient.open(startEngine({ release }).engine)
        client.send(1, methods.QueueDeclare, { queueName: 'q' })
        client.send(1, methods.QueueBind, { queueName: 'q', exchangeName: 'amq.headers', arguments: { h: binding } })
        client.take()
        for (const [index, h] of VALUES.entries()) client.publish(1, 'amq.headers', '', `${index}`, { headers: { h } })
        for (const _ of VALUES) client.send(1, methods.BasicGet, { queueName: 'q', noAck: true })
        const got = client.take().flatMap(({ name, body }) => (name === 'basic.get-ok' ? Number(body) : []))
        assert.deepEqual(got, taken[at])
      })
    }
  }
})

describe('A binding', () => {
  it('is another one if an argument has another type', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'q' })
    const binding = { queueName: 'q', exchangeName: 'amq.direct', routingKey: 'a' }
    client.send(1, methods.QueueBind, { ...binding, arguments: { a: 1, b: 2 } })
    client.send(1, methods.QueueUnbind, { ...binding, arguments: { a: int8(1), b: 2 } })
    client.publish(1, 'amq.direct', 'a', 'stays')
    client.send(1, methods.QueueUnbind, { ...binding, arguments: { b: 2, a: 1 } })
    client.publish(1, 'amq.direct', 'a', 'is gone')
    assert.deepEqual(
      engine.queue('q', '/')?.ready.map(({ message }) => message.body.toString()),
      ['stays'],
    )
  })

  for (const [release, expected] of [
    ['3.10', 'queue.bind-ok undefined'],
    [
      '4.3',
      "channel.close PRECONDITION_FAILED - Topic binding key '#.a.#.#' uses 3 '#' wildcards, at most 2 are allowed",
    ],
  ] as const) {
    it(`to a topic exchange may have as many hashes as with RabbitMQ ${release}`, () => {
      const client = EngineClient.open(startEngine({ release }).engine)
      client.send(1, methods.QueueDeclare, { queueName: 'q' })
      client.send(1, methods.QueueBind, { queueName: 'q', exchangeName: 'amq.topic', routingKey: '#.a.#.#' })
      const { name, args } = client.take().at(-1) ?? { name: 'nothing', args: {} }
      assert.equal(`${name} ${args.replyText}`, expected)
    })
  }

  for (const [value, printed] of [
    [null, 'void (value undefined)'],
    [[], 'array (value [])'],
    [[1, 'a'], 'array (value [{signedint,1},{longstr,<<"a">>}])'],
    [Buffer.from('all'), 'binary (value <<"all">>)'],
    [new Date(0), 'timestamp (value 0)'],
  ] as const) {
    it(`to a headers exchange is refused if x-match is ${inspect(value)}`, () => {
      const client = EngineClient.open(startEngine().engine)
      client.send(1, methods.QueueDeclare, { queueName: 'q' })
      client.send(1, methods.QueueBind, {
        exchangeName: 'amq.headers',
        queueName: 'q',
        arguments: { 'x-match': value },
      })
      const text = `PRECONDITION_FAILED - Invalid x-match field type ${printed}; expected longstr`
      assert.equal(client.take().at(-1)?.args.replyText, text)
    })
  }
})

describe('An exchange of the broker', () => {
  it('gives what none of its bindings wants to its alternate exchange', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.ExchangeDeclare, { exchangeName: 'rest', typeName: 'fanout' })
    client.send(1, methods.ExchangeDeclare, {
      exchangeName: 'main',
      typeName: 'direct',
      arguments: { 'alternate-exchange': 'rest' },
    })
    for (const queueName of ['wanted', 'others']) client.send(1, methods.QueueDeclare, { queueName, durable: true })
    client.send(1, methods.QueueBind, { queueName: 'wanted', exchangeName: 'main', routingKey: 'a' })
    client.send(1, methods.QueueBind, { queueName: 'others', exchangeName: 'rest' })
    client.publish(1, 'main', 'a', 'one')
    client.publish(1, 'main', 'b', 'two')
    const bodies = (name: string) => engine.queue(name, '/')?.ready.map(({ message }) => message.body.toString())
    assert.deepEqual([bodies('wanted'), bodies('others')], [['one'], ['two']])
  })

  it('reaches queues through other exchanges, each once, even in a circle', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    for (const exchangeName of ['x', 'y']) client.send(1, methods.ExchangeDeclare, { exchangeName, typeName: 'fanout' })
    client.send(1, methods.ExchangeBind, { exchangeDestination: 'y', exchangeSource: 'x' })
    client.send(1, methods.ExchangeBind, { exchangeDestination: 'x', exchangeSource: 'y' })
    client.send(1, methods.QueueDeclare, { queueName: 'q', durable: true })
    for (const exchangeName of ['x', 'y']) client.send(1, methods.QueueBind, { queueName: 'q', exchangeName })
    client.publish(1, 'x', '', 'once')
    assert.equal(engine.queue('q', '/')?.messageCount, 1)
  })

  it('is deleted with its last binding if it is auto-delete', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.ExchangeDeclare, { exchangeName: 'passing', typeName: 'fanout', autoDelete: true })
    client.send(1, methods.QueueDeclare, { queueName: 'q', durable: true })
    client.send(1, methods.QueueBind, { queueName: 'q', exchangeName: 'passing' })
    client.send(1, methods.QueueDelete, { queueName: 'q' })
    assert.equal(engine.exchange('passing', '/'), undefined)
  })
})
