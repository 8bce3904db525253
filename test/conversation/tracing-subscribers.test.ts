import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel as diagnosticsChannel } from 'node:diagnostics_channel'
import { afterEach, describe, it } from 'node:test'
import { inspect } from 'node:util'
import { type AmqpProtocol, connect, type Message, type PublishContext } from '../../src/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { follow, turn } from '../support/settled.ts'
import { OPERATIONS, type TraceEvent, TraceRecorder } from '../support/trace-recorder.ts'

const recorders: TraceRecorder<object>[] = []

function recordAll(seen?: (operation: string, event: TraceEvent, context: object) => void): TraceRecorder<object>[] {
  for (const operation of OPERATIONS) {
    recorders.push(new TraceRecorder<object>(operation, (event, context) => seen?.(operation, event, context)))
  }
  return [...recorders]
}

/** Every operation of a small program: a publish, a handler, a callback, a loop, RPC. */
async function everything(protocol: AmqpProtocol): Promise<string[]> {
  const got: string[] = []
  const take = (message: Message): void => void got.push(message.text())
  for (const queue of ['a', 'b', 'c', 'rpc']) await protocol.queueDeclare(queue, { durable: true })
  await protocol.consumer('a', take)
  const channel = await protocol.channel({ publisherConfirms: true })
  await channel.basicConsume(async (_channel, body, { deliveryTag }) => {
    got.push(body.toString())
    await channel.basicClientAck(deliveryTag)
  }, 'b')
  await protocol.publish('handler', '', 'a')
  await channel.publish('callback', '', 'b')
  await channel.basicPublish('loop', '', 'c')
  for await (const message of await protocol.consumer('c')) {
    take(message)
    break
  }
  await protocol.rpcServer('rpc', request => `re ${request.text()}`)
  got.push((await (await protocol.rpcClient()).call('rpc', 'call')).text())
  await turn()
  return got.sort()
}

const GOT = ['callback', 'handler', 'loop', 're call']

/** What `run` leaves to the process, in place of the test runner, which would take it for a failure of the test. */
async function leftTo(event: 'uncaughtException' | 'unhandledRejection', run: () => Promise<void>): Promise<string[]> {
  const others = process.rawListeners(event) as (() => void)[]
  const left: string[] = []
  const take = (error: unknown): void => void left.push(String(error))
  process.removeAllListeners(event)
  process.on(event, take)
  try {
    await run()
    await turn()
  } finally {
    process.removeListener(event, take)
    for (const other of others) process.on(event, other)
  }
  return left
}

afterEach(() => {
  for (const recorder of recorders.splice(0)) recorder.stop()
})

