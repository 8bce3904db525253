import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ReleaseName } from '../../src/broker/release-name.ts'
import * as methods from '../../src/protocol/methods.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { EngineClient, type EngineScene, startEngine } from './engine-client.ts'

const RELEASES = ['3.10', '4.3'] as const

function start(release: ReleaseName): EngineScene & { readonly client: EngineClient } {
  const scene = startEngine({ release })
  return { ...scene, client: EngineClient.open(scene.engine) }
}

function declare(client: EngineClient, queueName: string, table: FieldTable = {}): void {
  client.send(1, methods.QueueDeclare, { queueName, durable: true, arguments: table })
}

function consume(client: EngineClient, queueName: string, consumerTag: string, prefetchCount: number): void {
  client.send(1, methods.BasicQos, { prefetchCount })
  client.send(1, methods.BasicConsume, { queueName, consumerTag })
}

/** The deliveries, as consumers with bodies. */
function delivered(client: EngineClient): string[] {
  return client
    .take()
    .filter(({ name }) => name === 'basic.deliver')
    .map(({ args, body }) => `${args.consumerTag} ${body}`)
}

function refusal(client: EngineClient): string {
  const { name, args } = client.take().at(-1) ?? { name: 'nothing', args: {} }
  return `${name} ${args.replyText}`
}

describe('What a channel settles', () => {
  for (const release of RELEASES) {
    it(`comes back consumer by consumer, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'work')
      consume(client, 'work', 't2', 0)
      consume(client, 'work', 't3', 1)
      for (const body of ['1', '2', '3']) client.publish(2, '', 'work', body)
      assert.deepEqual(delivered(client), ['t2 1', 't3 2', 't2 3'])
      client.send(1, methods.BasicRecover, { requeue: true })
      assert.deepEqual(delivered(client), ['t2 1', 't2 3', 't2 2'])
    })

    it(`alike and in a row in a transaction is settled by tags at its commit, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'work')
      client.send(1, methods.TxSelect, {})
      consume(client, 'work', 't', 3)
      for (const body of ['1', '2', '3']) client.publish(2, '', 'work', body)
      for (const deliveryTag of [3, 1]) client.send(1, methods.BasicNack, { deliveryTag, requeue: true })
      client.take()
      client.send(1, methods.TxCommit, {})
      assert.deepEqual(delivered(client), ['t 1', 't 3'])
    })
  }
})

