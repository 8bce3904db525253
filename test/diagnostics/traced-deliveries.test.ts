import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ProcessContext, ProcessTrace, TracedDeliveries } from '../../src/diagnostics/process.ts'
import { Properties } from '../../src/protocol/received-properties.ts'

const endpoint = {
  connectionId: 1,
  serverAddress: 'rabbit-1',
  serverPort: 5672,
  virtualHost: '/',
  connectionName: 'orders',
}

function traced(...tags: readonly number[]) {
  const deliveries = new TracedDeliveries()
  const traces = tags.map(deliveryTag => {
    const message = { consumerTag: 'c', exchangeName: '', routingKey: 'q', deliveryTag, isRedeliver: false }
    const source = { endpoint, channelId: 1 }
    return new ProcessTrace(
      new ProcessContext(source, 'callback', 'q', Buffer.alloc(0), message, Properties.NONE, false),
    )
  })
  for (const trace of traces) deliveries.add(trace)
  /** `1 acked`, for each that is settled. */
  const outcomes = (): string[] =>
    traces.flatMap(({ context }) => (context.outcome === undefined ? [] : `${context.deliveryTag} ${context.outcome}`))
  return { deliveries, outcomes }
}

describe('Traced deliveries', () => {
  it('are settled by their own tags, however old', () => {
    const { deliveries, outcomes } = traced(...Array.from({ length: 2_000 }, (_, i) => i + 1))
    for (const tag of [1, 1_000, 2_000, 1_744, 1_745]) deliveries.settled('acked', tag, false)
    assert.deepEqual(outcomes(), ['1 acked', '1000 acked', '1744 acked', '1745 acked', '2000 acked'])
    assert.equal(deliveries.get(1_000), undefined)
    assert.equal(deliveries.get(999)?.context.deliveryTag, 999)
  })

  it('are settled up to a tag, and what came out of order with them', () => {
    const { deliveries, outcomes } = traced(3, 600, 7, 5, 1_111)
    deliveries.settled('requeued', 7, true)
    assert.deepEqual(outcomes(), ['3 requeued', '7 requeued', '5 requeued'])
    deliveries.settled('acked', 0, true)
    assert.deepEqual(outcomes().slice(-2), ['5 requeued', '1111 acked'])
    assert.equal(deliveries.get(1_111), undefined)
  })

  it('are lost once, but for those that are settled', () => {
    const { deliveries, outcomes } = traced(1, 257, 513)
    deliveries.settled('rejected', 257, false)
    deliveries.lost()
    deliveries.settled('acked', 1, false)
    assert.deepEqual(outcomes(), ['1 lost', '257 rejected', '513 lost'])
  })
})
