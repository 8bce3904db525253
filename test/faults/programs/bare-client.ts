/**
 * A client as careless as may be: no listener, nothing awaited to its end, no process.exit().
 *
 *   node bare-client.js URL MODE
 *
 * `lost` ends when its connection has been lost and a publish has shown it; `recovers` goes on; `close` closes, while
 * nothing passes any more.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from '../../../src/index.ts'
import { Stopwatch } from '../../support/stopwatch.ts'

const [url, mode] = process.argv.slice(2)
const protocol = await connect(url ?? '', { recovery: mode !== 'lost', heartbeat: 5 })
const channel = await protocol.channel({ publisherConfirms: true })
const { queue } = await channel.queueDeclare()
await channel.basicConsume(() => {}, queue)
void channel.basicPublish('not awaited', '', queue)
console.log('ready')

if (mode === 'close') {
  await sleep(300)
  const publishes = Array.from({ length: 500 }, (_, n) => channel.publish(String(n), '', queue))
  using watch = new Stopwatch()
  const closing = protocol.close({ timeout: 1_000 })
  const outcomes = (await Promise.allSettled(publishes)).map(result =>
    result.status === 'rejected' ? String(result.reason.outcome) : 'confirmed',
  )
  await closing
  console.log(`closed ${Math.round(watch.elapsed)} ${[...new Set(outcomes)].join(',')}`)
} else {
  while (protocol.state === 'open') await sleep(5)
  console.log(`left ${protocol.state}`)
  if (mode === 'recovers') {
    await channel.publish('after it', '', queue)
    console.log('published')
    await protocol.close()
  }
}