describe('A quorum queue', () => {
  const quorum = { 'x-queue-type': 'quorum' }

  for (const release of RELEASES) {
    it(`counts no consumer that waits to be the single active one, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'work', { ...quorum, 'x-single-active-consumer': true })
      const count = () => {
        client.send(2, methods.QueueDeclare, { queueName: 'work', passive: true })
        return client.take().at(-1)?.args.consumerCount
      }
      for (const tag of ['t0', 't1', 't2']) consume(client, 'work', tag, 1)
      client.publish(2, '', 'work', '1')
      assert.equal(count(), 1)
      client.send(1, methods.BasicCancel, { consumerTag: 't0' })
      assert.equal(count(), 2)
      client.send(1, methods.BasicAck, { deliveryTag: 1 })
      assert.equal(count(), 1)
    })
  }

  it('puts what is returned to the end if RabbitMQ 3.10 does', () => {
    const returned = (release: ReleaseName, table: FieldTable) => {
      const { client } = start(release)
      declare(client, 'work', { ...quorum, ...table })
      consume(client, 'work', 't', 1)
      for (const body of ['1', '2']) client.publish(2, '', 'work', body)
      client.take()
      client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: true })
      return delivered(client)
    }
    assert.deepEqual(returned('3.10', {}), ['t 2'])
    assert.deepEqual(returned('3.10', { 'x-delivery-limit': 5 }), ['t 1'])
    assert.deepEqual(returned('4.3', {}), ['t 1'])
  })

  for (const [release, ...left] of [
    ['3.10', '1', '2', 'long', 'died'],
    ['4.3', 'died'],
  ] as const) {
    it(`has a limit of bytes that counts what it does in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'dying', {
        'x-message-ttl': 0,
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': 'work',
      })
      declare(client, 'work', { ...quorum, 'x-max-length-bytes': 20 })
      // Two octets of flags, and one each of length.
      client.publish(1, '', 'work', '1', { messageId: '12345' })
      client.publish(1, '', 'work', '2', { messageId: '12345' })
      client.publish(1, '', 'work', 'long', { messageId: '1234567890' })
      // As it was published: without the story of its death, and with its expiration.
      client.publish(1, '', 'dying', 'died', { expiration: '1000000' })
      client.take()
      for (let i = 0; i < left.length; i++) client.send(1, methods.BasicGet, { queueName: 'work', noAck: true })
      client.send(1, methods.BasicGet, { queueName: 'work' })
      assert.deepEqual(
        client.take().map(({ body }) => body),
        [...left, undefined],
      )
    })
  }

  it('counts an expiration as its publisher wrote it, and sends it as a number, as RabbitMQ 4.3', () => {
    const { client } = start('4.3')
    declare(client, 'work', { ...quorum, 'x-max-length-bytes': 20 })
    client.publish(1, '', 'work', '1', { expiration: '+0000000099999' })
    client.send(1, methods.BasicGet, { queueName: 'work' })
    assert.equal(client.take().at(-1)?.properties?.expiration, '99999')
    client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: true })
    client.publish(1, '', 'work', '2')
    client.send(1, methods.BasicGet, { queueName: 'work' })
    assert.equal(client.take().at(-1)?.body, '2')
  })

  for (const release of RELEASES) {
    it(`gives what a lost channel had before it counts what is too much, as in RabbitMQ ${release}`, () => {
      const { engine, client } = start(release)
      const other = EngineClient.open(engine)
      declare(client, 'work', { ...quorum, 'x-max-length': 1 })
      consume(client, 'work', 't', 0)
      for (const body of ['1', '2', '3']) client.publish(2, '', 'work', body)
      other.send(1, methods.BasicConsume, { queueName: 'work', consumerTag: 'other' })
      client.lost()
      assert.deepEqual(delivered(other), ['other 1', 'other 2', 'other 3'])
    })

    it(`gives to the consumer that waited longest since it could take more, as in RabbitMQ ${release}`, () => {
      const { engine, client } = start(release)
      const other = EngineClient.open(engine)
      declare(client, 'work', { ...quorum, 'x-delivery-limit': 9 })
      consume(client, 'work', 't', 2)
      for (const body of ['1', '2']) client.publish(2, '', 'work', body)
      consume(other, 'work', 'other', 1)
      client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: true })
      assert.deepEqual(delivered(other), ['other 1'])
    })

    it(`counts for basic.get-ok what has expired after it unless that needs no ack, as RabbitMQ ${release} does`, () => {
      for (const noAck of [false, true]) {
        const { client } = start(release)
        declare(client, 'work', quorum)
        client.publish(1, '', 'work', '1')
        client.publish(1, '', 'work', '2', { expiration: '0' })
        client.take()
        client.send(1, methods.BasicGet, { queueName: 'work', noAck })
        assert.equal(client.take()[0]?.args.messageCount, noAck ? 0 : 1)
      }
    })
  }
})

describe('A queue that expires', () => {
  for (const release of RELEASES) {
    it(`goes on after a passive declare, not after a publish, as in RabbitMQ ${release}`, async () => {
      const { engine, client, clock } = start(release)
      for (const name of ['asked', 'filled']) declare(client, name, { 'x-expires': 1000 })
      await clock.advance(900)
      client.send(1, methods.QueueDeclare, { queueName: 'asked', passive: true })
      client.publish(1, '', 'filled', '1')
      await clock.advance(900)
      assert.ok(engine.queue('asked', '/'))
      assert.equal(engine.queue('filled', '/'), undefined)
    })

    it(`is in use while it is a quorum queue of which a message is not settled, as in RabbitMQ ${release}`, async () => {
      const { engine, client, clock } = start(release)
      const types = ['classic', 'quorum']
      for (const type of types) {
        declare(client, type, { 'x-queue-type': type, 'x-expires': 1000 })
        client.publish(1, '', type, '1')
        client.send(1, methods.BasicGet, { queueName: type })
      }
      await clock.advance(3000)
      assert.deepEqual(
        types.map(type => engine.queue(type, '/') !== undefined),
        [false, true],
      )
      client.send(1, methods.BasicAck, { deliveryTag: 2 })
      await clock.advance(1001)
      assert.equal(engine.queue('quorum', '/'), undefined)
    })
  }
})

