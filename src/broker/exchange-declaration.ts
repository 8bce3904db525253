import type * as methods from '../protocol/methods.ts'
import type { DecodedOf } from '../protocol/methods.ts'
import { EXCHANGE_TYPES, type Exchange, type ExchangeType } from './exchange.ts'
import { difference, entryOf } from './field-kinds.ts'
import { commandInvalid, inequivalent, preconditionFailed, resource } from './refusals.ts'
import type { Release } from './release.ts'

/** @throws Refusal if there is no such type. */
export function exchangeTypeOf(name: string, release: Release): ExchangeType {
  const type = EXCHANGE_TYPES.find(known => known === name)
  if (type !== undefined) return type
  const explanation = `${name === '' ? 'invalid' : 'unknown'} exchange type '${name}'`
  throw release.unknownTypeEndsChannel ? preconditionFailed(explanation) : commandInvalid(explanation)
}

/** @throws Refusal (406) where it was declared otherwise. */
export function compareExchange(
  exchange: Exchange,
  type: ExchangeType,
  args: DecodedOf<typeof methods.ExchangeDeclare>,
  vhost: string,
): void {
  const what = resource('exchange', exchange.name, vhost)
  const compare = (name: string, current: unknown, given: unknown) => {
    if (current !== given) throw inequivalent(name, what, `'${given}'`, `'${current}'`)
  }
  compare('type', exchange.type, type)
  compare('durable', exchange.durable, args.durable)
  compare('auto_delete', exchange.autoDelete, args.autoDelete)
  compare('internal', exchange.internal, args.internal)
  const key = 'alternate-exchange'
  const differ = difference(entryOf(exchange.arguments, key), entryOf(args.arguments, key))
  if (differ !== undefined) throw inequivalent(key, what, ...differ)
}
