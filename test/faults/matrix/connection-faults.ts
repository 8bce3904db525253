import { once } from 'node:events'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import * as methods from '../../../src/protocol/methods.ts'
import { broker } from '../../support/broker.ts'
import { type Direction, type FaultProxy, openFaultProxy } from '../../support/fault-proxy.ts'
import { openScriptedServer } from '../../support/scripted-server.ts'
import type { Account } from './client-process.ts'
import type { Settings } from './clients/client.ts'
import { alone, inTurn, type Line, seconds, together } from './line.ts'
import { type CloseReason, MeasuredClient } from './measured-client.ts'

const AGAIN_WITHIN = 5_000
const WAITING = 30_000
/** Three intervals of the longest heartbeat that RabbitMQ's offer makes a default, and some more. */
const DEFAULT_HEARTBEATS = 200_000

/** How long it takes until a publish is confirmed again. */
export async function broken(fault: string, act: (proxy: FaultProxy) => void): Promise<Line> {
  return await inTurn(fault, async (_client, name) => {
    const times: number[] = []
    for (let n = 0; n < 5; n++) {
      await using client = await MeasuredClient.start(name)
      await using proxy = await openFaultProxy(broker.host, broker.port)
      await client.call('connect', proxy.url(broker.url), {})
      const lost = client.untilLost(AGAIN_WITHIN)
      const started = performance.now()
      act(proxy)
      if (!(await lost)) return `not noticed within ${AGAIN_WITHIN / 1_000} s`
      if (!(await client.call('publishAgain', AGAIN_WITHIN))) return `not within ${AGAIN_WITHIN / 1_000} s`
      times.push(performance.now() - started)
    }
    times.sort((a, b) => a - b)
    return seconds(times[2] ?? 0)
  })
}

const rejection = ({ state, after, failure }: CloseReason, text: string | undefined): string =>
  state === 'rejected' ? `${seconds(after)}: ${text ?? failure?.message}` : `> ${after / 1_000} s`

export async function corrupted(): Promise<Line> {
  return await inTurn('length of a confirm corrupted to 4 GiB: the publish rejects after', async client => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await client.call('connect', proxy.url(broker.url), {})
    proxy.last.corrupt('toClient', 3)
    const ending = await client.ending(AGAIN_WITHIN, 'publish')
    return rejection(ending, ending.failure?.outcome)
  })
}

const tally = ({ offered, confirmed, rejected }: Account): string => {
  const counts = Object.entries(rejected).map(([outcome, numbers]) => `${numbers.length} ${outcome}`)
  const settled = confirmed.length + Object.values(rejected).reduce((sum, numbers) => sum + numbers.length, 0)
  return [`${confirmed.length} confirmed`, ...counts, `${offered - settled} pending`]
    .filter(count => !count.startsWith('0 '))
    .join(', ')
}

export async function closing(): Promise<Line> {
  return await inTurn('close() with 500 publishes in flight', async client => {
    await client.call('connect', broker.url, {})
    await client.ending(15_000, 'closeBehind', 500)
    return tally(await client.call('account'))
  })
}

async function closesInBlackhole(client: MeasuredClient, timeout?: number): Promise<string> {
  await using proxy = await openFaultProxy(broker.host, broker.port)
  await client.call('connect', proxy.url(broker.url), { heartbeat: 5 })
  proxy.blackhole()
  const { state, after } = await client.ending(15_000, 'closeBehind', 500, timeout)
  const publishes = tally(await client.call('account'))
  client.release()
  const released = performance.now()
  const ends = await Promise.race([client.exited.then(() => true), sleep(5_000, false)])
  const end = ends ? `ends ${seconds(performance.now() - released)} later` : 'goes on for 5 s more'
  const closed = { resolved: seconds(after), rejected: `rejects after ${seconds(after)}`, pending: '> 15 s' }[state]
  return `${closed}, ${publishes}; the process ${end}`
}

export async function closingInBlackhole(): Promise<Line> {
  return await together('close() with 500 publishes in flight in a blackhole, heartbeat 5', client =>
    closesInBlackhole(client),
  )
}

export async function closingInTime(): Promise<Line> {
  await using client = await MeasuredClient.start('asyncamqp')
  return alone('the same, close({ timeout: 1000 })', await closesInBlackhole(client, 1_000))
}

export async function withoutListener(): Promise<Line> {
  return await together('reset with no listener attached', async client => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await client.call('connect', proxy.url(broker.url), {}, false)
    proxy.reset()
    // What the client does without being asked comes first.
    await sleep(1_000)
    return (await client.call('publishAgain', AGAIN_WITHIN)) ? 'goes on' : 'lives, and does not publish'
  })
}

async function swallowed(
  fault: string,
  settings: Settings,
  { direction, limit = WAITING }: { readonly direction?: Direction; readonly limit?: number } = {},
): Promise<Line> {
  return await together(fault, async client => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await client.call('connect', proxy.url(broker.url), settings)
    await sleep(1_000)
    const started = performance.now()
    proxy.blackhole(direction)
    return (await client.untilLost(limit)) ? seconds(performance.now() - started) : `> ${limit / 1_000} s`
  })
}

export const blackholes = (): Promise<Line>[] => [
  swallowed('blackhole both ways, heartbeat 5: noticed after', { heartbeat: 5 }),
  swallowed('blackhole from the broker only, heartbeat 5: noticed after', { heartbeat: 5 }, { direction: 'toClient' }),
]

export const blackholeByDefault = (): Promise<Line> =>
  swallowed('blackhole, default settings: noticed after', {}, { limit: DEFAULT_HEARTBEATS })

export async function unanswered(): Promise<Line> {
  return await together('call that is never answered, heartbeats off: rejects after', async client => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await client.call('connect', proxy.url(broker.url), { heartbeat: 0 })
    proxy.blackhole()
    const ending = await client.ending(WAITING, 'declare', 'unanswered')
    return rejection(ending, ending.failure?.name)
  })
}

/** Waits for a server that says nothing any more. */
async function connecting(client: MeasuredClient, url: string): Promise<string> {
  const ending = await client.ending(WAITING, 'connect', url, {})
  return rejection(ending, ending.failure?.message.split('; ').at(-1))
}

export async function silentServers(): Promise<Line[]> {
  const server = net.createServer(socket => socket.on('error', () => {}).resume())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  const lines = await Promise.all([
    together('server accepts TCP and says nothing: rejects after', client =>
      connecting(client, `amqp://127.0.0.1:${port}`),
    ),
    together('TLS server says nothing: rejects after', client => connecting(client, `amqps://127.0.0.1:${port}`)),
    together('server says nothing behind tune-ok: rejects after', async client => {
      await using scripted = await openScriptedServer()
      const connected = connecting(client, scripted.url)
      const peer = await scripted.accept()
      await peer.login()
      peer.send(0, methods.ConnectionTune, { channelMax: 0, frameMax: 131_072, heartbeat: 0 })
      return await connected
    }),
  ])
  server.close()
  return lines
}
