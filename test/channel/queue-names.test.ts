import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { QueueNames } from '../../src/channel/queue-names.ts'

const [first, second] = [{}, {}]

describe('the names of queues on a channel', () => {
  it("leave '' to the broker on the life that declared the last queue, and name that queue on another", () => {
    const names = new QueueNames(name => (name === 'amq.gen-1' ? 'amq.gen-2' : name))
    assert.equal(names.wireName(first, ''), '')
    const queue = names.declared(first, undefined)
    assert.equal(names.wireName(first, ''), '', 'the broker knows it before its name has come')
    queue.accept({ queue: 'amq.gen-1', messageCount: 0, consumerCount: 0 })
    assert.equal(names.wireName(first, ''), '')
    assert.equal(names.wireName(second, ''), 'amq.gen-2')
    names.declared(second, 'other')
    assert.equal(names.wireName(second, ''), '', 'declared on this life, pipelined')
  })

  it("keep what '' meant when a method was written, whatever is declared after it", () => {
    const names = new QueueNames(name => name)
    const a = names.declared(first, undefined)
    const meant = names.meant('')
    names.declared(first, 'b')
    a.name = 'a'
    assert.equal(meant.name, 'a')
    assert.equal(names.meant('').name, 'b')
    assert.equal(names.meant('c').name, 'c')
  })

  it('go back to the queue before it if one is not declared', () => {
    const names = new QueueNames(name => name)
    const a = names.declared(first, 'a')
    const b = names.declared(first, 'b')
    const c = names.declared(first, 'c')
    a.accept()
    b.refuse()
    assert.equal(names.meant('').name, 'c')
    c.refuse()
    assert.equal(names.meant('').name, 'a')
  })

  it('are those that the queues have now', () => {
    const names = new QueueNames(name => (name === 'old' ? 'new' : name))
    assert.equal(names.wireName(first, 'old'), 'new')
    assert.equal(names.meant('old').name, 'new')
  })
})