describe('A full queue', () => {
  const full = (release: ReleaseName, type: string) => {
    const scene = start(release)
    declare(scene.client, 'work', { 'x-queue-type': type, 'x-max-length': 0, 'x-overflow': 'reject-publish' })
    scene.client.publish(2, '', 'work', '1')
    return scene
  }
  for (const release of RELEASES) {
    for (const type of ['classic', 'quorum']) {
      it(`refuses publishes as a ${type} queue of RabbitMQ ${release} does`, () => {
        const { client } = full(release, type)
        client.send(1, methods.ConfirmSelect, {})
        client.take()
        client.publish(1, '', 'work', '2')
        client.publish(1, '', 'work', '3')
        const nack = (deliveryTag: number) => ({ deliveryTag, multiple: true, requeue: true })
        assert.deepEqual(
          client.take().flatMap(({ name, args }) => (name === 'basic.nack' ? [args] : [])),
          [nack(1), nack(2)],
        )
      })

      it(`fails a transaction as a ${type} queue of RabbitMQ ${release} does`, () => {
        const { client } = full(release, type)
        client.send(2, methods.TxSelect, {})
        client.publish(2, '', 'work', '2')
        client.take()
        client.send(2, methods.TxCommit, {})
        assert.deepEqual(client.lines(), [type === 'classic' ? '2 channel.close' : '2 tx.commit-ok'])
      })
    }
  }
})

describe('A queue that is deleted', () => {
  for (const release of RELEASES) {
    for (const type of ['classic', 'quorum', 'stream']) {
      it(`of type ${type} cancels its consumers in the order of their tags, as in RabbitMQ ${release}`, () => {
        const { client } = start(release)
        declare(client, 'work', { 'x-queue-type': type })
        for (const tag of ['t3', 't1', 't2']) consume(client, 'work', tag, 1)
        client.take()
        client.send(2, methods.QueueDelete, { queueName: 'work' })
        const tags = client.take().map(({ args }) => args.consumerTag)
        assert.deepEqual(tags.filter(Boolean), ['t1', 't2', 't3'])
      })
    }
  }
})

describe('A message that dies, and goes to a stream', () => {
  for (const [release, expected] of [
    ['3.10', []],
    ['4.3', ['60000']],
  ] as const) {
    it(`is lost, or has its expiration again, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'log', { 'x-queue-type': 'stream' })
      declare(client, 'work', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'log' })
      client.publish(1, '', 'work', '1', { expiration: '60000' })
      client.send(1, methods.BasicGet, { queueName: 'work' })
      client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: false })
      client.take()
      client.send(2, methods.BasicQos, { prefetchCount: 1 })
      client.send(2, methods.BasicConsume, { queueName: 'log', arguments: { 'x-stream-offset': 'first' } })
      const delivered = client.take().filter(({ name }) => name === 'basic.deliver')
      assert.deepEqual(
        delivered.map(({ properties }) => properties?.expiration),
        expected,
      )
    })
  }
})

describe('The default exchange', () => {
  for (const release of RELEASES) {
    it(`leads nowhere as an alternate exchange, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'q')
      const table = { 'alternate-exchange': '' }
      client.send(1, methods.ExchangeDeclare, { exchangeName: 'x', typeName: 'fanout', arguments: table })
      client.take()
      client.publish(1, 'x', 'q', '1', undefined, true)
      assert.deepEqual(client.lines(), ['1 basic.return 1'])
    })
  }
})

describe('A channel that is lost', () => {
  for (const [release, order] of [
    ['3.10', ['1', '2']],
    ['4.3', ['2', '1']],
  ] as const) {
    it(`returns messages of basic.get and of consumers to a quorum queue as RabbitMQ ${release} does`, () => {
      const { engine, client } = start(release)
      declare(client, 'work', { 'x-queue-type': 'quorum' })
      client.publish(1, '', 'work', '1')
      client.send(1, methods.BasicGet, { queueName: 'work' })
      client.send(1, methods.BasicConsume, { queueName: 'work', consumerTag: 't' })
      client.publish(1, '', 'work', '2')
      client.lost()
      assert.deepEqual(
        engine.queue('work', '/')?.ready.map(({ message }) => String(message.body)),
        order,
      )
    })
  }
})

describe('A quorum queue with priorities', () => {
  it('looks at the first message of each for what has expired', async () => {
    const { engine, clock, client } = start('4.3')
    declare(client, 'work', { 'x-queue-type': 'quorum' })
    client.publish(1, '', 'work', '1', { priority: 9 })
    client.publish(1, '', 'work', '2', { expiration: '100' })
    client.publish(1, '', 'work', '3')
    await clock.advance(100)
    assert.deepEqual(
      engine.queue('work', '/')?.ready.map(({ message }) => String(message.body)),
      ['1', '3'],
    )
  })
})

