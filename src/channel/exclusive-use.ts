import type { ChannelClosedError } from '../errors.ts'

/**
 * Whether the broker refused a consumer (403) since another has the queue for itself: perhaps that of our own lost
 * connection, so that it will grant it soon. What a permission refuses is a 403 as well, and stays one:
 *
 *     ACCESS_REFUSED - queue 'orders' in vhost '/' in exclusive use
 *     ACCESS_REFUSED - access to queue 'orders' in vhost '/' refused for user 'guest'
 *
 * The end of a text above 255 bytes is cut off, and names are the program's: only the beginning tells.
 */
export function isExclusiveUse({ replyCode, replyText }: ChannelClosedError): boolean {
  return replyCode === 403 && /^ACCESS_REFUSED - queue '/i.test(replyText ?? '')
}
