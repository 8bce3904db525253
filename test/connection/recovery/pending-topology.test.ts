import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { BindingDefinition } from '../../../src/channel/topology-recorder.ts'
import { PendingTopology } from '../../../src/connection/recovery/pending-topology.ts'
import { Topology } from '../../../src/connection/recovery/topology.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

/** Exchanges x → y (bound to each other), y → q, z → r; queues q, r, s. */
function made(): { readonly topology: Topology; readonly pending: PendingTopology } {
  const topology = new Topology(new VirtualClock())
  const kinds = { durable: true, autoDelete: false, arguments: undefined }
  for (const exchangeName of ['x', 'y', 'z']) {
    topology.exchangeDeclared({ ...kinds, exchangeName, typeName: 'fanout', internal: false })
  }
  for (const queueName of ['q', 'r', 's']) topology.queueDeclared(queueName, { ...kinds, queueName, exclusive: false })
  const bind = (kind: BindingDefinition['kind'], source: string, destination: string): void =>
    topology.bound({ kind, source, destination, routingKey: '', arguments: undefined })
  bind('exchange', 'x', 'y')
  bind('queue', 'y', 'q')
  bind('queue', 'z', 'r')
  return { topology, pending: new PendingTopology(topology) }
}

/** The names of the wanted entries. */
function wanted({ topology, pending }: ReturnType<typeof made>): string[] {
  const { exchanges, queues, bindings } = topology
  return [
    ...exchanges.filter(record => pending.isWanted(record)).map(({ definition }) => definition.exchangeName),
    ...queues.filter(record => pending.isWanted(record)).map(({ name }) => name),
    ...bindings.filter(record => pending.isWanted(record)).map(({ definition: { source } }) => `from ${source}`),
  ]
}

describe('the missing entries while a connection is recovered', () => {
  it('is nothing before the first loss, and everything after it', () => {
    const { pending } = made()
    assert.equal(pending.plain, true)
    assert.equal(pending.isBack('x', 'k'), true)
    pending.lost()
    assert.equal(pending.plain, false)
    assert.equal(pending.isBack('x', 'k'), false)
  })

  it('holds up no publish that needs none of it', () => {
    const { pending } = made()
    pending.lost()
    assert.equal(pending.isBack('amq.topic', 'k'), true)
    assert.equal(pending.isBack('', 'of somebody else'), true)
    assert.equal(pending.somethingWanted, false)
  })

  it('is wanted as far as a publish needs it: its exchange, those that it leads to, and their queues', () => {
    const the = made()
    the.pending.lost()
    the.pending.isBack('x', 'k')
    assert.deepEqual(wanted(the), ['x', 'y', 'q', 'from x', 'from y'])
    the.pending.isBack('', 's')
    assert.deepEqual(wanted(the), ['x', 'y', 'q', 's', 'from x', 'from y'])
  })

  it('lets a publish go once its exchange, every binding from it and their queues are back', () => {
    const the = made()
    const { topology, pending } = the
    pending.lost()
    const needed = [
      ...topology.exchanges.filter(({ definition }) => definition.exchangeName !== 'z'),
      ...topology.bindings.filter(({ definition }) => definition.source !== 'z'),
    ]
    for (const record of needed) {
      assert.equal(pending.isBack('x', 'k'), false)
      pending.settled(record)
    }
    assert.equal(pending.isBack('x', 'k'), true)
    assert.equal(pending.isBack('z', 'k'), false)
    assert.equal(pending.plain, false)
  })

  it('is over once everything is settled', () => {
    const { topology, pending } = made()
    pending.lost()
    pending.isBack('x', 'k')
    for (const record of [...topology.exchanges, ...topology.queues, ...topology.bindings]) pending.settled(record)
    assert.equal(pending.plain, true)
    assert.equal(pending.somethingWanted, false)
  })

  it('leaves the routing key of the default exchange to be translated if a queue was renamed', () => {
    const { topology, pending } = made()
    pending.lost()
    const queue = topology.queue('q')
    assert.ok(queue !== undefined)
    topology.renamed(queue, 'q2')
    pending.clear()
    assert.equal(pending.plain, false)
    assert.equal(pending.routingKey('', 'q'), 'q2')
    assert.equal(pending.routingKey('', 'r'), 'r')
    assert.equal(pending.routingKey('y', 'q'), 'q')
    assert.equal(pending.isBack('', 'q'), true)
  })

  it('does not loop over exchanges that are bound in a circle', () => {
    const { topology, pending } = made()
    topology.bound({ kind: 'exchange', source: 'y', destination: 'x', routingKey: '', arguments: undefined })
    pending.lost()
    assert.equal(pending.isBack('x', 'k'), false)
  })
})
