import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ConnectOptions } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { converse, converseOnChannel, FakeBroker, methodFrame } from '../support/fake-broker.ts'
import { turn } from '../support/settled.ts'

/** A conversation whose frames are traced, and the lines so far. */
async function traced(options: ConnectOptions = {}, broker?: FakeBroker) {
  const lines: string[] = []
  const logger = { debug: (line: string) => void lines.push(line) }
  const conversation = await converseOnChannel({ logger, traceFrames: true, ...options }, broker)
  return { ...conversation, lines }
}

describe('a trace of frames', () => {
  it('has a line for each frame of both directions, from the protocol header on', async () => {
    const { lines } = await traced()
    assert.deepEqual(
      lines.map(line => line.replace(/ \{.*/, '')),
      [
        '→ localhost:5672 protocol header AMQP 0-0-9-1',
        '← localhost:5672 channel 0 connection.start',
        '→ localhost:5672 channel 0 connection.start-ok',
        '← localhost:5672 channel 0 connection.tune',
        '→ localhost:5672 channel 0 connection.tune-ok',
        '→ localhost:5672 channel 0 connection.open',
        '← localhost:5672 channel 0 connection.open-ok',
        '→ localhost:5672 channel 1 channel.open',
        '← localhost:5672 channel 1 channel.open-ok',
      ],
    )
  })

  it('shows neither bodies, wherever they are cut, nor secrets', async () => {
    const { lines, channel, peer, protocol } = await traced(
      // The default holds the process's number, which may have 777 in it.
      { password: 's3cret', connectionName: 'traced' },
      new FakeBroker({ frameMax: 4096 }),
    )
    peer.answers.set('connection.update-secret', () => methodFrame(0, methods.ConnectionUpdateSecretOk, {}))
    // Sent by reference, so that its last 8 bytes are a write of their own.
    const payload = Buffer.concat([Buffer.alloc(5 * 4088, 'x'), Buffer.from('Ace=7777')])
    await channel.basicPublish(payload, 'e', 'k')
    await channel.basicPublish('AMQP-s3c', 'e', 'k')
    await protocol.updateSecret('t0ken', 'it expires')
    await turn()
    const text = lines.join('\n')
    assert.doesNotMatch(text, /Ace|777|s3c|t0ken|xxx|not a frame/)
    assert.equal(lines.filter(line => line.includes('protocol header')).length, 1)
    assert.match(text, /channel 1 body, 4088 bytes\n.*channel 1 body, 8 bytes/s)
    assert.match(text, /newSecret: '\*\*\*'/)
  })

  it('is written only if it is asked for', async () => {
    const lines: string[] = []
    const logger = { debug: (line: string) => void lines.push(line) }
    await converseOnChannel({ logger })
    await converse({ traceFrames: true })
    assert.deepEqual(lines, [])
  })

  it('loses no frame to a logger that throws', async () => {
    let fails = true
    const logger = {
      debug: () => {
        if (fails) throw new Error('debug failed')
      },
    }
    const { peer, channel, protocol } = await converseOnChannel({ logger, traceFrames: true })
    await channel.basicPublish('one', 'e', 'k1')
    await turn()
    fails = false
    await channel.basicPublish('two', 'e', 'k2')
    await turn()
    const keys = peer.frames
      .filter(({ method }) => method === methods.BasicPublish)
      .map(({ args }) => args['routingKey'])
    assert.deepEqual(keys, ['k1', 'k2'])
    assert.deepEqual(peer.transport.escaped, [])
    assert.equal(protocol.state, 'open')
  })
})
