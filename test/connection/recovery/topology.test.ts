import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { BindingDefinition, ExchangeDefinition, QueueDefinition } from '../../../src/channel/topology-recorder.ts'
import type { QueueRecord } from '../../../src/connection/recovery/records.ts'
import { Topology } from '../../../src/connection/recovery/topology.ts'
import { type FieldTable, int8, int16 } from '../../../src/index.ts'
import { copyTable } from '../../../src/protocol/table-copy.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

function exchange(exchangeName: string, details: Partial<ExchangeDefinition> = {}): ExchangeDefinition {
  return {
    exchangeName,
    typeName: 'direct',
    durable: true,
    autoDelete: false,
    internal: false,
    arguments: undefined,
    ...details,
  }
}

function queue(queueName: string, details: Partial<QueueDefinition> = {}): QueueDefinition {
  return { queueName, durable: true, exclusive: false, autoDelete: false, arguments: undefined, ...details }
}

function binding(source: string, destination: string, details: Partial<BindingDefinition> = {}): BindingDefinition {
  return { kind: 'queue', source, destination, routingKey: '', arguments: undefined, ...details }
}

function queueOf(topology: Topology, name: string): QueueRecord {
  const found = topology.queue(name)
  assert.ok(found !== undefined, name)
  return found
}

function rename(topology: Topology, oldName: string, newName: string): void {
  topology.renamed(queueOf(topology, oldName), newName)
}

function names(topology: Topology): { exchanges: string[]; queues: string[]; bindings: string[] } {
  return {
    exchanges: topology.exchanges.map(({ definition }) => definition.exchangeName),
    queues: topology.queues.map(({ name }) => name),
    bindings: topology.bindings.map(
      ({ definition: { source, destination, routingKey } }) => `${source}>${destination}#${routingKey}`,
    ),
  }
}

