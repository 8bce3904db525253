import type { CloseReason } from '../../channel/close-reason.ts'
import type { PendingPublish } from '../../channel/publish/message.ts'
import { isRefused } from '../../channel/publish/publish-errors.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { ConnectionClosedError } from '../../errors.ts'
import { BASIC_PUBLISH } from '../../protocol/basic-codec.ts'

/** From here on reply codes are errors that close a connection; below, an operator closes it, or a channel fails. */
const HARD_ERROR = 500

const turns = new WeakMap<ChannelSource, Promise<void>>()

/**
 * Wait until nobody else on the connection publishes what may make the broker close it: of two who do, nobody could say
 * which it was. Resolves to what ends the turn.
 */
export async function takeTurn(source: ChannelSource): Promise<() => void> {
  const before = turns.get(source)
  let end = (): void => {}
  turns.set(
    source,
    new Promise(resolve => {
      end = resolve
    }),
  )
  await before
  return end
}

/** Whether the broker may have closed the whole connection because of one message. */
export function isFatal({ error, methodKey }: CloseReason): boolean {
  if (!(error instanceof ConnectionClosedError)) return false
  // An error inside the broker (541) names no method.
  return methodKey === BASIC_PUBLISH || (methodKey === 0 && (error.replyCode ?? 0) >= HARD_ERROR)
}

/**
 * What the end of a channel means for the messages on it: the broker may have said, or shown, which it refused.
 *
 * @param accused the message that was alone, in a turn, when the broker last closed the connection: once may be chance,
 * since those who suspect nothing yet publish as well.
 */
export function judge<T extends PendingPublish>(
  unsettled: readonly T[],
  ending: CloseReason,
  accused: unknown,
): { readonly refused: readonly T[]; readonly unknown: readonly T[]; readonly found: boolean } {
  const fatal = isFatal(ending)
  const blamed = fatal || ending.methodKey === BASIC_PUBLISH
  // The only one there was is the one; what closed the connection may have been on another channel.
  const alone = blamed && unsettled.length === 1 && (!fatal || unsettled[0] === accused)
  const refused: T[] = []
  const unknown: T[] = []
  for (const publish of unsettled) {
    if (alone || isRefused(ending, publish)) refused.push(publish)
    else if (publish.reject !== undefined) unknown.push(publish)
  }
  return { refused, unknown, found: !blamed || refused.length > 0 }
}
