import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelModes } from '../../../src/channel/channel-modes.ts'
import type { ChannelSession } from '../../../src/channel/channel-session.ts'
import type { ConsumeCalls } from '../../../src/channel/consume/consume-calls.ts'
import {
  type RecordedConsumer,
  RecordedConsumers,
  type RecordedConsumersHost,
} from '../../../src/channel/consume/recorded-consumers.ts'
import { positionOf } from '../../../src/channel/consume/stream-position.ts'
import { QueueNames } from '../../../src/channel/queue-names.ts'
import { WrittenEffects } from '../../../src/channel/written-effects.ts'
import { Topology } from '../../../src/connection/recovery/topology.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

/** The consumers of a channel in lives that agree to each basic.consume, whose queues are listed in `asked`. */
function scene() {
  const topology = new Topology(new VirtualClock())
  const asked: (string | undefined)[] = []
  const consume: ConsumeCalls['consume'] = async (_consumer, { queueName }, _context, _again, observer) => {
    asked.push(queueName)
    observer?.written()
    observer?.consuming()
  }
  const acker = { inTurn: (write: () => void) => write() }
  const consuming = { consume, deliveries: { consumer: () => undefined } }
  const session = { acker, consuming } as unknown as ChannelSession
  const host: RecordedConsumersHost = {
    session,
    effects: new WrittenEffects(),
    names: new QueueNames(name => topology.currentName(name)),
    modes: new ChannelModes(),
    topology,
  }
  return { topology, asked, session, consumers: new RecordedConsumers(host) }
}

describe('a recorded consumer', () => {
  for (const queueName of ['q0', 'q2']) {
    it(`follows its queue, consumed as ${queueName}, through more names than are remembered`, async () => {
      const { topology, asked, session, consumers } = scene()
      const definition = { queueName: '', durable: false, exclusive: true, autoDelete: false, arguments: undefined }
      topology.queueDeclared('q0', definition)
      let renames = 0
      const rename = (): void => {
        const queue = topology.queue('q0')
        assert.ok(queue !== undefined)
        topology.renamed(queue, `q${++renames}`)
      }
      // Of these, q1 is forgotten, and q2 is with the next one.
      while (renames < 1_001) rename()
      assert.deepEqual([topology.currentName('q1'), topology.currentName('q2')], ['q1', 'q1001'])
      const sink = { queueName, noAck: false } as RecordedConsumer['sink']
      const position = positionOf(false, undefined)
      const unset = { noLocal: undefined, exclusive: undefined, arguments: undefined, prefetch: undefined }
      const consumer = { tag: 'c', sink, position, queue: undefined, counted: undefined, ...unset }
      await consumers.start(session, consumer, false, { what: 'basic.consume', site: undefined })
      for (let n = 0; n < 1_500; n++) {
        rename()
        consumers.lost()
        await consumers.consumeAgain(['c'])
        assert.equal(asked.at(-1), `q${renames}`)
      }
    })
  }
})
