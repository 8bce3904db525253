import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

const SOON = { timeout: 20_000 }

/** An answer comes together with the end of its channel, or of its connection: what can go on by another one does. */
export const answersAndEnds: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const { protocol: other } = await connect({ recovery: QUICK })
  await other.queueDeclare('asked')
  for (const exchange of ['first', 'second', 'third', 'fourth']) {
    await other.exchangeDeclare(exchange, 'fanout')
    await other.queueBind('asked', exchange)
  }
  await other.queueDeclare('published')
  await other.rpcServer('asked', request => `re ${request.text()}`)
  const client = await protocol.rpcClient()
  const ends = [
    () => control.closeChannels(541, 'INTERNAL_ERROR'),
    () => control.closeConnections(320, 'CONNECTION_FORCED - broker forced connection closure'),
  ]
  const end = async (which: number): Promise<void> => {
    await outing.sleep(10)
    ends[which % 2]?.()
    await outing.sleep(10)
    own.thaw('toClient')
  }
  for (const [n, exchangeName] of ['first', 'second', 'third', 'fourth'].entries()) {
    const text = `${n}`
    own.freeze('toClient')
    // By a channel of its own, which is opened now: it was not sent.
    const asked = outing.meanwhile(client.call('', text, { exchangeName, ...SOON }))
    const publisher = protocol.publisher()
    const sent = outing.meanwhile(publisher.then(opened => opened.publish(text, 'published', {}, SOON)))
    const direct = outing.meanwhile(protocol.publish(text, '', 'published', {}, SOON))
    await end(n)
    outing.equal(
      (await asked.catch(error => error)).text?.(),
      `re ${text}`,
      'a call whose channel ended as it was open',
    )
    for (const each of [sent, direct])
      await each.catch((error: unknown) =>
        outing.expect(false, `a publish whose channel ended as it was open: ${error}`),
      )
    await outing.sleep(2_000)
  }
}
