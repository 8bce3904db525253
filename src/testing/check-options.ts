import {
  badValue,
  checkOptions,
  choiceOption,
  durationOption,
  integerOption,
  stringOption,
} from '../protocol/option-check.ts'
import type { BrokerOptions, CloseReason } from './broker.ts'
import type { WaitOptions } from './views.ts'

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
  integerOption(START, 'frameMax', options.frameMax, 0, 4_294_967_295)
  integerOption(START, 'publishedLimit', options.publishedLimit, 0, Number.MAX_SAFE_INTEGER)
  const { vhosts, users } = options
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
}

/** @throws EncodeError */
export function checkCloseReason(what: string, reason: CloseReason): void {
  checkOptions(what, reason, ['replyCode', 'replyText'])
  integerOption(what, 'replyCode', reason.replyCode, 0, 65_535)
  stringOption(what, 'replyText', reason.replyText)
}

/** @throws EncodeError */
export function checkWait(what: string, options: WaitOptions | undefined): void {
  checkOptions(what, options, ['timeout'])
  durationOption(what, 'timeout', options?.timeout)
}
