import type { CallOptions } from '../channel/call-options.ts'
import type { Channel } from '../channel/channel.ts'
import type { ChannelSource } from '../connection/channel-source.ts'
import { atMost } from '../lib/at-most.ts'
import { atCallSite, type CallSite, fromCallSite } from '../lib/call-site.ts'
import { asError } from '../lib/thrown.ts'
import { badValue, durationOption, signalOption } from '../protocol/option-check.ts'

/**
 * Do one thing on a channel of its own: channel.open, the method and channel.close leave in one write, and if the
 * method fails nothing else does. Waits for a channel number if none is free.
 *
 * @param site of the public method that this is for, whose name is `caller`.
 * @param what names the call in errors.
 * @param run calls one method of the channel, with the options it is given.
 */
export async function isolated<T, O extends CallOptions>(
  source: ChannelSource,
  site: CallSite,
  caller: string,
  what: string,
  options: O,
  run: (channel: Channel, options: O) => Promise<T>,
): Promise<T> {
  try {
    const timeout = durationOption(caller, 'timeout', options?.timeout)
    const signal = signalOption(caller, 'signal', options?.signal)
    const calledAt = source.clock.now()
    // Writes from a microtask leave together; from here, channel.open would leave first, alone.
    await undefined
    const channel = await source.openingChannel({ what, signal, timeout, calledAt })
    const done = run(channel, options)
    void channel.close()
    return await done
  } catch (error) {
    throw atCallSite(asError(error), site)
  }
}

/**
 * Do `work` in a transaction on a channel of its own, which `protocol.close()` lets end. If it throws, the channel is
 * closed, which undoes what it did: its error waits for no reply, nor for a lost connection.
 *
 * @param site of the public method that this is for: the errors of `work` show lines of its own.
 */
export async function isolatedTransaction<T>(
  source: ChannelSource,
  site: CallSite,
  work: (channel: Channel) => Promise<T> | T,
): Promise<T> {
  if (typeof work !== 'function') throw atCallSite(badValue('transaction', 'work', 'a function', work), site)
  await undefined
  const { publishTimeout } = source
  const options = { what: 'transaction', recover: false, publishTimeout }
  const channel = await fromCallSite(site, () => source.openingChannel(options))
  const running = transact(channel, site, work)
  const part = { bringsWork: true, close: ({ timeout }: CallOptions) => atMost(source, timeout ?? 0, running) }
  source.register(part)
  try {
    const result = await running
    await channel.close()
    return result
  } catch (error) {
    void channel.close()
    throw error
  } finally {
    source.unregister(part)
  }
}

async function transact<T>(channel: Channel, site: CallSite, work: (channel: Channel) => Promise<T> | T): Promise<T> {
  await fromCallSite(site, () => channel.txSelect())
  const result = await work(channel)
  await fromCallSite(site, () => channel.txCommit())
  return result
}