describe('A channel whose mistake ends its connection', () => {
  for (const release of RELEASES) {
    it(`gives its messages to the other consumers of the connection, as in RabbitMQ ${release}`, () => {
      const { engine, client } = start(release)
      declare(client, 'work')
      consume(client, 'work', 't', 0)
      client.publish(1, '', 'work', '1')
      client.send(2, methods.BasicConsume, { queueName: 'work', noAck: true })
      client.send(1, methods.BasicRecover, { requeue: false })
      assert.equal(engine.queue('work', '/')?.messageCount, 0)
    })
  }
})

describe('A message that dies', () => {
  const died = (release: ReleaseName, settle: (client: EngineClient) => void) => {
    const { client } = start(release)
    declare(client, 'dead')
    declare(client, 'work', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' })
    client.publish(1, '', 'work', '1')
    client.send(1, methods.BasicGet, { queueName: 'work' })
    settle(client)
    client.take()
    client.send(1, methods.BasicGet, { queueName: 'dead' })
    return client.take()[0]
  }

  it('by basic.reject has failed, and by basic.nack has not, as in RabbitMQ 4.3', () => {
    const byReject = died('4.3', client => client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: false }))
    const byNack = died('4.3', client => client.send(1, methods.BasicNack, { deliveryTag: 1, requeue: false }))
    assert.equal(byReject?.args.redelivered, true)
    assert.equal(byNack?.args.redelivered, false)
  })

  it('again has its last death in the order of the alphabet, as in RabbitMQ 3.10', () => {
    const { client } = start('3.10')
    declare(client, 'dead')
    const next = { 'x-max-length': 0, 'x-dead-letter-exchange': '' }
    declare(client, 'two', { ...next, 'x-dead-letter-routing-key': 'dead' })
    declare(client, 'one', { ...next, 'x-dead-letter-routing-key': 'two' })
    client.publish(1, '', 'one', '1')
    client.take()
    client.send(1, methods.BasicGet, { queueName: 'dead' })
    const deaths = client.take()[0]?.properties?.headers?.['x-death'] as readonly FieldTable[]
    assert.deepEqual(
      deaths.map(death => Object.keys(death)),
      [
        ['count', 'exchange', 'queue', 'reason', 'routing-keys', 'time'],
        ['count', 'reason', 'queue', 'time', 'exchange', 'routing-keys'],
      ],
    )
  })
})

describe('A classic queue with priorities', () => {
  for (const release of RELEASES) {
    it(`gives a message that comes first and has expired to basic.get, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'work', { 'x-max-priority': 3 })
      client.publish(1, '', 'work', '1')
      client.publish(1, '', 'work', '2', { expiration: '0', priority: 1 })
      client.take()
      client.send(1, methods.BasicGet, { queueName: 'work' })
      assert.equal(client.take()[0]?.body, '2')
    })

    it(`does not look at a message that comes first and has expired, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'work', { 'x-max-priority': 3 })
      client.publish(1, '', 'work', '1')
      client.publish(1, '', 'work', '2', { expiration: '0', priority: 1 })
      client.take()
      client.send(1, methods.QueuePurge, { queueName: 'work' })
      assert.equal(client.take()[0]?.args.messageCount, 2)
    })
  }
})

describe('A transaction with a message for a queue that is deleted before the commit', () => {
  const commit = (release: ReleaseName, queueName: string, was: FieldTable, becomes?: FieldTable) => {
    const { engine, client } = start(release)
    declare(client, queueName, was)
    client.send(2, methods.TxSelect, {})
    client.publish(2, '', queueName, 'lost', undefined, true)
    client.send(1, methods.QueueDelete, { queueName })
    if (becomes !== undefined) declare(client, queueName, becomes)
    client.take()
    client.send(2, methods.TxCommit, {})
    const lines = client
      .take()
      .map(({ name, args }) => (args.replyText === undefined ? name : `${name} ${args.replyText}`))
    return { lines, count: engine.queue(queueName, '/')?.messageCount }
  }
  const quorum = { 'x-queue-type': 'quorum' }

  it('gives the rest of it to the queues that are there, as RabbitMQ 3.10 does', () => {
    assert.deepEqual(commit('3.10', 'q', {}).lines, ['basic.return NO_ROUTE', 'tx.commit-ok'])
    assert.deepEqual(commit('3.10', 'q', {}, {}), { lines: ['tx.commit-ok'], count: 1 })
    const { engine, client } = start('3.10')
    client.send(2, methods.TxSelect, {})
    client.publish(2, '', 'later', 'early')
    declare(client, 'later')
    client.send(2, methods.TxCommit, {})
    assert.equal(engine.queue('later', '/')?.messageCount, 1)
  })

  it('breaks on it as RabbitMQ 4.3 does', () => {
    const term = (inner: string) => [
      `connection.close RESOURCE_ERROR - failed to deliver message: {not_found,${inner}}`,
    ]
    const start = '{resource,<<"/">>,queue,'
    const indent = ' '.repeat(31)
    assert.deepEqual(commit('4.3', 'q'.repeat(8), {}).lines, term(`${start}<<"qqqqqqqq">>}`))
    assert.deepEqual(commit('4.3', 'q'.repeat(15), {}).lines, term(`\n${indent}${start}<<"${'q'.repeat(15)}">>}`))
    const long = `\n${indent}${start}\n${indent}    <<"${'q'.repeat(16)}">>}`
    assert.deepEqual(commit('4.3', 'q'.repeat(16), {}).lines, term(long))
    const partial = 'channel.close PRECONDITION_FAILED - partial tx completion'
    assert.deepEqual(commit('4.3', 'q', {}, {}), { lines: [partial], count: 0 })
    assert.deepEqual(commit('4.3', 'q', quorum, quorum), { lines: ['tx.commit-ok'], count: 1 })
    assert.deepEqual(commit('4.3', 'q', {}, quorum).lines, ['connection.close INTERNAL_ERROR'])
  })
})

