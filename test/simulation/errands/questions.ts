import { type Payload, RemoteError } from '../../../src/index.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** Answers of every kind reach the one who asked. */
export const answers: Errand = async outing => {
  const queue = await outing.queue()
  const server = outing.keep(
    await outing.protocol.rpcServer(queue, async request => {
      const { say, wait = 0 } = request.json<{ say: string; wait?: number }>()
      if (say === 'no') throw new RangeError('not for sale')
      await outing.sleep(wait)
      return { said: say }
    }),
  )
  const client = outing.keep(await outing.protocol.rpcClient({ timeout: 30_000 }))
  const slow = outing.meanwhile(client.call(queue, { say: 'slow', wait: 200 }))
  const fast = await client.call(queue, { say: 'fast' })
  outing.equal(fast.json(), { said: 'fast' }, 'the fast answer')
  const refused = await client.call(queue, { say: 'no' }).catch((error: unknown) => error)
  outing.expect(
    refused instanceof RemoteError && refused.remoteName === 'RangeError' && refused.message.includes('not for sale'),
    `what a server threw came as ${refused}`,
  )
  outing.equal((await slow).json(), { said: 'slow' }, 'the slow answer')
  const types = await outing.queue()
  const replies = { text: 'text', bytes: Buffer.from('bytes'), object: { an: 'object' }, nothing: undefined }
  outing.keep(
    await outing.protocol.rpcServer(types, request => replies[request.text() as keyof typeof replies] as Payload),
  )
  for (const [ask, type] of [
    ['text', 'text/plain'],
    ['bytes', undefined],
    ['object', 'application/json'],
    ['nothing', 'text/plain'],
  ] as const)
    outing.equal((await client.call(types, ask)).properties.contentType, type, `the type of an answer: ${ask}`)
  const began = outing.clock.now()
  await outing.failure(
    client.call(queue, { say: 'late', wait: 500 }, { timeout: 100 }),
    'TimeoutError',
    'a late answer',
  )
  outing.took(began, 100, 150, 'a call with a timeout')
  const aborted = client.call(queue, { say: 'gone', wait: 300 }, { signal: outing.signalAfter(50) })
  await outing.failure(aborted, 'AbortError', 'a call with a signal')
  const lost = await outing.failure(
    client.call(`${queue} none`, 'to nobody'),
    'MessageReturnedError',
    'a call to nobody',
  )
  outing.equal(lost.outcome, 'refused', 'the outcome of a call to nobody')
  const last = outing.meanwhile(client.call(queue, { say: 'last', wait: 100 }))
  await outing.sleep(50)
  await server.close()
  outing.equal((await last).json(), { said: 'last' }, 'what a server answers while it is closed')
  const waiting = client.call(queue, { say: 'nobody hears it' })
  const failed = outing.failure(waiting, 'ChannelClosedError', 'a call whose client is closed')
  await outing.sleep(20)
  await client.close()
  const ended = await Promise.race([failed.then(() => true), outing.sleep(1_000)])
  outing.expect(ended === true, 'a call outlives its client')
  // The last one: its answer had no place to go.
  await outing.holds(queue, 1, 'requests that are left')
}

/** A call that waits for its channel goes by the next connection, and an answer that was made is not made again. */
export const keptQuestions: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const [own, other] = [await connect({ recovery: QUICK }), await connect()]
  const { protocol } = other
  for (const queue of ['asked', 'kept']) await protocol.queueDeclare(queue)
  await protocol.exchangeDeclare('questions', 'fanout')
  await protocol.queueBind('asked', 'questions')
  await protocol.rpcServer('asked', request => request.text())
  const client = await own.protocol.rpcClient({ timeout: 20_000 })
  own.freeze()
  const called = outing.meanwhile(client.call('', 'waits', { exchangeName: 'questions' }))
  await outing.sleep(5)
  own.cut()
  outing.equal((await called).text(), 'waits', 'the answer to a call that waited for its channel')
  await own.protocol.ready({ timeout: 20_000 })
  let handled = 0
  await own.protocol.rpcServer('kept', request => {
    handled++
    // Its answer is not confirmed when the request comes again.
    control.withholdConfirms()
    return request.text()
  })
  const caller = await protocol.rpcClient({ timeout: 20_000 })
  const asked = outing.meanwhile(caller.call('kept', 'once'))
  await outing.until(() => handled > 0, 'a request', 2_000)
  await outing.sleep(20)
  own.cut()
  outing.equal((await asked).text(), 'once', 'the answer to a request that came again')
  await outing.sleep(1_000)
  outing.equal(handled, 1, 'times that a request was handled')
  control.releaseConfirms()
}

/** A call that is given up in the moment in which its request arrives ends at once. */
export const abortedCalls: Errand = async outing => {
  const { protocol } = outing
  const queue = await outing.queue()
  const client = outing.keep(await protocol.rpcClient({ timeout: 60_000 }))
  const channel = outing.keep(await protocol.channel({ publisherConfirms: true }))
  const first = client.call(queue, 'question', { timeout: 10 })
  await outing.failure(first, 'TimeoutError', 'a call that nobody answers')
  // No server works on it any more.
  await outing.holds(queue, 0, 'requests whose callers have given them up')
  await channel.publish('0', '', queue)
  for (let n = 0; n < 6; n++) {
    const controller = new AbortController()
    const other = channel.publish('other', '', queue)
    const called = client.call(queue, 'question', { signal: controller.signal })
    // A little later each time, after what is confirmed beside it.
    const confirmed = other.then(async () => {
      for (let turn = 0; turn < n; turn++) await undefined
      controller.abort()
    })
    outing.meanwhile(confirmed)
    const began = outing.clock.now()
    const ended = await Promise.race([called.catch((error: Error) => error.name), outing.sleep(5_000)])
    outing.equal(ended, 'AbortError', 'the end of a call with a signal')
    outing.took(began, 0, 1_000, 'the end of a call with a signal')
  }
}

/** A server that is lost with a request in hand answers it when it comes again, wherever it was in its work; an answer is given once. */
export const askedAgain: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const asking = await connect()
  const answering = await connect({ recovery: QUICK })
  await answering.protocol.queueDeclare('asked')
  let runs = 0
  let redelivered = 0
  const server = await answering.protocol.rpcServer('asked', async request => {
    runs++
    if (request.envelope.isRedeliver) redelivered++
    await outing.sleep(100)
    return `${request.text()} answered`
  })
  const client = await asking.protocol.rpcClient({ timeout: 15_000 })
  // While its handler runs; while the reply is not confirmed; and when all is done.
  for (const [stage, after] of [50, 150, 300].entries()) {
    runs = 0
    redelivered = 0
    if (stage === 1) control.withholdConfirms()
    const answers = [1, 2, 3].map(n => outing.meanwhile(client.call('asked', `question ${n}`)))
    await outing.sleep(after)
    answering.cut()
    await outing.sleep(20)
    control.releaseConfirms()
    const texts = await Promise.all(answers.map(answer => answer.then(reply => reply.text(), String)))
    const should = [1, 2, 3].map(n => `question ${n} answered`)
    outing.equal(texts, should, `answers of a server that is lost at stage ${stage}`)
    await answering.protocol.ready({ timeout: 15_000 })
    await outing.sleep(500)
    // Nothing says of a request whether somebody has seen its answer: it comes again.
    outing.equal([runs, redelivered], stage === 0 ? [6, 3] : [3, 0], `runs of a server that is lost at stage ${stage}`)
    await outing.sleep(1_500)
  }
  await client.close()
  await server.close()
  outing.equal(control.evidence().queued.get('asked')?.length ?? 0, 0, 'requests that are left')
}
