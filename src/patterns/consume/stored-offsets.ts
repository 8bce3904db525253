import type { Deadline } from '../../channel/port.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { abortedBy } from '../../errors.ts'
import { onAbort } from '../../lib/abort-listeners.ts'
import { abortable } from '../../lib/abortable.ts'
import { badValue } from '../../protocol/option-check.ts'
import type { ConsumerSettings, OffsetStore } from './consumer-options.ts'

/** Milliseconds between two saves. */
const INTERVAL = 5_000

/** Saves how far a consumer of a stream has come: every few seconds, and at its end. */
export class StoredOffsets {
  readonly #source: ChannelSource
  readonly #store: OffsetStore
  readonly #queueName: string
  /** What the store has. */
  #stored: bigint | undefined
  #position: () => bigint | undefined = () => this.#stored
  #saving: Promise<void> = Promise.resolve()
  #next: Deadline | undefined

  private constructor(source: ChannelSource, store: OffsetStore, queueName: string, stored: bigint | undefined) {
    this.#source = source
    this.#store = store
    this.#queueName = queueName
    this.#stored = stored
  }

  /** Ask the store. Rejects with what it throws; EncodeError if it gives anything but an offset. */
  static async load(source: ChannelSource, what: string, { queueName, signal }: ConsumerSettings, store: OffsetStore) {
    const offset = await loaded(source, store, signal, `consuming from "${queueName}"`)
    if (offset === undefined || offset === null) return new StoredOffsets(source, store, queueName, undefined)
    const isOffset = typeof offset === 'bigint' || (typeof offset === 'number' && Number.isSafeInteger(offset))
    if (!isOffset || offset < 0) throw badValue(what, 'offsetStore.load()', 'an offset or undefined', offset)
    return new StoredOffsets(source, store, queueName, BigInt(offset))
  }

  /** The same settings, for a consumer that begins where the store says; if it has nothing, at the beginning. */
  applied(settings: ConsumerSettings): ConsumerSettings {
    const offset = this.#stored ?? settings.arguments?.['x-stream-offset'] ?? 'first'
    return { ...settings, arguments: { ...settings.arguments, 'x-stream-offset': offset } }
  }

  /** `position` is the offset of the first message that is not settled. */
  start(position: () => bigint | undefined): void {
    this.#position = position
    this.#next = this.#source.after(INTERVAL, () => void this.#again(), { keepsProcessAlive: false })
  }

  async #again(): Promise<void> {
    this.#next = undefined
    const saved = this.#save()
    await saved
    // Else it was closed meanwhile.
    if (this.#saving === saved) this.start(this.#position)
  }

  /** One save at a time. */
  #save(): Promise<void> {
    this.#saving = this.#saving.then(async () => {
      const offset = this.#position()
      if (offset === undefined || offset === this.#stored) return
      try {
        await this.#store.save(offset)
        this.#stored = offset
      } catch (error) {
        this.#source.report(error, 'warn', `the offset store of queue "${this.#queueName}" failed to save`)
      }
    })
    return this.#saving
  }

  /** Save for the last time. Never rejects. */
  async close(): Promise<void> {
    this.#next?.cancel()
    await this.#save()
  }
}

/** What the store has, unless `signal` or the end of the connection comes first. */
async function loaded(
  source: ChannelSource,
  store: OffsetStore,
  signal: AbortSignal | undefined,
  what: string,
): Promise<unknown> {
  if (source.ending !== undefined) throw source.ending.errorFor(what, false)
  const over = new AbortController()
  const forgetEnd = source.onEnded(ending => over.abort(ending.errorFor(what, false)))
  const abort = (): void => over.abort(signal && abortedBy(signal, what))
  if (signal?.aborted) abort()
  const aborted = signal?.aborted === false ? onAbort(signal, abort) : undefined
  try {
    return await abortable(over.signal, () => store.load())
  } finally {
    forgetEnd()
    aborted?.cancel()
  }
}