describe('A declaration', () => {
  it('of a queue without a name and of an unknown type ends as with RabbitMQ 3.10 and 4.3', () => {
    const declared = (release: ReleaseName, type: FieldTable[string]) => {
      const { client } = start(release)
      declare(client, '', { 'x-queue-type': type })
      return refusal(client)
    }
    for (const type of ['odd', 5, true, null]) assert.equal(declared('3.10', type), 'connection.close INTERNAL_ERROR')
    assert.equal(declared('4.3', 'odd'), "channel.close PRECONDITION_FAILED - unknown queue type 'odd'")
    assert.equal(declared('4.3', true), "channel.close PRECONDITION_FAILED - unknown queue type 'true'")
    assert.equal(declared('4.3', 5), 'connection.close INTERNAL_ERROR')
    assert.match(
      declared('4.3', null),
      /invalid arg 'x-queue-type' for queue 'amq\.gen-.*: \{unacceptable_type,void\}$/,
    )
  })

  it('of an exclusive queue needs no place for it in RabbitMQ 3.10', () => {
    const { client } = start('3.10')
    client.send(1, methods.QueueDeclare, { exclusive: true, arguments: { 'x-queue-master-locator': 'odd' } })
    assert.equal(client.take()[0]?.name, 'queue.declare-ok')
  })

  it('of a stream again compares ages as RabbitMQ 3.10 and 4.3 do', () => {
    const again = (release: ReleaseName, one: FieldTable, other: FieldTable) => {
      const { client } = start(release)
      const stream = { 'x-queue-type': 'stream' }
      declare(client, 'log', { ...stream, ...one })
      declare(client, 'log', { ...stream, ...other })
      return refusal(client)
    }
    assert.match(again('3.10', { 'x-max-age': '60m' }, { 'x-max-age': '1h' }), /received '1h' but current is '60m'$/)
    assert.match(again('4.3', { 'x-max-age': '60m' }, { 'x-max-age': '1h' }), /^queue.declare-ok/)
    assert.match(again('4.3', {}, { 'x-max-age': '1h' }), /received the value '3600000' of type 'longstr' but current/)
    assert.match(again('4.3', {}, { 'x-max-age': 'odd' }), /received the value 'odd' of type 'longstr' but current/)
  })
})

