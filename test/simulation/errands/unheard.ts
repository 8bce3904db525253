import type { Errand } from './errand.ts'

/** What no promise rejects with is given to `onError`, each once. */
export const unheard: Errand = async outing => {
  const queue = await outing.queue()
  const errors: Error[] = []
  const onError = (error: Error): void => void errors.push(error)
  const own = await outing.connect({ onError })
  const { protocol } = own
  const expect = async (name: string, text: string, what: string): Promise<void> => {
    const is = (): number => errors.filter(error => error.name === name && error.message.includes(text)).length
    await outing.until(() => is() > 0, `${what} is reported`, 1_000)
    outing.equal(is(), 1, `reports of ${what}`)
  }
  const channel = await protocol.channel()
  await channel.basicPublish('x', '', `${queue} none`, {}, { mandatory: true })
  await expect('MessageReturnedError', `${queue} none`, 'a message that came back')
  const failing = await protocol.consumer(
    queue,
    () => {
      throw new RangeError('of a handler')
    },
    { onFailure: 'drop' },
  )
  await outing.publish(queue, '1')
  await expect('RangeError', 'of a handler', 'what a handler throws')
  await failing.close()
  await channel.basicConsume(
    async () => {
      await outing.sleep(1)
      throw new RangeError('of a callback')
    },
    queue,
    { noAck: true },
  )
  await outing.publish(queue, '2')
  await expect('RangeError', 'of a callback', 'what a callback throws')
  protocol.on('blocked', () => {
    throw new RangeError('of a listener')
  })
  protocol.once('disconnected', () => {
    throw new RangeError('of a listener')
  })
  const gone = await protocol.channel()
  void gone.basicPublish('x', `${queue} none`, '')
  void gone.basicPublish('y', `${queue} none`, '')
  await expect('ChannelClosedError', `${queue} none`, 'the end of a channel')
  // A program that goes on without awaiting learns no more of it.
  for (let n = 0; n < 3; n++) void gone.basicPublish('z', '', queue)
  await expect('ChannelClosedError', `${queue} none`, 'the end of a channel, after it')
  const recovered = new Promise<void>(resolve => protocol.once('recovered', () => resolve()))
  own.cut()
  await Promise.race([recovered, outing.sleep(20_000)])
  await expect('RangeError', 'of a listener', 'what a listener throws')
  await protocol.close()
  // The end of a connection ends what waits for it, which no caller awaits.
  const last: Error[] = []
  const other = await outing.connect({
    recovery: { initialDelay: 10, maxAttempts: 1 },
    onError: error => last.push(error),
  })
  const waiting = await other.protocol.channel()
  other.refuse(true)
  other.cut()
  await outing.sleep(1)
  void waiting.basicPublish('never', '', queue)
  void waiting.basicPublish('neither', '', queue)
  await other.protocol.waitClosed().catch(() => {})
  await outing.sleep(10)
  const lost = last.filter(({ message }) => message.startsWith('publish of'))
  outing.equal(lost.length, 1, 'reports of publishes that were lost')
}
