import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as methods from '../../src/protocol/methods.ts'
import type { FieldTable, FieldValue } from '../../src/protocol/values.ts'
import { EngineClient, startEngine } from './engine-client.ts'

const RELEASES = ['3.10', '4.3'] as const
const DYING: FieldTable = { 'x-max-length': 0, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' }

const long = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const double = (value: number) => {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(value)
  return bytes
}
const float = (value: number) => double(value).subarray(0, 4)
const short = (bytes: Uint8Array) => Buffer.concat([Buffer.of(bytes.length), bytes])
const sized = (...parts: Uint8Array[]) => {
  const bytes = Buffer.concat(parts)
  return Buffer.concat([long(bytes.length), bytes])
}
const entry = (name: Uint8Array, type: string, value: Uint8Array) =>
  Buffer.concat([short(name), Buffer.from(type), value])
const frame = (type: number, payload: Uint8Array) =>
  Buffer.concat([Buffer.of(type, 0, 1), sized(payload), Buffer.of(0xce)])
const method = (key: number, ...args: Uint8Array[]) => frame(1, Buffer.concat([long(key), ...args]))
/** basic.publish to the exchange `to`. */
const publish = (routingKey: Uint8Array) =>
  method(methods.BasicPublish.key, Buffer.alloc(2), short(Buffer.from('to')), short(routingKey), Buffer.alloc(1))
const content = (flags: number, ...properties: Uint8Array[]) => {
  const header = Buffer.from([0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, flags >> 8, flags & 0xff])
  return Buffer.concat([frame(2, Buffer.concat([header, ...properties])), frame(3, Buffer.from('x'))])
}
const HEADERS = 0x2000
const MESSAGE_ID = 0x0080
const a = Buffer.from('a')
const z = entry(Buffer.from('z'), 'V', Buffer.alloc(0))
const NOT_UTF8 = Buffer.alloc(200, 0xff)

const numbers: readonly (readonly [string, string, Buffer])[] = [
  ['NaN', 'd', double(Number.NaN)],
  ['infinity', 'd', double(Number.POSITIVE_INFINITY)],
  ['a float that is NaN', 'f', float(Number.NaN)],
  ['an array with NaN', 'A', sized(Buffer.from('d'), double(Number.NaN))],
  ['a table with NaN', 'F', sized(entry(a, 'd', double(Number.NaN)))],
]

/** A client of a broker where messages of the exchange `to` go through a queue to one for the dead. */
function start(release: (typeof RELEASES)[number]) {
  const { engine } = startEngine({ release })
  const client = EngineClient.open(engine)
  client.send(1, methods.ExchangeDeclare, { exchangeName: 'to', typeName: 'fanout' })
  client.send(1, methods.QueueDeclare, { queueName: 'dying', arguments: DYING })
  client.send(1, methods.QueueDeclare, { queueName: 'dead' })
  client.send(1, methods.QueueBind, { queueName: 'dying', exchangeName: 'to' })
  client.take()
  const got = () => {
    client.send(1, methods.BasicGet, { queueName: 'dead', noAck: true })
    return client.take()[0]
  }
  return { client, got }
}

for (const release of RELEASES) {
  describe(`A hostile client of a broker like RabbitMQ ${release}`, () => {
    for (const [what, type, bytes] of numbers) {
      it(`breaks its connection by a message with ${what} in its headers`, () => {
        const { client } = start(release)
        client.bytes(publish(a))
        client.bytes(content(HEADERS, sized(z, entry(a, type, bytes))))
        assert.equal(client.take()[0]?.args.replyText, 'INTERNAL_ERROR')
      })

      it(`is cut for ${what} in its arguments`, () => {
        const { client } = start(release)
        client.bytes(
          method(methods.QueueDeclare.key, Buffer.alloc(2), short(a), Buffer.of(0), sized(entry(a, type, bytes))),
        )
        assert.deepEqual(client.take(), [])
        assert.equal(client.ended, 'reset')
      })
    }

    for (const [what, key, properties] of [
      ['a routing key', NOT_UTF8, content(0)],
      ['the name of a header', a, content(HEADERS, sized(z, entry(NOT_UTF8, 'V', Buffer.alloc(0))))],
      ['a message id', a, content(MESSAGE_ID, short(NOT_UTF8))],
    ] as const) {
      it(`breaks its connection by ${what} that is too long when it is made UTF-8`, () => {
        const { client } = start(release)
        client.bytes(publish(key))
        client.bytes(properties)
        assert.equal(client.take()[0]?.args.replyText, 'INTERNAL_ERROR')
      })
    }

    it('names no queue by octets that are not UTF-8, whatever else it sends', () => {
      const { client } = start(release)
      const same = entry(a, 'S', sized(Buffer.from('\ufffd'.repeat(NOT_UTF8.length))))
      client.bytes(method(methods.QueueDeclare.key, Buffer.alloc(2), short(NOT_UTF8), Buffer.of(0), sized(same)))
      assert.equal(client.ended, 'reset')
    })

    it('may name a header as a property that every object has', () => {
      const { client, got } = start(release)
      for (const name of ['__proto__', 'constructor', 'toString']) {
        client.bytes(publish(a))
        client.bytes(content(HEADERS, sized(z, entry(Buffer.from(name), 'F', sized()))))
        const { headers = {} } = got()?.properties ?? {}
        assert.deepEqual(Object.getOwnPropertyDescriptor(headers, name)?.value, {}, name)
      }
    })

    it('may send a table that looks like a value of amqplib', () => {
      const { client, got } = start(release)
      const notation = sized(
        entry(Buffer.from('!'), 'S', sized(Buffer.from('int8'))),
        entry(Buffer.from('value'), 'b', a),
      )
      for (const other of ['text', 'täxt']) {
        client.bytes(publish(a))
        const text = entry(Buffer.from('other'), 'S', sized(Buffer.from(other)))
        client.bytes(content(HEADERS, sized(z, entry(a, 'F', notation), text)))
        assert.deepEqual(got()?.properties?.headers?.['a'], { '!': 'int8', value: 97 }, other)
      }
    })

    const counts: readonly FieldValue[] = ['7', ['7'], true, { toString: 1, valueOf: 1 }, [{ toString: 1 }], null]
    it('may write any count of deaths', () => {
      const { client, got } = start(release)
      for (const count of counts) {
        const death = { queue: 'dying', reason: 'maxlen', count }
        client.publish(1, 'to', '', 'x', { headers: { 'x-death': [death] } })
        const { headers = {} } = got()?.properties ?? {}
        const [known] = headers['x-death'] as readonly FieldTable[]
        assert.equal(known?.['count'], 1, JSON.stringify(count))
      }
    })
  })
}
