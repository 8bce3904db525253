import { FRAME_MIN_SIZE } from '../protocol/constants.ts'
import {
  badValue,
  checkOptions,
  choiceOption,
  durationOption,
  integerOption,
  shortStringOption,
  stringOption,
} from '../protocol/option-check.ts'
import type { BrokerOptions, CloseReason } from './broker.ts'
import type { WaitOptions } from './watch.ts'

const START = 'startBroker'
const BROKER_OPTIONS = 'host port tls release users vhosts heartbeat channelMax frameMax publishedLimit'.split(' ')

/** @throws EncodeError */
export function checkBrokerOptions(options: BrokerOptions): void {
  checkOptions(START, options, BROKER_OPTIONS, ['clock'])
  stringOption(START, 'host', options.host)
  integerOption(START, 'port', options.port, 0, 65_535)
  choiceOption(START, 'release', options.release, ['3.10', '4.3'])
  integerOption(START, 'heartbeat', options.heartbeat, 0, 65_535)
  integerOption(START, 'channelMax', options.channelMax, 0, 65_535)
  const least = options.release === '3.10' ? FRAME_MIN_SIZE : 2 * FRAME_MIN_SIZE
  integerOption(START, 'frameMax', options.frameMax, least, 4_294_967_295)
  integerOption(START, 'publishedLimit', options.publishedLimit, 0, Number.MAX_SAFE_INTEGER)
  const { vhosts, users, tls } = options
  if (tls !== undefined && (typeof tls !== 'object' || tls === null)) {
    throw badValue(START, 'tls', 'an object with a key and a certificate', tls)
  }
  if (vhosts !== undefined && !(Array.isArray(vhosts) && vhosts.every(name => typeof name === 'string'))) {
    throw badValue(START, 'vhosts', 'a list of names', vhosts)
  }
  if (users === undefined) return
  if (typeof users !== 'object' || users === null) throw badValue(START, 'users', 'an object', users)
  for (const [name, user] of Object.entries<unknown>(users)) checkUserOptions(`${START}, user "${name}"`, user)
}

/** @throws EncodeError */
export function checkUserOptions(what: string, options: unknown): void {
  if (typeof options !== 'object' || options === null) {
    throw badValue(what, 'options', 'an object with a password', options)
  }
  checkOptions(what, options, ['password', 'permissions'])
  const password: unknown = 'password' in options ? options.password : undefined
  if (typeof password !== 'string') throw badValue(what, 'password', 'a string', password)
  const permissions: unknown = 'permissions' in options ? options.permissions : undefined
  if (permissions === undefined) return
  if (typeof permissions !== 'object' || permissions === null) {
    throw badValue(what, 'permissions', 'an object of permissions by virtual host', permissions)
  }
  for (const [vhost, one] of Object.entries({ ...permissions })) checkPermissions(`${what}, "${vhost}"`, one)
}

/** Each is a regular expression. */
function checkPermissions(what: string, permissions: unknown): void {
  if (typeof permissions !== 'object' || permissions === null) {
    throw badValue(what, 'permissions', 'an object of regular expressions', permissions)
  }
  checkOptions(what, permissions, ['configure', 'write', 'read'])
  for (const [name, pattern] of Object.entries({ ...permissions })) {
    try {
      new RegExp(stringOption(what, name, pattern) ?? '', 'u')
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      throw badValue(what, name, 'a regular expression', pattern)
    }
  }
}

/** @throws EncodeError */
export function checkCloseReason(what: string, reason: CloseReason): void {
  checkOptions(what, reason, ['replyCode', 'replyText'])
  integerOption(what, 'replyCode', reason.replyCode, 0, 65_535)
  stringOption(what, 'replyText', reason.replyText)
}

/** A reason as text, for what has no code. @throws EncodeError */
export function checkReason(what: string, reason: string): void {
  checkName(what, reason, 'reason')
}

/** @throws EncodeError */
export function checkDelay(what: string, milliseconds: number): void {
  durationOption(what, 'milliseconds', milliseconds)
}

/** @throws EncodeError */
export function checkCount(what: string, count: number): void {
  if (integerOption(what, 'count', count) === undefined) throw badValue(what, 'count', 'an integer of 0 or more', count)
}

/** @throws EncodeError */
export function checkName(what: string, value: string, option = 'name'): void {
  if (shortStringOption(what, option, value) === undefined) throw badValue(what, option, 'a string', value)
}

/** @throws EncodeError */
export function checkWait(what: string, options: WaitOptions | undefined): void {
  checkOptions(what, options, ['timeout'])
  durationOption(what, 'timeout', options?.timeout)
}