describe('Topology', () => {
  it('keeps what was made in the order it was made, each once', () => {
    const topology = new Topology(new VirtualClock())
    topology.exchangeDeclared(exchange('b'))
    topology.exchangeDeclared(exchange('a'))
    topology.exchangeDeclared(exchange('b', { typeName: 'fanout' }))
    topology.queueDeclared('y', queue('y'))
    topology.queueDeclared('x', queue('x'))
    topology.bound(binding('b', 'y'))
    topology.bound(binding('b', 'y', { routingKey: 'k' }))
    topology.bound(binding('b', 'y'))
    assert.deepEqual(names(topology), { exchanges: ['b', 'a'], queues: ['y', 'x'], bindings: ['b>y#', 'b>y#k'] })
    assert.equal(topology.exchanges[0]?.definition.typeName, 'fanout')
  })

  it('warns of an unbind that names the arguments of a binding in other wire types', () => {
    const warnings: string[] = []
    const topology = new Topology(new VirtualClock(), text => warnings.push(text))
    const of = (args: FieldTable, destination = 'q') =>
      binding('e', destination, { arguments: copyTable(args, 'arguments') })
    topology.bound(of({ n: int8(1), deep: [1, int16(2)] }))
    topology.bound(binding('e', 'q'))
    for (const [args, destination] of [
      [{ n: 2, deep: [1, 2] }, 'q'],
      [{ n: 1, deep: [1, 2] }, 'r'],
      [{}, 'r'],
      [{ n: int8(1), deep: [1, int16(2)], more: 1 }, 'q'],
    ] as const) {
      topology.unbound(of(args, destination))
    }
    topology.unbound(binding('e', 'q', { routingKey: 'k' }))
    assert.deepEqual(warnings, [])
    topology.unbound(of({ n: 1, deep: [1, 2] }))
    assert.deepEqual(warnings, [
      'queue.unbind of "q" from exchange "e" undid nothing: the arguments of the binding have other wire types; give each number as it was bound, such as int8(1)',
    ])
    topology.unbound(of({ n: int8(1), deep: [1, int16(2)] }))
    assert.deepEqual(names(topology).bindings, ['e>q#'])
    assert.equal(warnings.length, 1)
  })

  it('leaves out the broker’s own exchanges', () => {
    const topology = new Topology(new VirtualClock())
    topology.exchangeDeclared(exchange(''))
    topology.exchangeDeclared(exchange('amq.topic'))
    assert.deepEqual(names(topology).exchanges, [])
  })

  it('knows a binding by source, destination, kind, routing key and arguments, with their wire types', () => {
    const topology = new Topology(new VirtualClock())
    const all = [
      binding('e', 'q'),
      binding('e', 'r'),
      binding('f', 'q'),
      binding('e', 'q', { kind: 'exchange' }),
      binding('e', 'q', { routingKey: 'k' }),
      binding('e', 'q', { arguments: { a: 1 } }),
      binding('e', 'q', { arguments: { a: 2 } }),
      binding('e', 'q', { arguments: { a: int8(1) } }),
      binding('e', 'q', { arguments: { a: int16(1) } }),
    ]
    for (const each of all) topology.bound(each)
    assert.equal(topology.bindings.length, all.length)
    for (const [i, each] of all.entries()) {
      topology.unbound({ ...each })
      assert.equal(topology.bindings.length, all.length - i - 1)
    }
  })

  it('forgets a deleted queue with its bindings', () => {
    const topology = new Topology(new VirtualClock())
    topology.queueDeclared('q', queue('q'))
    topology.exchangeDeclared(exchange('e'))
    topology.bound(binding('e', 'q'))
    topology.bound(binding('e', 'q', { kind: 'exchange' }))
    topology.queueDeleted('q')
    assert.deepEqual(names(topology), { exchanges: ['e'], queues: [], bindings: ['e>q#'] })
  })

  it('forgets a deleted exchange with the bindings from it and to it', () => {
    const topology = new Topology(new VirtualClock())
    for (const name of ['a', 'b', 'c']) topology.exchangeDeclared(exchange(name))
    topology.bound(binding('a', 'b', { kind: 'exchange' }))
    topology.bound(binding('b', 'c', { kind: 'exchange' }))
    topology.bound(binding('b', 'q'))
    topology.bound(binding('a', 'q'))
    topology.exchangeDeleted('b')
    assert.deepEqual(names(topology), { exchanges: ['a', 'c'], queues: [], bindings: ['a>q#'] })
  })

  it('deletes an auto-delete exchange with the last binding from it, and what follows from that', () => {
    const topology = new Topology(new VirtualClock())
    topology.exchangeDeclared(exchange('a', { autoDelete: true }))
    topology.exchangeDeclared(exchange('b', { autoDelete: true }))
    topology.queueDeclared('q', queue('q'))
    topology.bound(binding('a', 'b', { kind: 'exchange' }))
    topology.bound(binding('b', 'q'))
    topology.bound(binding('b', 'q', { routingKey: 'k' }))
    topology.unbound(binding('b', 'q'))
    assert.deepEqual(names(topology).exchanges, ['a', 'b'])
    topology.unbound(binding('b', 'q', { routingKey: 'k' }))
    assert.deepEqual(names(topology), { exchanges: [], queues: ['q'], bindings: [] })
  })

  it('keeps an auto-delete exchange that was never bound', () => {
    const topology = new Topology(new VirtualClock())
    topology.exchangeDeclared(exchange('a', { autoDelete: true }))
    topology.unbound(binding('a', 'q'))
    assert.deepEqual(names(topology).exchanges, ['a'])
  })

  it('deletes an auto-delete queue with its last consumer, and not before it had one', () => {
    const topology = new Topology(new VirtualClock())
    topology.exchangeDeclared(exchange('e', { autoDelete: true }))
    topology.queueDeclared('q', queue('q', { autoDelete: true }))
    topology.bound(binding('e', 'q'))
    topology.consumerAdded('q')
    topology.consumerAdded('q')
    topology.queueDeclared('q', queue('q', { autoDelete: true }))
    topology.consumerRemoved('q')
    assert.deepEqual(names(topology).queues, ['q'])
    topology.consumerRemoved('q')
    assert.deepEqual(names(topology), { exchanges: [], queues: [], bindings: [] })
  })

  it('keeps a queue that is not auto-delete without consumers', () => {
    const topology = new Topology(new VirtualClock())
    topology.queueDeclared('q', queue('q'))
    topology.consumerAdded('q')
    topology.consumerRemoved('q')
    topology.consumerRemoved('unknown')
    assert.deepEqual(names(topology).queues, ['q'])
  })

  it('has everything of a server-named queue follow its new name, over several recoveries', () => {
    const topology = new Topology(new VirtualClock())
    topology.queueDeclared('first', queue('first'))
    topology.queueDeclared('amq.gen-1', queue('', { exclusive: true, autoDelete: true }))
    topology.queueDeclared('last', queue('last'))
    topology.bound(binding('e', 'amq.gen-1', { routingKey: 'k' }))
    topology.bound(binding('e', 'amq.gen-1', { kind: 'exchange' }))
    topology.consumerAdded('amq.gen-1')
    rename(topology, 'amq.gen-1', 'amq.gen-2')
    assert.deepEqual(names(topology), {
      exchanges: [],
      queues: ['first', 'amq.gen-2', 'last'],
      bindings: ['e>amq.gen-2#k', 'e>amq.gen-1#'],
    })
    rename(topology, 'amq.gen-2', 'amq.gen-3')
    for (const name of ['amq.gen-1', 'amq.gen-2', 'amq.gen-3']) assert.equal(topology.currentName(name), 'amq.gen-3')
    assert.equal(topology.currentName('other'), 'other')
    topology.unbound(binding('e', 'amq.gen-3', { routingKey: 'k' }))
    assert.deepEqual(names(topology).bindings, ['e>amq.gen-1#'])
    topology.consumerRemoved('amq.gen-1')
    assert.deepEqual(names(topology).queues, ['first', 'last'])
  })

  it('remembers the names of a server-named queue only while there is the queue', () => {
    const ends: ((topology: Topology) => void)[] = [
      topology => topology.queueDeleted('amq.gen-3'),
      topology => topology.forget(queueOf(topology, 'amq.gen-3')),
      topology => topology.consumerRemoved('amq.gen-1'),
    ]
    for (const end of ends) {
      const topology = new Topology(new VirtualClock())
      topology.queueDeclared('amq.gen-1', queue('', { exclusive: true, autoDelete: true }))
      topology.queueDeclared('amq.gen-a', queue('', { exclusive: true }))
      topology.consumerAdded('amq.gen-1')
      rename(topology, 'amq.gen-1', 'amq.gen-2')
      rename(topology, 'amq.gen-a', 'amq.gen-b')
      topology.queueDeclared('amq.gen-2', queue('', { exclusive: true, autoDelete: true }))
      rename(topology, 'amq.gen-2', 'amq.gen-3')
      end(topology)
      for (const name of ['amq.gen-1', 'amq.gen-2', 'amq.gen-3']) assert.equal(topology.currentName(name), name)
      assert.equal(topology.currentName('amq.gen-a'), 'amq.gen-b')
    }
  })

  it('remembers the first name of a server-named queue and its last ones', () => {
    const topology = new Topology(new VirtualClock())
    topology.queueDeclared('amq.gen-0', queue('', { exclusive: true }))
    for (let n = 0; n < 3_000; n++) rename(topology, `amq.gen-${n}`, `amq.gen-${n + 1}`)
    for (const n of [0, 2_001, 2_500, 2_999]) assert.equal(topology.currentName(`amq.gen-${n}`), 'amq.gen-3000')
    for (const n of [1, 1_000, 2_000]) assert.equal(topology.currentName(`amq.gen-${n}`), `amq.gen-${n}`)
  })

  it('takes names with odd characters apart', () => {
    const topology = new Topology(new VirtualClock())
    topology.bound(binding('a","b', 'c'))
    topology.bound(binding('a', 'b","c'))
    assert.equal(topology.bindings.length, 2)
  })

  it('knows a binding by its arguments in any order, as RabbitMQ does', () => {
    const topology = new Topology(new VirtualClock())
    topology.bound(binding('e', 'q', { arguments: { a: 1, b: 'x', c: true } }))
    topology.bound(binding('e', 'q', { arguments: { c: true, a: 1, b: 'x' } }))
    assert.equal(topology.bindings.length, 1)
    topology.unbound(binding('e', 'q', { arguments: { b: 'x', c: true, a: 1 } }))
    assert.deepEqual(topology.bindings, [])
  })

  it('leaves out entities that do not recover, and their bindings', () => {
    const topology = new Topology(new VirtualClock())
    topology.exchangeDeclared(exchange('kept'))
    topology.exchangeDeclared(exchange('left'), false)
    topology.queueDeclared('kept', queue('kept'))
    topology.queueDeclared('left', queue('left'), false)
    topology.bound(binding('kept', 'left'))
    topology.bound(binding('left', 'kept'))
    topology.bound(binding('kept', 'left', { kind: 'exchange' }))
    topology.bound(binding('kept', 'kept'))
    assert.deepEqual(names(topology), { exchanges: ['kept'], queues: ['kept'], bindings: ['kept>kept#'] })
    topology.queueDeclared('left', queue('left'))
    assert.deepEqual(names(topology).bindings, ['kept>left#', 'kept>kept#'])
  })

  it('forgets a queue that expired unused before the connection was lost, and no other', async () => {
    const clock = new VirtualClock()
    const topology = new Topology(clock)
    const expiring = { arguments: { 'x-expires': 1_000 } }
    for (const name of ['unused', 'consumed', 'read', 'let go of']) topology.queueDeclared(name, queue(name, expiring))
    topology.queueDeclared('lasting', queue('lasting'))
    topology.bound(binding('e', 'unused'))
    topology.consumerAdded('consumed')
    topology.consumerAdded('let go of')
    await clock.advance(900)
    topology.queueUsed('read')
    topology.consumerRemoved('let go of')
    await clock.advance(200)
    topology.connectionLost()
    assert.deepEqual(names(topology).queues, ['consumed', 'read', 'let go of', 'lasting'])
    assert.deepEqual(names(topology).bindings, [])
  })

  it('applies changes in the order in which their methods were written', () => {
    const topology = new Topology(new VirtualClock())
    const declared = topology.written(ledger => ledger.queueDeclared('q', queue('q'), true))
    const deleted = topology.written(ledger => ledger.queueDeleted('q'), true)
    const refused = topology.written(ledger => ledger.queueDeclared('never', queue('never'), true))
    const again = topology.written(ledger => ledger.queueDeclared('r', queue('r'), true))
    again.accept()
    deleted.accept()
    refused.refuse()
    assert.deepEqual(names(topology).queues, [], 'the first is not decided yet')
    declared.accept()
    assert.deepEqual(names(topology).queues, ['r'])
  })

  it('does not wait for ever for methods without a reply', () => {
    const topology = new Topology(new VirtualClock())
    topology.written(ledger => ledger.queueDeclared('first', queue('first'), true), true)
    for (let n = 0; n < 2_000; n++) topology.written(ledger => ledger.queueUsed('first')).accept()
    topology.written(ledger => ledger.queueDeclared('last', queue('last'), true)).accept()
    assert.deepEqual(names(topology).queues, ['first', 'last'])
  })

  // In time that grows with the square of their number, this takes minutes.
  it('removes one of 100,000 bindings without looking at the others', { timeout: 60_000 }, () => {
    const topology = new Topology(new VirtualClock())
    for (let i = 0; i < 100_000; i++) topology.bound(binding('e', 'q', { routingKey: String(i) }))
    for (let i = 0; i < 100_000; i++) topology.unbound(binding('e', 'q', { routingKey: String(i) }))
    assert.deepEqual(topology.bindings, [])
  })

  it('binds and unbinds a queue by each name it had', () => {
    const topology = new Topology(new VirtualClock())
    topology.queueDeclared('amq.gen-1', queue(''))
    rename(topology, 'amq.gen-1', 'amq.gen-2')
    topology.bound(binding('x', 'amq.gen-1'))
    assert.deepEqual(
      topology.bindingsTo('amq.gen-2').map(({ definition }) => definition.source),
      ['x'],
    )
    topology.unbound(binding('x', 'amq.gen-1'))
    assert.deepEqual(topology.bindings, [])
  })
})
