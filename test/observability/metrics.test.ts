import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { connect } from '../../src/index.ts'
import { METRICS } from '../../src/opentelemetry/conventions.ts'
import { instrument } from '../../src/opentelemetry/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { rejection } from '../support/rejection.ts'
import { until } from '../support/until.ts'
import { type Sample, Sdk } from './sdk.ts'

const sdk = new Sdk()
instrument()

function find(samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}): number[] {
  return samples
    .filter(
      sample => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
    .map(({ value }) => value)
}

/** The names of metrics in a file for Prometheus or Grafana. */
function used(file: string): Set<string> {
  const text = readFileSync(file, 'utf8').replaceAll(/asyncamqp_connection_state|messaging_client_id/g, 'label')
  return new Set(text.match(/\b(?:messaging_(?:client|process)|asyncamqp)_\w+(?=\\?[[{)]|\s|,|$)/gm))
}

describe('The metrics of asyncamqp, as Prometheus scrapes them', () => {
  it('say what is sent, received and under way, and what state the connections are in', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.url, { connectionName: 'shop', recovery: { maxDelay: 50 } })
    await protocol.queueDeclare('orders')
    const hold: (() => void)[] = []
    await protocol.consumer(
      'orders',
      message => {
        if (message.text() === 'bad') throw new RangeError('bad')
        return message.text() === 'slow' ? new Promise<void>(resolve => hold.push(resolve)) : undefined
      },
      { onFailure: 'reject' },
    )
    for (const text of ['good', 'good', 'bad', 'slow']) await protocol.publish(text, '', 'orders')
    await rejection(protocol.publish('x', '', 'missing'), Error)
    await until('the handlers have begun', () => hold.length === 1)

    const before = await sdk.scrape()
    const orders = { messaging_destination_template: 'orders', messaging_system_name: 'rabbitmq' }
    assert.deepEqual(find(before, 'messaging_client_sent_messages_total', orders), [4])
    assert.deepEqual(find(before, 'messaging_client_sent_messages_total', { error_type: 'MessageReturnedError' }), [1])
    assert.deepEqual(find(before, 'messaging_client_consumed_messages_total', orders), [4])
    assert.deepEqual(find(before, 'messaging_process_duration_count', { ...orders, error_type: 'RangeError' }), [1])
    assert.deepEqual(
      find(before, 'messaging_process_duration_bucket', { ...orders, le: '10', error_type: 'RangeError' }),
      [1],
    )
    assert.deepEqual(
      find(before, 'messaging_client_operation_duration_count', { messaging_operation_name: 'queue.declare' }),
      [1],
    )
    const shop = { messaging_client_id: 'shop', asyncamqp_virtual_host: '/' }
    assert.deepEqual(find(before, 'asyncamqp_connections', { ...shop, asyncamqp_connection_state: 'open' }), [1])
    assert.deepEqual(find(before, 'asyncamqp_connections', { ...shop, asyncamqp_connection_state: 'blocked' }), [0])
    // From the start: a counter that comes up with its first count has no increase by it.
    for (const counter of ['connection_reconnects', 'publish_resent', 'connection_blocked_duration']) {
      assert.deepEqual(find(before, `asyncamqp_${counter}_total`, shop), [0])
    }
    assert.deepEqual(find(before, 'asyncamqp_consume_handlers', shop), [1])
    assert.deepEqual(find(before, 'asyncamqp_consume_unacknowledged', shop), [1])

    broker.block('low on memory')
    const blocked = protocol.publish('good', '', 'orders')
    await until('it is blocked', async () => {
      const state = { ...shop, asyncamqp_connection_state: 'blocked' }
      return find(await sdk.scrape(), 'asyncamqp_connections', state)[0] === 1
    })
    broker.unblock()
    await blocked
    broker.resetConnections()
    for (const release of hold) release()
    await until(
      'it is back',
      async () => find(await sdk.scrape(), 'asyncamqp_connection_reconnects_total', shop)[0] === 1,
    )
    const after = await sdk.scrape()
    assert.deepEqual(find(after, 'asyncamqp_connection_recovery_duration_count', shop), [1])
    // A consumer that ends with its connection was not ended by the broker.
    assert.deepEqual(find(after, 'asyncamqp_consume_cancellations_total', shop), [])
    broker.cancelConsumers('orders')
    await until(
      'it is counted',
      async () => find(await sdk.scrape(), 'asyncamqp_consume_cancellations_total', shop)[0] === 1,
    )
    assert.ok((find(after, 'asyncamqp_connection_blocked_duration_total', shop)[0] ?? 0) > 0)
    assert.deepEqual(find(after, 'messaging_client_sent_messages_total', orders), [5])

    await protocol.close()
    assert.deepEqual(find(await sdk.scrape(), 'asyncamqp_connections', shop), [0, 0, 0, 0, 0])
  })

  it('have the names that the dashboard, the alerts and the document use', async () => {
    const names = new Set(
      Object.values(METRICS).flatMap(({ name, unit }) => {
        const base = name.replaceAll('.', '_')
        if (unit === 's' && !name.includes('blocked'))
          return ['bucket', 'count', 'sum'].map(suffix => `${base}_${suffix}`)
        return [base, `${base}_total`]
      }),
    )
    for (const file of ['grafana-dashboard.json', 'alerts.yml']) {
      const mentioned = used(`examples/observability/${file}`)
      assert.ok(mentioned.size >= 8, file)
      assert.deepEqual(
        Array.from(mentioned).filter(name => !names.has(name)),
        [],
        file,
      )
    }
    const scraped = new Set((await sdk.scrape()).map(({ name }) => name))
    const seldom = ['asyncamqp_publish_resent_total', 'asyncamqp_consume_cancellations_total']
    const shown = [...used('examples/observability/grafana-dashboard.json')].filter(
      name => !name.includes('_connection'),
    )
    assert.deepEqual(
      shown.filter(name => !scraped.has(name) && !seldom.includes(name) && !/^asyncamqp/.test(name)),
      [],
    )
    const document = readFileSync('docs/observability.md', 'utf8')
    for (const { name } of Object.values(METRICS)) assert.ok(document.includes(`\`${name}\``), name)
  })
})
