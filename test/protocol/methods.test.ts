import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as methods from '../../src/protocol/methods.ts'
import { type AnyMethod, methodByKey, methodName } from '../../src/protocol/methods.ts'

const all = [...methodByKey.values()]

describe('the table of methods', () => {
  it('has the 53 methods of 0-9-1 and the 13 of RabbitMQ', () => {
    const classes = new Map<number, number>()
    for (const { classId } of all) classes.set(classId, (classes.get(classId) ?? 0) + 1)
    assert.deepStrictEqual(
      [...classes],
      [
        [10, 14],
        [20, 6],
        [30, 2],
        [40, 8],
        [50, 10],
        [60, 18],
        [85, 2],
        [90, 6],
      ],
    )
    assert.equal(all.length, 66)
  })

  it('exports each method under its name', () => {
    const exported = Object.entries<unknown>(methods).filter((entry): entry is [string, AnyMethod] => {
      const [, value] = entry
      return typeof value === 'object' && value !== null && 'methodId' in value
    })
    assert.equal(exported.length, all.length)
    for (const [name, method] of exported) {
      const words = method.name.split(/[.-]/)
      assert.equal(name, words.map(word => word.charAt(0).toUpperCase() + word.slice(1)).join(''))
      assert.equal(methodByKey.get(method.key), method)
      assert.equal(methodName(method.classId, method.methodId), method.name)
    }
  })

  it('knows the reply of every synchronous method', () => {
    for (const method of all) {
      const isReply = /-(ok|empty)$/.test(method.name)
      assert.equal(method.synchronous, method.reply !== undefined, method.name)
      assert.equal(method.replies[0], method.reply, method.name)
      if (method.reply !== undefined) {
        assert.equal(method.reply.name, `${method.name}-ok`)
        assert.equal(method.reply.classId, method.classId)
        assert.equal(isReply, false)
      }
    }
    assert.deepStrictEqual(
      all.filter(method => !method.synchronous && !/-(ok|empty)$/.test(method.name)).map(method => method.name),
      [
        'connection.blocked',
        'connection.unblocked',
        'basic.publish',
        'basic.return',
        'basic.deliver',
        'basic.ack',
        'basic.reject',
        'basic.recover-async',
        'basic.nack',
      ],
    )
    assert.deepStrictEqual(methods.BasicGet.replies, [methods.BasicGetOk, methods.BasicGetEmpty])
  })

  it('knows which methods carry a message', () => {
    assert.deepStrictEqual(
      all.filter(method => method.content).map(method => method.name),
      ['basic.publish', 'basic.return', 'basic.deliver', 'basic.get-ok'],
    )
  })

  it("has RabbitMQ's number for exchange.unbind-ok, which is not the next one", () => {
    assert.equal(methodName(40, 51), 'exchange.unbind-ok')
    assert.equal(methodName(40, 41), 'method 41 of class 40')
  })

  it('gives methods that do not exist by their numbers', () => {
    assert.equal(methodName(60, 999), 'method 999 of class 60')
    assert.equal(methodName(0xffff, 0xffff), 'method 65535 of class 65535')
  })

  it('has no more bits in a row than an octet holds', () => {
    for (const { name, order } of all) {
      let bits = 0
      for (const { field } of order) {
        bits = field.kind === 'bit' ? bits + 1 : 0
        assert.ok(bits <= 8, name)
      }
    }
  })
})
