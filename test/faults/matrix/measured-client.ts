import { type ChildProcess, fork } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Call, Commands, Failure, Message } from './client-process.ts'
import type { ClientName } from './clients/client.ts'

type Result<K extends keyof Commands> = Awaited<ReturnType<Commands[K]>>

/** The client's process ended by itself; the message says how. */
export class ProcessEnded extends Error {}

class CallFailed extends Error {
  readonly failure: Failure

  constructor(failure: Failure) {
    super(failure.message)
    this.failure = failure
  }
}

/** How a call ended, and after how many milliseconds. */
export interface CloseReason {
  readonly state: 'resolved' | 'rejected' | 'pending'
  readonly after: number
  readonly failure?: Failure
}

/** A client in a process of its own, which may crash, hang or grow. */
export class MeasuredClient implements AsyncDisposable {
  /** How often the client said that its connection was lost. */
  losses = 0
  /** Resolves with the exit code, which is null for a signal. */
  readonly exited: Promise<number | null>
  readonly #child: ChildProcess
  readonly #events = new EventEmitter()
  static #starts: Promise<unknown> = Promise.resolve()
  #errors = ''
  #lastId = 0

  /** Starts one process after the other: a figure of one is not to wait for the start of another. */
  static async start(client: ClientName): Promise<MeasuredClient> {
    const started = MeasuredClient.#starts.then(async () => {
      const measured = new MeasuredClient(client)
      await measured.call('pending')
      return measured
    })
    MeasuredClient.#starts = started
    return await started
  }

  private constructor(client: ClientName) {
    this.#child = fork(new URL('client-process.js', import.meta.url), [client], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // Keeps what is undefined.
      serialization: 'advanced',
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text
    })
    this.#child.on('message', (message: Message) => {
      if ('id' in message) this.#events.emit(String(message.id), message)
      else {
        this.losses++
        this.#events.emit('lost')
      }
    })
    this.exited = once(this.#child, 'exit').then(([code]) => code)
  }

  async call<K extends keyof Commands>(command: K, ...args: Parameters<Commands[K]>): Promise<Result<K>> {
    const call: Call = { id: ++this.#lastId, command, args }
    const answered = once(this.#events, String(call.id))
    // If the process is gone, its end says so.
    this.#child.send(call, () => {})
    const [{ value, failure }] = await Promise.race([answered, this.#untilEnded()])
    if (failure !== undefined) throw new CallFailed(failure)
    return value
  }

  /** Waits for a call for this many milliseconds at most. */
  async ending<K extends keyof Commands>(
    limit: number,
    command: K,
    ...args: Parameters<Commands[K]>
  ): Promise<CloseReason> {
    const started = performance.now()
    const after = (): number => performance.now() - started
    const pending = sleep(limit).then((): CloseReason => ({ state: 'pending', after: limit }))
    const ended = this.call(command, ...args).then(
      (): CloseReason => ({ state: 'resolved', after: after() }),
      (error: unknown): CloseReason => {
        if (!(error instanceof CallFailed)) throw error
        return { state: 'rejected', after: after(), failure: error.failure }
      },
    )
    return await Promise.race([ended, pending])
  }

  /** Waits until the client says that its connection is lost; gives whether that was so in time. */
  async untilLost(limit: number): Promise<boolean> {
    return await Promise.race([once(this.#events, 'lost').then(() => true), sleep(limit, false), this.#untilEnded()])
  }

  /** Lets go of the process: it ends when the client has nothing left to do. */
  release(): void {
    this.#child.disconnect()
  }

  async #untilEnded(): Promise<never> {
    const code = await this.exited
    // Its last words may come after its end.
    await sleep(100)
    const reason = /^\w*Error\b.*$/m.exec(this.#errors)?.[0]
    throw new ProcessEnded(
      reason === undefined ? `the process ends with code ${code}` : `the process crashes: ${reason}`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exited
  }
}