describe('Direct reply-to', () => {
  const scene = (release: ReleaseName) => {
    const { engine, client } = start(release)
    const asking = EngineClient.open(engine)
    declare(client, 'questions')
    asking.send(1, methods.BasicConsume, { queueName: 'amq.rabbitmq.reply-to', consumerTag: 'r', noAck: true })
    asking.publish(1, '', 'questions', 'how much?', { replyTo: 'amq.rabbitmq.reply-to' })
    client.send(1, methods.BasicGet, { queueName: 'questions', noAck: true })
    const replyTo = client.take().at(-1)?.properties?.replyTo ?? ''
    asking.take()
    return { client, asking, replyTo }
  }

  for (const release of RELEASES) {
    it(`gets what died in a queue and goes to its key, as in RabbitMQ ${release}`, () => {
      const { client, asking, replyTo } = scene(release)
      const toReply = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': replyTo }
      declare(client, 'mortal', { ...toReply, 'x-max-length': 0 })
      client.publish(1, '', 'mortal', '42')
      const [reply] = asking.take()
      assert.equal(`${reply?.args.routingKey} ${reply?.body}`, `${replyTo} 42`)
      assert.equal(reply?.properties?.headers?.['x-first-death-reason'], 'maxlen')
    })
  }

  it('did not exist as a queue in RabbitMQ 3.10: a reply has no route, no tag of its own, and waits for no commit', () => {
    const { client, asking, replyTo } = scene('3.10')
    client.publish(1, '', replyTo, '42', undefined, true)
    assert.deepEqual(client.lines(), ['1 basic.return 42'])
    client.send(1, methods.TxSelect, {})
    client.publish(1, '', 'nowhere', '43', { headers: { CC: [replyTo] } })
    assert.deepEqual(
      asking.take().map(({ args, body }) => `${args.deliveryTag} ${body}`),
      ['1 42', '1 43'],
    )
  })

  it('is a queue in RabbitMQ 4.3, also after its channel has gone', () => {
    const { client, asking, replyTo } = scene('4.3')
    client.send(1, methods.TxSelect, {})
    client.publish(1, '', replyTo, '42', undefined, true)
    client.publish(1, '', 'nowhere', '43', { headers: { CC: [replyTo], BCC: [replyTo] } }, true)
    assert.deepEqual(asking.take(), [])
    client.take()
    client.send(1, methods.TxCommit, {})
    assert.deepEqual(client.lines(), ['1 tx.commit-ok'])
    assert.deepEqual(
      asking.take().map(({ args, body }) => `${args.deliveryTag} ${body}`),
      ['1 42', '2 43'],
    )
    asking.lost()
    client.publish(2, '', replyTo, 'late', undefined, true)
    client.publish(2, '', 'amq.rabbitmq.reply-to.none', 'odd', undefined, true)
    assert.deepEqual(client.lines(), ['2 basic.return odd'])
  })

  for (const [release, ...expected] of [
    ['3.10', ...Array(4).fill('NOT_FOUND - no queue')],
    [
      '4.3',
      'PRECONDITION_FAILED - multiple consumers are unsupported for queue',
      'PRECONDITION_FAILED - only creator channel may consume from queue',
      'queue.purge-ok 0',
      'NOT_IMPLEMENTED - basic.get not supported by volatile queue',
    ],
  ] as const) {
    it(`is used by its own name as in RabbitMQ ${release}`, () => {
      const { engine, client } = start(release)
      const ask = <M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>) => {
        const other = EngineClient.open(engine)
        other.send(1, methods.BasicConsume, { queueName: 'amq.rabbitmq.reply-to', noAck: true })
        const [queueName = ''] = engine.replies.keys()
        other.take()
        other.send(channel, method, { ...args, queueName })
        const answer = other.take().at(-1)?.args
        other.lost()
        return answer?.replyText?.replace(queueName, 'NAME') ?? `queue.purge-ok ${answer?.messageCount}`
      }
      const answers = [
        ask(1, methods.BasicConsume, { noAck: true }),
        ask(2, methods.BasicConsume, { noAck: true }),
        ask(2, methods.QueuePurge, {}),
        ask(2, methods.BasicGet, {}),
      ]
      client.lost()
      const what = (text: string) => (text.startsWith('queue.') ? text : `${text} 'NAME' in vhost '/'`)
      assert.deepEqual(answers, expected.map(what))
    })
  }

  it('is declared and bound under names of its kind as with RabbitMQ 3.10 and 4.3', () => {
    const asked = (release: ReleaseName, queueName: string, bind = false) => {
      const { client } = start(release)
      if (bind) client.send(1, methods.QueueBind, { queueName, exchangeName: 'nowhere', routingKey: 'k' })
      else declare(client, queueName)
      return refusal(client).replace(/ (queue|exchange) '.*/, '')
    }
    const [broken, missing] = ['connection.close INTERNAL_ERROR', 'channel.close NOT_FOUND - no']
    const volatile = 'channel.close ACCESS_REFUSED - cannot bind or unbind to a volatile (direct reply-to) queue'
    const reply = 'amq.rabbitmq.reply-to'
    const names = [`${reply}.a.b`, `${reply}.a`, `${reply}x`]
    assert.deepEqual(
      names.map(name => asked('3.10', name)),
      [broken, missing, missing],
    )
    assert.deepEqual(
      names.map(name => asked('4.3', name)),
      [broken, broken, broken],
    )
    assert.deepEqual(
      [reply, ...names].map(name => asked('4.3', name, true)),
      [missing, volatile, volatile, missing],
    )
    assert.equal(asked('3.10', `${reply}.a`, true), missing)
  })
})

