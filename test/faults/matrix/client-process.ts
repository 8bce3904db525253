/** Runs commands of its parent process with one client. It ends when the parent disconnects. */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import type { ClientName, Connection, Open, Settings } from './clients/client.ts'

export interface Call {
  readonly id: number
  readonly command: keyof Commands
  readonly args: readonly unknown[]
}

export interface Failure {
  readonly name: string
  readonly message: string
  readonly outcome?: string
}

export type Message =
  | { readonly id: number; readonly value?: unknown; readonly failure?: Failure }
  | { readonly event: 'lost' }

/** Numbers of publishes. */
export interface Account {
  readonly offered: number
  readonly confirmed: readonly number[]
  /** By `outcome`, or as `rejected` where the error has none. */
  readonly rejected: Readonly<Record<string, readonly number[]>>
}

export type Commands = typeof commands

/** Only the client that is measured is loaded. */
async function load(name: ClientName): Promise<Open> {
  switch (name) {
    case 'asyncamqp':
      return (await import('./clients/asyncamqp.ts')).open
    case 'amqplib':
      return (await import('./clients/amqplib.ts')).open
    case 'rabbitmq-client':
      return (await import('./clients/rabbitmq-client.ts')).open
    case '@cloudamqp/amqp-client':
      return (await import('./clients/amqp-client.ts')).open
  }
}

const open = await load(process.argv[2] as ClientName)
const send = (message: Message): void => void process.send?.(message)

let opened: Connection | undefined
let offered = 0
let pending = 0
let timer: NodeJS.Timeout | undefined
const confirmed: number[] = []
const rejected: Record<string, number[]> = {}

function connection(): Connection {
  if (opened === undefined) throw new Error('there is no connection')
  return opened
}

function failureOf(error: unknown): Failure {
  const { name, message, outcome } = error as Partial<Failure>
  return { name: name ?? typeof error, message: message ?? String(error), ...(outcome !== undefined && { outcome }) }
}

/** Publishes the next number, not awaited. */
function offer(queue: string, size: number): void {
  const n = offered++
  pending++
  connection()
    .publish(Buffer.from(String(n).padStart(size, '0')), queue)
    .then(
      () => confirmed.push(n),
      (error: unknown) => {
        const { outcome = 'rejected' } = failureOf(error)
        rejected[outcome] ??= []
        rejected[outcome].push(n)
      },
    )
    .finally(() => pending--)
}

const commands = {
  async connect(url: string, settings: Settings, listens = true): Promise<void> {
    opened = await open(url, settings, listens ? () => send({ event: 'lost' }) : undefined)
    // What a client opens at the first publish is open before the fault.
    await commands.publish()
  },

  async publish(): Promise<void> {
    await connection().publish(Buffer.from('x'), 'nowhere')
  },

  /** Publishes again and again until a message is confirmed, and returns whether that was in time. */
  async publishAgain(limit: number): Promise<boolean> {
    const end = performance.now() + limit
    while (performance.now() < end) {
      const attempt = commands.publish().then(
        () => true,
        () => false,
      )
      if (await Promise.race([attempt, sleep(end - performance.now(), false)])) return true
      await sleep(5)
    }
    return false
  },

  async declare(queue: string): Promise<void> {
    await connection().declare(queue)
  },

  /** Publishes so many, each with a payload of its own, without awaiting any; gives the bytes by which memory grew. */
  async flood(queue: string, count: number): Promise<number> {
    const before = process.memoryUsage.rss()
    let most = before
    for (let n = 1; n <= count; n++) {
      offer(queue, 100)
      if (n % 1_000 === 0) await sleep(10)
      most = Math.max(most, process.memoryUsage.rss())
    }
    await sleep(500)
    return Math.max(most, process.memoryUsage.rss()) - before
  },

  /** Closes while this many publishes are in flight. */
  async closeBehind(count: number, timeout?: number): Promise<void> {
    for (let n = 0; n < count; n++) offer('nowhere', 1)
    // Written, and not yet answered.
    await setImmediate()
    await connection().close(timeout)
  },

  /** Publishes this many a second, in bursts each 10 ms. */
  startLoad(queue: string, rate: number): void {
    const started = performance.now()
    timer = setInterval(() => {
      const due = Math.floor(((performance.now() - started) * rate) / 1_000)
      while (offered < due) offer(queue, 1)
    }, 10)
  },

  stopLoad: (): void => clearInterval(timer),
  pending: (): number => pending,
  account: (): Account => ({ offered, confirmed, rejected }),
}

process.on('message', async ({ id, command, args }: Call) => {
  try {
    send({ id, value: await Reflect.apply(commands[command], commands, args) })
  } catch (error) {
    send({ id, failure: failureOf(error) })
  }
})
