import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { matchesHeaders } from '../../src/broker/header-match.ts'
import { matchesTopic } from '../../src/broker/topic-pattern.ts'
import * as methods from '../../src/protocol/methods.ts'
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
    assert.equal(matchesHeaders({ a: 1, b: 'two' }, headers), true)
    assert.equal(matchesHeaders({ a: 1, b: 'three' }, headers), false)
    assert.equal(matchesHeaders({ 'x-match': 'any', a: 2, b: 'two' }, headers), true)
    assert.equal(matchesHeaders({ 'x-match': 'any', a: 2 }, headers), false)
    assert.equal(matchesHeaders({ a: null }, headers), true)
    assert.equal(matchesHeaders({ 'x-c': false }, headers), true)
    assert.equal(matchesHeaders({ 'x-match': 'all-with-x', 'x-c': false }, headers), false)
  })
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