describe('A stream', () => {
  it('has sizes within the bounds of RabbitMQ', () => {
    const declared = (release: ReleaseName, table: FieldTable) => {
      const { client } = start(release)
      declare(client, 'log', { 'x-queue-type': 'stream', ...table })
      return refusal(client)
    }
    const tooLarge = 'channel.close PRECONDITION_FAILED - Exceeded max value for x-stream-max-segment-size-bytes'
    const wrong = 'channel.close PRECONDITION_FAILED - Invalid value for x-stream-filter-size-bytes'
    for (const release of RELEASES) {
      assert.equal(declared(release, { 'x-stream-max-segment-size-bytes': 3_000_000_001 }), tooLarge)
      assert.match(declared(release, { 'x-stream-max-segment-size-bytes': 3_000_000_000 }), /^queue.declare-ok/)
    }
    for (const size of [0, 15, 256]) assert.equal(declared('4.3', { 'x-stream-filter-size-bytes': size }), wrong)
    for (const size of [16, 255])
      assert.match(declared('4.3', { 'x-stream-filter-size-bytes': size }), /^queue.declare-ok/)
  })

  it('ends the connection by basic.recover if RabbitMQ 3.10 breaks on it', () => {
    const { client } = start('3.10')
    declare(client, 'log', { 'x-queue-type': 'stream' })
    client.publish(1, '', 'log', '1')
    client.send(1, methods.BasicQos, { prefetchCount: 1 })
    client.send(1, methods.BasicConsume, { queueName: 'log', arguments: { 'x-stream-offset': 'first' } })
    client.send(1, methods.BasicRecover, { requeue: true })
    assert.equal(refusal(client), 'connection.close INTERNAL_ERROR')
  })
})

