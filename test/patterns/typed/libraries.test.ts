import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'
import amqplib from 'amqplib'
import { connect, DecodeError, EncodeError, type StandardSchema } from '../../../src/index.ts'
import { broker } from '../../support/broker.ts'
import { uniqueName } from '../../support/names.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'

/** As users write it: `id` is a number, `at` a text that becomes a date. */
interface Event {
  readonly id: number
  readonly at: Date
}

type EventSchema = StandardSchema<{ id: number; at: string }, Event>

/** What a test needs of the modules, whose own types are for the programs of users. */
async function load(name: string): Promise<Record<string, (...args: unknown[]) => never>> {
  return await import(name)
}

const SCHEMAS: Record<string, () => Promise<EventSchema>> = {
  async zod() {
    const { object, number, string } = await load('zod')
    const text = string?.() as unknown as { transform(change: (text: string) => Date): unknown }
    return object?.({ id: number?.(), at: text.transform(at => new Date(at)) }) as never
  },
  async valibot() {
    const { object, number, pipe, string, transform } = await load('valibot')
    return object?.({
      id: number?.(),
      at: pipe?.(
        string?.(),
        transform?.((at: string) => new Date(at)),
      ),
    }) as never
  },
  async arktype() {
    const { type } = await load('arktype')
    return type?.({ id: 'number', at: 'string.date.parse' }) as never
  },
}

const AT = '2026-01-02T03:04:05.000Z'

for (const [library, make] of Object.entries(SCHEMAS)) {
  describe(`A schema of ${library}`, () => {
    it('checks what is published and consumed', async () => {
      const schema = await make()
      await using protocol = await connect(broker.url, { onError: () => {} })
      const { queue } = await protocol.queueDeclare(uniqueName(library), { exclusive: true })
      const events: Event[] = []
      const failed: unknown[] = []
      await protocol.consumer(queue, message => void events.push(message.json()), {
        schema,
        onFailure: (_message, error) => {
          failed.push(error)
          return 'drop'
        },
      })
      const publisher = await protocol.publisher({ schema })
      await publisher.publish({ id: 1, at: AT }, queue)
      await protocol.publish({ id: 'one', at: AT }, '', queue)
      await until('both are settled', () => events.length === 1 && failed.length === 1)
      assert.deepEqual(events, [{ id: 1, at: new Date(AT) }])
      const [error] = failed
      assert.ok(error instanceof DecodeError)
      assert.equal(error.issues?.[0]?.path, 'id')
      assert.notEqual(error.issues?.[0]?.message, '')
      const refused = await rejection(publisher.publish({ id: 2 } as never, queue), EncodeError)
      assert.equal(refused.issues?.[0]?.path, 'at')
      assert.equal(refused.outcome, 'notSent')
    })
  })
}

describe('A body of another client', () => {
  it('is unpacked if it is what it says, and else fails alone', async () => {
    await using protocol = await connect(broker.url, { onError: () => {}, maxMessageSize: 1_000_000 })
    const { queue } = await protocol.queueDeclare(uniqueName('packed'), { exclusive: true })
    const seen: string[] = []
    const failed: string[] = []
    const consumer = await protocol.consumer(queue, message => void seen.push(message.text()), {
      codecs: [],
      concurrency: 1,
      onFailure: (_message, error) => {
        failed.push(String(error))
        return 'reject'
      },
    })
    const other = await amqplib.connect(broker.url)
    const publishing = await other.createConfirmChannel()
    const bodies: [string | Buffer, string | undefined][] = [
      ['plain', undefined],
      [gzipSync('packed'), 'gzip'],
      ['not packed', 'gzip'],
      [gzipSync('truncated').subarray(0, 12), 'gzip'],
      [gzipSync(Buffer.alloc(50_000_000)), 'gzip'],
      ['of Celery', 'utf-8'],
      ['unknown', 'zstd'],
      [gzipSync('last'), 'gzip'],
    ]
    // An exclusive queue takes messages of other connections.
    for (const [body, contentEncoding] of bodies) {
      publishing.publish('', queue, Buffer.from(body), contentEncoding === undefined ? {} : { contentEncoding })
    }
    await publishing.waitForConfirms()
    await other.close()
    await until('all are settled', () => seen.length + failed.length === bodies.length)
    assert.deepEqual(seen, ['plain', 'packed', 'of Celery', 'last'])
    assert.match(failed[0] ?? '', /incorrect header check/)
    assert.match(failed[1] ?? '', /unexpected end of file/)
    assert.match(failed[2] ?? '', /more than maxMessageSize, 1000000 bytes/)
    assert.match(failed[3] ?? '', /no codec for content encoding "zstd"/)
    assert.equal(consumer.stats().unacknowledged, 0)
  })
})
