import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { type Channel, channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, it } from 'node:test'
import { openFixture } from '../support/fixture.ts'
import { until } from '../support/until.ts'

/** A tool that knows of this package what docs/observability.md says: names, and no types. */
class Tracer implements Disposable {
  readonly spans: Span[] = []
  readonly #current = new AsyncLocalStorage<Span | undefined>()
  readonly #spans = new WeakMap<object, Span>()
  readonly #undo: (() => void)[] = []

  constructor() {
    for (const operation of ['publish', 'process', 'rpc.call', 'rpc.handle']) {
      const name = (event: string) => `tracing:asyncamqp:${operation}:${event}`
      const start: Channel<Span | undefined, Context> = channel(name('start')) as never
      start.bindStore(this.#current, context => this.#start(operation, context))
      const end = (message: unknown): void => this.#end(message as Context)
      subscribe(name('asyncEnd'), end)
      this.#undo.push(() => {
        start.unbindStore(this.#current)
        unsubscribe(name('asyncEnd'), end)
      })
    }
  }

  #start(operation: string, context: Context): Span {
    const sends = operation === 'publish' || operation === 'rpc.call'
    const remote = sends ? undefined : this.spans.find(({ id }) => id === context.headers?.['trace-parent'])
    const parent = this.#current.getStore() ?? remote
    const id = `${this.spans.length + 1}`
    const span: Span = { id, trace: parent?.trace ?? id, parent: parent?.id, operation, ended: 0, outcome: undefined }
    if (sends && context.headers !== undefined) context.headers['trace-parent'] = id
    this.spans.push(span)
    this.#spans.set(context, span)
    return span
  }

  #end(context: Context): void {
    const span = this.#spans.get(context)
    if (span === undefined) return
    span.ended++
    span.outcome = context.outcome
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo) undo()
  }
}

interface Context {
  readonly headers?: Record<string, unknown>
  readonly outcome?: string
}

interface Span {
  readonly id: string
  readonly trace: string
  readonly parent: string | undefined
  readonly operation: string
  ended: number
  outcome: string | undefined
}

describe('A tool that subscribes to the tracing channels', { timeout: 60_000 }, () => {
  it('sees one trace from a publish over its consumer and an RPC to the error destination', async () => {
    await using fixture = await openFixture()
    const { protocol } = fixture
    const [work, prices, errors] = [fixture.queueName(), fixture.queueName(), fixture.queueName()]
    for (const queue of [work, prices, errors]) await protocol.queueDeclare(queue, { durable: true })
    await protocol.rpcServer(prices, () => ({ price: 7 }))
    const client = await protocol.rpcClient()
    using tracer = new Tracer()
    await protocol.consumer(
      work,
      async message => {
        await client.call(prices, message.body)
        throw new Error('too dear')
      },
      { onFailure: { exchangeName: '', routingKey: errors } },
    )
    const failed = await protocol.consumer(errors)
    await protocol.publish('apple', '', work)
    const { value: copy } = await failed.next()
    copy?.ack()
    await until('all has ended', () => tracer.spans.length === 9 && tracer.spans.every(({ ended }) => ended === 1))
    assert.deepEqual(new Set(tracer.spans.map(({ trace }) => trace)), new Set(['1']))
    const nameOf = (id: string | undefined): string | undefined =>
      tracer.spans.find(span => span.id === id)?.operation ?? 'nothing'
    assert.deepEqual(
      tracer.spans.map(({ operation, parent, outcome }) => `${operation} in ${nameOf(parent)}: ${outcome}`).sort(),
      [
        'process in publish: acked',
        'process in publish: acked',
        'process in publish: copied',
        'publish in nothing: confirmed',
        'publish in process: confirmed',
        'publish in rpc.call: confirmed',
        'publish in rpc.handle: confirmed',
        'rpc.call in process: replied',
        'rpc.handle in process: replied',
      ],
    )
    const sent = tracer.spans.find(({ operation, parent }) => operation === 'publish' && nameOf(parent) === 'process')
    assert.equal(copy?.properties.headers?.['trace-parent'], sent?.id)
  })
})
