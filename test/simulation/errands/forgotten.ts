import type { Channel, Envelope, Message } from '../../../src/index.ts'
import { collectGarbage } from '../../support/heap.ts'
import type { Errand, Outing, OwnConnection } from './errand.ts'
import { lose, QUICK } from './recoveries.ts'

/** Milliseconds after which `protocol.publish` has closed a channel that it does not need. */
const SWEPT = 70_000
const COLLECTIONS = 3

type Remember = <T extends object>(what: string, thing: T) => T

/** Consume, publish, ask and answer, lose the connection in between, and close all of it but the connection. */
async function use(outing: Outing, own: OwnConnection, signal: AbortSignal, remember: Remember): Promise<void> {
  const { protocol } = own
  const [queue, requests, errors] = [await outing.queue(), await outing.queue(), await outing.queue()]
  const seen: string[] = []
  const see = (message: Message): void => {
    seen.push(remember('a message of a handler', message).text())
    if (message.text() === 'bad' && !message.envelope.isRedeliver) throw remember('an error', new Error('bad'))
  }
  const handling = remember(
    'a consumer with a handler',
    await protocol.consumer(queue, see, { signal, onFailure: { exchangeName: '', routingKey: errors } }),
  )
  const publisher = remember('a publisher', await protocol.publisher())
  const channel = remember('a channel', await protocol.channel({ publisherConfirms: true }))
  const server = remember(
    'a server',
    await protocol.rpcServer(requests, request => remember('a request', request).text()),
  )
  const client = remember('a client', await protocol.rpcClient())
  for (const round of ['1', '2']) {
    await publisher.publish(`publisher ${round}`, queue, {}, { signal, timeout: 20_000 })
    await publisher.publish('bad', queue)
    await protocol.publish(`protocol ${round}`, '', queue, {}, { signal })
    await channel.publish(`channel ${round}`, '', queue, {}, { timeout: 20_000 })
    remember('an answer', await client.call(requests, 'question', { signal }))
    await channel.queueDeclare(queue, { passive: true, signal, timeout: 20_000 })
    await outing.until(() => seen.length === (round === '1' ? 4 : 8), 'messages of a handler')
    if (round === '1') await lose(outing, own)
  }
  const passing = await protocol.queueDeclare('', { exclusive: true, autoDelete: true })
  const callback = remember('a callback', async (on: Channel, _body: Buffer, { deliveryTag }: Envelope) => {
    await on.basicClientAck(deliveryTag)
    seen.push('callback')
  })
  const { consumerTag } = await channel.basicConsume(callback, passing.queue)
  await protocol.publish('callback', '', passing.queue)
  await outing.until(() => seen.at(-1) === 'callback', 'a message of a callback')
  await channel.basicCancel(consumerTag)
  await outing.failure(client.call(queue, 'nothing', { signal, timeout: 10 }), 'TimeoutError', 'a call')
  await handling.close()
  const loop = remember('a consumer', await protocol.consumer(queue, { signal }))
  await outing.failure(loop.next({ signal: outing.signalAfter(1) }), 'AbortError', 'next()')
  await publisher.publish('next', queue)
  const { value } = await loop.next({ signal, timeout: 5_000 })
  if (value !== undefined) remember('a message', value).ack()
  for await (const message of remember('another consumer', await protocol.consumer(errors, { signal }))) {
    remember('a message of a loop', message)
    break
  }
  const log = await outing.queue({ arguments: { 'x-queue-type': 'stream' } })
  const offsetStore = { load: () => undefined, save: () => {} }
  const reading = remember('a consumer of a stream', await protocol.consumer(log, () => {}, { offsetStore, signal }))
  for (const each of [loop, publisher, channel, client, server, reading]) await each.close()
}

/** What is closed, settled or answered while its connection goes on is kept by nothing. */
export const forgotten: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { signal } = new AbortController()
  const things: { readonly what: string; readonly ref: WeakRef<object> }[] = []
  await use(outing, own, signal, (what, thing) => {
    things.push({ what, ref: new WeakRef(thing) })
    return thing
  })
  // It takes as long as all the rest.
  if (outing.number % 3 > 0) return
  let kept = new Set<string>()
  // V8 may keep a thing for a moment, such as what it compiles just then. What the client keeps is there each time.
  for (let n = 0; n < COLLECTIONS && (n === 0 || kept.size > 0); n++) {
    await outing.sleep(SWEPT)
    collectGarbage()
    kept = new Set(things.flatMap(({ what, ref }) => (ref.deref() === undefined ? [] : what)))
  }
  outing.equal([...kept], [], 'what is kept though it is over')
  outing.equal(own.protocol.stats().openChannels, 0, 'channels that are open')
  outing.expect(!signal.aborted && own.protocol.state === 'open', 'a connection has ended')
}
