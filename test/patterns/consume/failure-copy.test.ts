import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError } from '../../../src/errors.ts'
import { failureCopy, publishCopy } from '../../../src/patterns/consume/failure-copy.ts'
import { Message } from '../../../src/patterns/consume/message.ts'
import type { ReliablePublisher } from '../../../src/patterns/publish/reliable-publisher.ts'
import type { BasicProperties } from '../../../src/protocol/properties.ts'
import { PublishEncoder } from '../../../src/protocol/publish-encoder.ts'
import type { Properties } from '../../../src/protocol/received-properties.ts'
import type { FieldTable } from '../../../src/protocol/values.ts'
import { Writer } from '../../../src/protocol/writer.ts'
import { HOSTILE_VALUES } from '../../support/hostile-values.ts'
import { encode, read } from '../../support/property-lists.ts'

const encoder = new PublishEncoder(new Writer(), 4_096)
const check = (properties: BasicProperties): void => encoder.check('', 'errors', true, properties, '')

function failed(properties: BasicProperties): Message {
  const envelope = { consumerTag: 'c', deliveryTag: 1, exchangeName: 'x', routingKey: 'k', isRedeliver: false }
  return new Message(Buffer.from('body'), envelope, received(properties), undefined)
}

function copyOf(properties: BasicProperties, error: unknown): BasicProperties & { readonly headers: FieldTable } {
  const copy = failureCopy(failed(properties), error, check)
  assert.doesNotThrow(() => check(copy))
  return { ...copy, headers: copy.headers ?? {} }
}

describe('The copy of a failed message', () => {
  for (const [what, thrown] of Object.entries(HOSTILE_VALUES)) {
    it(`can be made where its handler threw ${what}`, () => {
      const { headers } = copyOf({ messageId: 'm', headers: { a: 1 } }, thrown)
      assert.equal(headers['a'], 1)
      assert.equal(typeof headers['x-exception-message'], 'string')
      assert.equal(headers['x-original-exchange'], 'x')
    })
  }

  it('has the message of its error whole characters only', () => {
    for (let length = 994; length <= 1_000; length++) {
      const { headers } = copyOf({}, new Error(`${'a'.repeat(length)}😀😀`))
      const text = String(headers['x-exception-message'])
      assert.ok(text.isWellFormed())
      assert.ok(!text.includes('\ufffd'))
      assert.ok(Buffer.byteLength(text) > length - 1)
    }
  })

  it('neither expires nor has what was counted of the original, nor goes if that went', () => {
    const death = [{ queue: 'q', reason: 'rejected', count: 3 }]
    const gone = { CC: ['q'], BCC: ['q'], 'x-delivery-count': 3, 'x-acquired-count': 4, 'x-stream-offset': 5n }
    const copy = copyOf({ expiration: '1500', headers: { ...gone, 'x-death': death, tenant: 7 } }, new Error('no'))
    assert.equal(copy.expiration, undefined)
    assert.deepEqual(Object.keys(copy.headers).sort(), [
      'tenant',
      'x-death',
      'x-exception-message',
      'x-exception-stacktrace',
      'x-original-exchange',
      'x-original-routingKey',
    ])
  })

  // 4 kB hold it all with less and less of the message's own headers' room.
  const steps: readonly (readonly [string, number, (headers: FieldTable) => boolean])[] = [
    ['all of it', 10, headers => String(headers['x-exception-stacktrace']).length > 0 && 'own' in headers],
    ['no stack', 2_000, headers => !('x-exception-stacktrace' in headers) && 'own' in headers],
    ['a short message', 3_600, headers => String(headers['x-exception-message']).length === 200 && 'own' in headers],
    ['none of its own headers', 3_990, headers => !('own' in headers) && 'x-exception-message' in headers],
  ]
  for (const [what, size, holds] of steps) {
    it(`has ${what} if ${size} bytes of the header frame are taken`, () => {
      const error = new Error('m'.repeat(1_000))
      error.stack = 's'.repeat(1_500)
      const copy = copyOf({ messageId: 'm', headers: { own: 'h'.repeat(size) } }, error)
      assert.ok(holds(copy.headers))
      assert.equal(copy.messageId, 'm')
    })
  }

  it('has only the place it came from if nothing else has room', () => {
    const envelope = { ...failed({}).envelope, exchangeName: 'x'.repeat(255), routingKey: 'k'.repeat(255) }
    const message = new Message(Buffer.alloc(0), envelope, received({ messageId: 'm' }), undefined)
    const copy = failureCopy(message, new Error('no'), () => {
      throw new Error('nothing fits')
    })
    assert.deepEqual(copy, {
      headers: { 'x-original-exchange': envelope.exchangeName, 'x-original-routingKey': envelope.routingKey },
    })
  })

  it('goes without the headers that cannot be written', () => {
    const message = failed({ headers: { good: 1, bad: 2 } })
    const copy = failureCopy(message, new Error('no'), properties => {
      if ('bad' in (properties.headers ?? {})) throw new Error('bad')
    })
    assert.equal(copy.headers?.['good'], 1)
    assert.equal(copy.headers?.['bad'], undefined)
  })
})

describe('Publishing a copy', () => {
  /** The properties of each attempt at a broker that closes the channel over those with one of `refused`. */
  async function attempts(properties: BasicProperties, ...refused: ('userId' | 'replyTo')[]) {
    const seen: BasicProperties[] = []
    const publisher = {
      publish: async (_body: unknown, _exchange: string, _key: string, sent: BasicProperties) => {
        seen.push(sent)
        if (refused.some(name => sent[name] !== undefined)) {
          throw new ChannelClosedError('refused', { replyCode: 406, replyText: 'PRECONDITION_FAILED' })
        }
      },
    } as unknown as ReliablePublisher
    const destination = { exchangeName: '', routingKey: 'errors' }
    const published = publishCopy(publisher, failed({}), destination, properties)
    return { seen, error: await published.then(() => undefined, String) }
  }
  const whole = { messageId: 'm', userId: 'alice', replyTo: 'answers' }

  it('goes on without the userId if that is refused, and keeps replyTo', async () => {
    const { seen, error } = await attempts(whole, 'userId')
    assert.deepEqual(seen, [whole, { messageId: 'm', replyTo: 'answers' }])
    assert.equal(error, undefined)
  })

  it('goes on without replyTo if that is refused, too', async () => {
    const { seen, error } = await attempts(whole, 'userId', 'replyTo')
    assert.deepEqual(seen.at(-1), { messageId: 'm' })
    assert.equal(error, undefined)
    assert.deepEqual((await attempts({ messageId: 'm', replyTo: 'answers' }, 'replyTo')).seen.length, 2)
  })

  it('keeps all headers that are not refused', async () => {
    const { seen, error } = await attempts(whole)
    assert.deepEqual(seen, [whole])
    assert.equal(error, undefined)
  })
})

function received(properties: BasicProperties): Properties {
  return read(encode(properties))
}
