import type { CallOptions } from '../channel/call-options.ts'
import type { Channel } from '../channel/channel.ts'
import type { ChannelSource } from '../connection/channel-source.ts'
import { asError, atCallSite, captureCallSite } from '../errors.ts'
import { durationOption, signalOption } from '../protocol/option-check.ts'
import { atMost } from './at-most.ts'

/**
 * Do one thing on a channel of its own: channel.open, the method and channel.close leave in one write, and where the
 * method fails nothing else does. Waits for a channel number where none is free.
 *
 * @param below the public method that this is for: errors show where that was called.
 * @param run calls one method of the channel, with the options it is given.
 */
export async function isolated<T, O extends CallOptions>(
  source: ChannelSource,
  below: (...args: never[]) => unknown,
  options: O,
  run: (channel: Channel, options: O) => Promise<T>,
): Promise<T> {
  const site = captureCallSite(below)
  try {
    const timeout = durationOption(below.name, 'timeout', options?.timeout)
    const signal = signalOption(below.name, 'signal', options?.signal)
    // What is written from a microtask on leaves together; from here alone, channel.open would leave first.
    await undefined
    if (timeout === undefined) return await use(await source.openingChannel({ signal }), options, run)
    const end = source.clock.now() + timeout
    const limit = limited(source, signal, timeout)
    const channel = await source.openingChannel({ signal: limit.signal }).finally(limit.release)
    return await use(channel, { ...options, timeout: Math.max(0, Math.ceil(end - source.clock.now())) }, run)
  } catch (error) {
    throw atCallSite(asError(error), site)
  }
}

function use<T, O>(channel: Channel, options: O, run: (channel: Channel, options: O) => Promise<T>): Promise<T> {
  const done = run(channel, options)
  void channel.close()
  return done
}

/** A signal that is aborted with `signal`, or when the time is over. */
function limited(
  source: ChannelSource,
  signal: AbortSignal | undefined,
  timeout: number,
): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController()
  const aborted = (): void => controller.abort(signal?.reason)
  if (signal?.aborted) aborted()
  signal?.addEventListener('abort', aborted, { once: true })
  const deadline = source.after(timeout, () => {
    controller.abort(new DOMException(`no channel was to be had within ${timeout} ms`, 'TimeoutError'))
  })
  return {
    signal: controller.signal,
    release: () => {
      signal?.removeEventListener('abort', aborted)
      deadline.cancel()
    },
  }
}

/** Do `work` in a transaction on a channel of its own, which `protocol.close()` lets end. */
export async function isolatedTransaction<T>(
  source: ChannelSource,
  work: (channel: Channel) => Promise<T> | T,
): Promise<T> {
  await undefined
  const channel = await source.openingChannel()
  const running = channel.transaction(work)
  const part = { bringsWork: true, close: ({ timeout }: CallOptions) => atMost(source, timeout ?? 0, running) }
  source.own(part)
  try {
    return await running
  } finally {
    source.disown(part)
    await channel.close()
  }
}
