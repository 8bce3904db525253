import type { ChannelSource } from '../connection/channel-source.ts'

/** Wait for `promise`, but no longer than that, nor past the end of the connection. Never rejects. */
export function atMost(source: ChannelSource, milliseconds: number, promise: Promise<unknown>): Promise<void> {
  if (source.ending !== undefined) return Promise.resolve()
  return new Promise(resolve => {
    const forgetEnd = source.onEnded(() => done())
    const deadline = source.after(Math.max(0, milliseconds), () => done())
    const done = (): void => {
      forgetEnd()
      deadline.cancel()
      resolve()
    }
    promise.then(done, done)
  })
}