describe('What RabbitMQ prints', () => {
  const printed = (release: ReleaseName, expiration: string) => {
    const { client } = start(release)
    client.publish(1, '', 'q', 'm', { expiration })
    return refusal(client).replace(/.*?': /s, '')
  }

  for (const release of RELEASES) {
    it(`of an expiration is a term of Erlang, as in RabbitMQ ${release}`, () => {
      assert.equal(printed(release, '999999999999999999'), '{value_too_large,999999999999999999}')
      assert.equal(printed(release, '1\n"'), '{leftover_string,"\\n\\""}')
      assert.equal(printed(release, '1\x01'), '{leftover_string,[1]}')
      assert.equal(printed(release, '1ä'), `{leftover_string,"${release === '3.10' ? 'ä' : 'Ã¤'}"}`)
      const long = '9'.repeat(30)
      assert.equal(printed(release, long), `{value_too_large,\n${' '.repeat(54)}${long}}`)
    })

    it(`has an expiration as in RabbitMQ ${release}`, () => {
      const { engine, client } = start(release)
      declare(client, 'q')
      client.publish(1, '', 'q', 'm', { expiration: '+05' })
      const [stored] = engine.queue('q', '/')?.ready ?? []
      assert.equal(stored?.message.properties.expiration, release === '3.10' ? '+05' : '5')
    })

    it(`of an exchange without a type says that it is invalid, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      client.send(1, methods.ExchangeDeclare, { exchangeName: 'x', typeName: '' })
      assert.match(refusal(client), /invalid exchange type ''/)
    })
  }
})

describe('A method that RabbitMQ does not expect', () => {
  for (const [release, ...codes] of [
    ['3.10', 503, 503],
    ['4.3', 503, 541],
  ] as const) {
    it(`ends the connection: channel.flow-ok and basic.cancel-ok with RabbitMQ ${release}`, () => {
      const { client } = start(release)
      client.send(1, methods.ChannelFlowOk, { active: true })
      assert.equal(client.take().at(-1)?.args.replyCode, codes[0])
      const { client: other } = start(release)
      other.send(1, methods.BasicCancelOk, { consumerTag: 't' })
      assert.equal(other.take().at(-1)?.args.replyCode, codes[1])
    })
  }

  it('as basic.cancel-ok ends the consumer that it names, as in RabbitMQ 4.3', () => {
    const { client } = start('4.3')
    declare(client, 'work')
    consume(client, 'work', 't', 1)
    client.take()
    client.send(1, methods.BasicCancelOk, { consumerTag: 't' })
    assert.deepEqual(client.take(), [])
    client.send(1, methods.QueueDeclare, { queueName: 'work', passive: true })
    assert.equal(client.take().at(-1)?.args.consumerCount, 0)
    client.send(1, methods.BasicCancelOk, { consumerTag: 't' })
    assert.equal(refusal(client), 'connection.close INTERNAL_ERROR')
  })
})

describe('A queue of direct reply-to that does not exist', () => {
  for (const [release, ...expected] of [
    ['3.10', 'connection.close INTERNAL_ERROR', 'channel.close NOT_FOUND', 'channel.close NOT_FOUND'],
    ['4.3', 'basic.return NO_ROUTE', 'channel.close NOT_FOUND', 'connection.close INTERNAL_ERROR'],
  ] as const) {
    it(`is answered as by RabbitMQ ${release}`, () => {
      const { client } = start(release)
      client.publish(1, '', 'amq.rabbitmq.reply-to.abc.def', 'm', {}, true)
      assert.ok(refusal(client).startsWith(expected[0]))
      const { client: other } = start(release)
      other.send(1, methods.BasicConsume, { queueName: 'amq.rabbitmq.reply-to.abc', noAck: true })
      assert.ok(refusal(other).startsWith(expected[1]))
      other.send(1, methods.ChannelCloseOk, {})
      other.send(1, methods.ChannelOpen, {})
      other.send(1, methods.QueueDeclare, { queueName: 'amq.rabbitmq.reply-to.abc', passive: true })
      assert.ok(refusal(other).startsWith(expected[2]))
    })
  }
})

describe('A queue with the highest priority 0', () => {
  for (const [release, expected] of [
    ['3.10', ['low', 'high']],
    ['4.3', ['high', 'low']],
  ] as const) {
    it(`has as many priorities as in RabbitMQ ${release}`, () => {
      const { engine, client } = start(release)
      client.send(1, methods.QueueDeclare, { queueName: 'p', arguments: { 'x-max-priority': 0 } })
      client.publish(1, '', 'p', 'low')
      client.publish(1, '', 'p', 'high', { priority: 1 })
      assert.deepEqual(
        engine.queue('p', '/')?.ready.map(({ message }) => message.body.toString()),
        expected,
      )
    })
  }
})

describe('A message that failed in another quorum queue', () => {
  it('has been acquired as often as it failed until this queue counts itself, as in RabbitMQ 4.3', () => {
    const { client } = start('4.3')
    const type = { 'x-queue-type': 'quorum' }
    client.send(1, methods.QueueDeclare, { queueName: 'dead', durable: true, arguments: type })
    const limits = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead', 'x-delivery-limit': 1 }
    client.send(1, methods.QueueDeclare, { queueName: 'work', durable: true, arguments: { ...type, ...limits } })
    client.publish(1, '', 'work', 'm')
    const counts: unknown[] = []
    for (const [queueName, requeue] of [
      ['work', false],
      ['work', true],
      ['work', true],
      ['dead', false],
      ['dead', true],
    ] as const) {
      client.take()
      client.send(1, methods.BasicGet, { queueName })
      const { args, properties } = client.take().at(-1) ?? { args: {} }
      const { 'x-acquired-count': acquired, 'x-delivery-count': failed } = properties?.headers ?? {}
      counts.push([queueName, acquired, failed])
      const { deliveryTag } = args
      if (requeue) client.send(1, methods.BasicReject, { deliveryTag, requeue })
      else client.send(1, methods.BasicNack, { deliveryTag, requeue: true })
    }
    assert.deepEqual(counts, [
      ['work', undefined, undefined],
      ['work', 1, undefined],
      ['work', 2, 1],
      ['dead', 2, 2],
      ['dead', 1, 2],
    ])
  })
})

describe('A queue with a consumer and a message', () => {
  for (const release of RELEASES) {
    it(`is kept since it is not empty, and only then since it is in use, as in RabbitMQ ${release}`, () => {
      const { client } = start(release)
      declare(client, 'work')
      consume(client, 'work', 't', 1)
      for (const body of ['1', '2']) client.publish(2, '', 'work', body)
      client.send(1, methods.QueueDelete, { queueName: 'work', ifUnused: true, ifEmpty: true })
      assert.equal(refusal(client), "channel.close PRECONDITION_FAILED - queue 'work' in vhost '/' not empty")
    })
  }
})

describe('A virtual host', () => {
  it('has the exchange for the log of the node if it is the first one of RabbitMQ 4.3', () => {
    const has = (release: ReleaseName, vhost: string) => {
      const { engine } = startEngine({ release, vhosts: ['/', 'other'] })
      return engine.exchange('amq.rabbitmq.log', vhost)?.internal
    }
    assert.deepEqual([has('3.10', '/'), has('4.3', '/'), has('4.3', 'other')], [undefined, true, undefined])
  })
})