describe('A subscriber', () => {
  it('that throws at each event is an uncaught exception, and harms nothing', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    const left = await leftTo('uncaughtException', async () => {
      const all = recordAll(() => {
        throw new Error('thrown by a subscriber')
      })
      assert.deepEqual(await everything(protocol), GOT)
      for (const recorder of all) recorder.stop()
      for (const recorder of all) if (recorder.operation !== 'settle') assert.deepEqual(recorder.open, [])
    })
    assert.ok(left.length > 30, `${left.length} exceptions`)
    assert.deepEqual([...new Set(left)], ['Error: thrown by a subscriber'])
  })

  it('that prints all that a context has finds no body and no password', async () => {
    await using broker = await startBroker({ users: { shop: { password: 'hush-hush' } } })
    const printed: string[] = []
    recordAll((_operation, _event, context) => printed.push(inspect(context, { depth: null })))
    await using protocol = await connect(broker.url, broker.inMemory)
    assert.deepEqual(await everything(protocol), GOT)
    assert.ok(printed.length > 80, `${printed.length} contexts`)
    assert.deepEqual(
      printed.filter(text => /hush-hush|payload|body:|<Buffer/.test(text)),
      [],
    )
  })

  it('may call the client at each event', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    await protocol.queueDeclare('noise', { durable: true })
    const channel = await protocol.channel()
    let calls = 0
    const all = recordAll(() => {
      // What it calls is traced, too.
      if (calls++ > 200) return
      void channel.basicPublish('x', '', 'noise')
      void channel.queueDeclare('noise', { durable: true }).catch(() => {})
      channel.publish('x', 'amq.direct', 'k').catch(() => {})
    })
    assert.deepEqual(await everything(protocol), GOT)
    assert.ok(calls > 30, `${calls} calls`)
    await turn()
    for (const recorder of all) if (recorder.operation !== 'settle') assert.deepEqual(recorder.open, [])
  })

  for (const event of ['start', 'end', 'asyncEnd'] as const) {
    it(`may close the connection at the ${event} of a publish, which then has one end`, async () => {
      await using broker = await startBroker()
      await using protocol = await connect(broker.inMemory)
      const channel = await protocol.channel({ publisherConfirms: true })
      const [, published] = recordAll((operation, seen) => {
        if (operation === 'publish' && seen === event) void protocol.close({ timeout: 100 })
      })
      const outcome = follow(channel.publish('x', '', 'q'))
      const other = follow(protocol.publish('x', 'amq.direct', 'k'))
      await protocol.close()
      await turn()
      assert.deepEqual(published?.open, [])
      for (const { state } of [outcome, other]) assert.notEqual(state, 'pending')
    })
  }

  it('whose function around a call throws, calls it twice or not at all changes nothing of the call', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    const ways = [
      <T>(run: () => T): T => {
        run()
        return run()
      },
      (): never => undefined as never,
      (): never => {
        throw new Error('thrown around')
      },
    ]
    const left = await leftTo('unhandledRejection', async () => {
      let at = 0
      const all = recordAll((_operation, event, context) => {
        if (event === 'start') (context as PublishContext).around = ways[at++ % ways.length]
      })
      assert.deepEqual(await everything(protocol), GOT)
      for (const recorder of all) recorder.stop()
    })
    assert.ok(left.length > 3, `${left.length} rejections`)
    assert.deepEqual([...new Set(left)], ['Error: thrown around'])
  })

  it('that comes or leaves in the middle sees no end without a start, and harms nothing', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    broker.withholdConfirms()
    const before = protocol.publish('x', 'amq.direct', 'k')
    await turn()
    const [, published] = recordAll()
    const within = protocol.publish('y', 'amq.direct', 'k')
    await turn()
    broker.releaseConfirms()
    await Promise.all([before, within])
    assert.deepEqual(published?.events, ['start end asyncStart asyncEnd'])
    const after = protocol.publish('z', 'amq.direct', 'k')
    published?.stop()
    await after
    assert.deepEqual(published?.events, ['start end asyncStart asyncEnd', 'start end'])
  })
})

describe('A store that is bound to the start of an operation', () => {
  const storage = new AsyncLocalStorage<object>()

  it('holds in the handler and in what it publishes, and not in the continuation of the caller', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    await protocol.queueDeclare('q', { durable: true })
    const bound = ['publish', 'process', 'rpc.call', 'call'].map(operation => {
      const start = diagnosticsChannel(`tracing:asyncamqp:${operation}:start`)
      start.bindStore(storage, context => context as object)
      return start
    })
    const stores: Record<string, unknown> = {}
    recordAll((operation, event, context) => {
      if (event === 'start' && operation === 'publish')
        stores[`start ${(context as PublishContext).routingKey}`] = storage.getStore() === context
      if (event === 'asyncEnd' && operation === 'publish')
        stores[`asyncEnd ${(context as PublishContext).routingKey}`] = storage.getStore() === context
    })
    const handled = new Promise<void>(resolve => {
      void protocol.consumer('q', async () => {
        await undefined
        stores['handler'] = storage.getStore()?.constructor.name
        await protocol.publish('x', 'amq.direct', 'copy')
        stores['after publish'] = storage.getStore()?.constructor.name
        resolve()
      })
    })
    await storage.run({}, async () => {
      await protocol.publish('x', '', 'q')
      stores['caller'] = storage.getStore()?.constructor.name
    })
    await handled
    await turn()
    for (const start of bound) start.unbindStore(storage)
    assert.deepEqual(stores, {
      'start q': true,
      'asyncEnd q': true,
      caller: 'Object',
      handler: 'ProcessContext',
      'start copy': true,
      'asyncEnd copy': true,
      'after publish': 'ProcessContext',
    })
  })

  it('of a message whose handler failed does not hold for the next message', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, onError: () => {} })
    await protocol.queueDeclare('q', { durable: true })
    const own = new AsyncLocalStorage<string>()
    const outer: unknown[] = []
    const all = recordAll((operation, event, context) => {
      if (operation !== 'process' || event !== 'start') return
      outer.push(own.getStore())
      const process = context as PublishContext
      process.around = run => own.run(`around ${outer.length}`, run)
    })
    await protocol.publish('a', '', 'q')
    await protocol.publish('b', '', 'q')
    const handler = (): never => {
      throw new Error('failed')
    }
    await protocol.consumer('q', handler, { concurrency: 1, onFailure: 'reject' })
    await broker.queue('q').emptied()
    await turn()
    for (const recorder of all) recorder.stop()
    assert.deepEqual(outer, [undefined, undefined])
  })
})
