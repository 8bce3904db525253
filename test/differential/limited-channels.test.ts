import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as methods from '../../src/protocol/methods.ts'
import { differsByFirstQueue } from './limited-channels.ts'
import type { Step } from './sequence.ts'

function step<M extends methods.AnyMethod>(method: M, args: methods.ArgumentsOf<M>): Step {
  return { connection: 0, channel: 1, method, text: `${method.name} ${JSON.stringify(args)}`, do: () => {} }
}

const consume = (queueName: string, consumerTag: string, noAck: boolean) =>
  step(methods.BasicConsume, { queueName, consumerTag, noAck })
const limit = step(methods.BasicQos, { prefetchCount: 1, connectionGlobal: true })
const work = [consume('a', 'a', false), consume('b', 'b', false), consume('c', 'c', true)]
const publish = step(methods.BasicPublish, {})
/** Deliveries of bodies to consumers, by their tags. */
const given = (...all: readonly string[]) =>
  all.map((each, index) => {
    const [tag, body] = each.split(' ')
    return `0.1 basic.deliver {"consumerTag":"${tag}","deliveryTag":${index + 1}} {} ${body}`
  })

describe('The order in which queues ask a channel with a limit for room', () => {
  const differs = (before: readonly Step[], theirs: readonly string[], ours: readonly string[], closed = false) => {
    const steps = [...before, publish]
    const logs = [theirs, ours].map(last => [...before.map(() => (closed ? ['0.1 channel.close {}'] : [])), last])
    return differsByFirstQueue(steps, logs[0] ?? [], logs[1] ?? [], before.length)
  }
  const limited = [limit, ...work]

  it('says which of them gives what needs an ack', () => {
    assert.ok(differs(limited, given('a x'), given('b x')))
    assert.ok(!differs(limited, given('a x'), given('b y')))
    assert.ok(!differs(limited, given('a x', 'b x'), given('b x')))
  })

  it('says how much comes of what needs none', () => {
    assert.ok(differs(limited, given('c x', 'a x'), given('a x')))
    assert.ok(differs(limited, given('a x'), given('c x', 'c y', 'a x')))
    assert.ok(!differs(limited, given('c y', 'a x'), given('c x', 'a x')))
    assert.ok(!differs(limited, given('c x'), given()))
    assert.ok(!differs(limited, given('c x', 'a x'), given('c x')))
  })

  it('says nothing without a limit, or for other channels', () => {
    assert.ok(!differs(work, given('c x', 'a x'), given('a x')))
    assert.ok(!differs([...limited, step(methods.BasicQos, { prefetchCount: 1 })], given('a x'), given('b x')))
    assert.ok(!differs(limited, given('c x', 'a x'), given('a x'), true))
    assert.ok(
      !differs(
        limited,
        given('a x', 'b x').map(line => line.replace('0.1', '0.2')),
        given('a x'),
      ),
    )
  })
})
