import type { Errand } from './errand.ts'

/** Waits with timeouts and signals in any order: each ends in its own time. */
export const manyDeadlines: Errand = async outing => {
  const { clock } = outing
  const queue = await outing.queue()
  const consumer = outing.keep(await outing.protocol.consumer(queue))
  const signal = outing.signalAfter(50)
  const began = clock.now()
  const late: string[] = []
  // Times without an order, and a third that is left before.
  const waits = Array.from({ length: 60 }, (_, n) => {
    const timeout = 100 + ((n * 7_919) % 3_001)
    const isLeft = n % 3 === 1
    const due = isLeft ? 50 : timeout
    return consumer.next(isLeft ? { timeout, signal } : { timeout }).catch(() => {
      const took = clock.now() - began
      if (took > due + 20 || took < due) late.push(`${took} ms, and not ${due}`)
    })
  })
  await Promise.all(waits)
  outing.equal(late, [], 'waits that ended at another time')
}

/** A publish of a large body resolves when its bytes have left, and no earlier: it is the program's again then. */
export const largeBodies: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const { protocol } = await connect()
  const queue = 'large'
  await protocol.queueDeclare(queue)
  const channel = await protocol.channel()
  const body = Buffer.alloc(40_000)
  for (let n = 0; n < 20; n++) {
    // It leaves in a write of its own.
    await channel.basicPublish('small', '', queue)
    await outing.sleep(0)
    const messageId = `large ${n}`
    let isSent = false
    const sent = channel.basicPublish(body, '', queue, { messageId }).then(() => {
      isSent = true
      // On this network they are there then.
      outing.expect(control.evidence().arrived.includes(messageId), 'a publish resolves before its bytes have left')
    })
    await Promise.race([sent, outing.sleep(1_000)])
    outing.expect(isSent, 'a publish of a large body does not resolve')
  }
}

/** Headers of any length, one byte after the other, across the end of a buffer of the client. */
export const everyLength: Errand = async outing => {
  const { protocol } = await outing.connect()
  const queue = await outing.queue()
  const consumer = await protocol.consumer(queue, { prefetchCount: 0 })
  const nowhere = `${queue} none`
  const filler = Buffer.alloc(15_000, 1)
  const channel = await protocol.channel()
  for (let n = 0; n < 140; n++) {
    const text = 'x'.repeat(5_120 + (n >> 1))
    const header = n % 2 === 0 ? text : Buffer.from(text)
    // What comes before it goes nowhere: only the place in the buffer counts.
    for (let m = 0; m < 4; m++) void channel.basicPublish(filler, '', nowhere, {})
    await channel.basicPublish('last', '', queue, { headers: { header } })
    const { value } = await consumer.next({ timeout: 5_000 })
    value?.ack()
    const isRight = `${value?.properties.headers?.['header']}` === text
    outing.expect(isRight, `a message with a header of ${text.length} bytes came changed`)
  }
}

/** Bodies, texts and headers at the size of a frame arrive, and so does a body of more than a buffer holds at once. */
export const aroundFrames: Errand = async outing => {
  const frameMax = 8_192
  const { protocol } = await outing.connect({ frameMax })
  const queue = await outing.queue()
  const consumer = await protocol.consumer(queue, { prefetchCount: 0 })
  const channel = await protocol.channel({ publisherConfirms: true })
  const near = Array.from({ length: 20 }, (_, n) => frameMax - 16 + n)
  const bodies = [
    ...near.map(size => Buffer.alloc(size, 7)),
    ...near.map(size => 'x'.repeat(size)),
    // Few enough characters to be written before they are measured.
    ...near.map(size => `${'é'.repeat(size >> 1)}${size % 2 === 0 ? '' : 'x'}`),
    Buffer.alloc(1_300_000, 7),
  ]
  for (const body of bodies) {
    // By a channel: a publisher would make bytes of a text.
    await channel.publish(body, '', queue, outing.number % 2 === 0 ? undefined : {}, { timeout: 20_000 })
    const { value } = await consumer.next({ timeout: 20_000 })
    value?.ack()
    outing.expect(value?.body.equals(Buffer.from(body)) === true, `a body of ${body.length} bytes came changed`)
  }
  let losses = 0
  protocol.on('disconnected', () => losses++)
  for (const size of near) {
    // The name of the header and what is around it take some of the frame, too.
    const header = 'x'.repeat(size - 30)
    const sent = protocol.publish('x', '', queue, { headers: { h: header } }, { timeout: 20_000 })
    const error = await sent.then(() => undefined).catch((thrown: Error) => thrown)
    outing.expect(error === undefined || error.name === 'EncodeError', `headers of ${size} bytes ended with ${error}`)
    if (error !== undefined) continue
    const { value } = await consumer.next({ timeout: 20_000 })
    value?.ack()
    outing.expect(value?.properties.headers?.['h'] === header, `headers of ${size} bytes came changed`)
  }
  outing.equal(losses, 0, 'losses')
}
