import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { PeerStats, Workload } from './peer/workload.ts'
import type { Task, TaskMessage, TaskResult } from './task.ts'

const TASK_TIMEOUT = 60_000

const program = (path: string): URL => new URL(path, import.meta.url)
const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

/** What runs the process of a client. */
export interface Runtime {
  /** With its version. */
  readonly name: string
  readonly binary: string
  readonly args: readonly string[]
  /** The option that gives a program `gc()`. */
  readonly exposeGc: string
}

const NODE: Runtime = {
  name: `Node.js ${process.version}`,
  binary: process.execPath,
  args: [],
  exposeGc: '--expose-gc',
}

/** Runs one task in a fresh process and gives what it reports; it asks `deliver` for the messages that it consumes. */
export async function runTask(task: Task, deliver: (count: number) => void, runtime = NODE): Promise<TaskResult> {
  const memory = task.row.section === 'promises' || task.row.section === 'memory'
  const child = fork(program(`client-process${extension}`), [JSON.stringify(task)], {
    execPath: runtime.binary,
    execArgv: [...runtime.args, ...(memory ? [runtime.exposeGc] : [])],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), TASK_TIMEOUT)
  try {
    return await new Promise<TaskResult>((resolve, reject) => {
      child.on('message', (message: TaskMessage) => {
        if ('deliver' in message) deliver(message.deliver)
        else resolve(message.result)
      })
      child.once('exit', (code, signal) => {
        const reason = signal === 'SIGKILL' ? `no result within ${TASK_TIMEOUT / 1000} s` : `exit code ${code}`
        reject(new Error(`${task.client} did not finish "${task.row.name}": ${errorLine(complaint) ?? reason}`))
      })
    })
  } finally {
    clearTimeout(timer)
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
}

/** The line of an uncaught error that has its message. */
const errorLine = (text: string): string | undefined => text.split('\n').find(line => /^\w*Error\b/.test(line))

async function ask<T>(child: ChildProcess, question: object): Promise<T> {
  child.send(question)
  const [answer] = await once(child, 'message')
  return answer
}

/** The synthetic peer in its process. */
export class Peer {
  readonly url: string
  readonly #child: ChildProcess

  constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.url = `amqp://guest:guest@127.0.0.1:${port}`
  }

  static async start(): Promise<Peer> {
    const child = fork(program(`peer/peer-process${extension}`), { execArgv: [] })
    const [{ port }] = await once(child, 'message')
    return new Peer(child, port)
  }

  async prepare(work: Workload): Promise<void> {
    await ask(this.#child, { prepare: work })
  }

  async stats(): Promise<PeerStats> {
    const { stats } = await ask<{ readonly stats: PeerStats }>(this.#child, { stats: true })
    return stats
  }

  deliver(count: number): void {
    this.#child.send({ deliver: count })
  }

  stop(): void {
    this.#child.disconnect()
  }
}

/** A process that answers the requests of one queue. */
export async function startResponder(url: string, queueName: string): Promise<() => void> {
  const child = fork(program(`responder-process${extension}`), [url, queueName], { execArgv: [] })
  await once(child, 'message')
  return () => child.disconnect()
}
