import { aborts, refusals } from './aborts.ts'
import { batches, failedBatches } from './batches.ts'
import { channelLimit, channelMethods, channelTransaction, returns } from './channel-methods.ts'
import { background, closes, tokens, unrecovered } from './connections.ts'
import type { Errand } from './errand.ts'
import { failures, heldBack } from './failures.ts'
import { loops, oneByOne, pauses } from './loops.ts'
import { noAcks } from './no-acks.ts'
import { goneExchange, poison } from './poison.ts'
import { manyExchanges, payloads, publishers } from './publishers.ts'
import { answers } from './questions.ts'
import { brokenTransaction, consumers, inHand, resent, topology } from './recoveries.ts'
import { retries } from './retries.ts'
import { failedInStream, storedOffsets } from './streams.ts'
import { typed, typedQuestions } from './typed.ts'

/** All errands by name. */
export const ERRANDS = {
  aborts,
  answers,
  background,
  batches,
  brokenTransaction,
  channelLimit,
  channelMethods,
  channelTransaction,
  closes,
  consumers,
  failedBatches,
  failedInStream,
  failures,
  goneExchange,
  heldBack,
  inHand,
  loops,
  manyExchanges,
  noAcks,
  oneByOne,
  pauses,
  payloads,
  poison,
  publishers,
  refusals,
  resent,
  retries,
  returns,
  storedOffsets,
  tokens,
  topology,
  typed,
  typedQuestions,
  unrecovered,
} satisfies Readonly<Record<string, Errand>>

export type ErrandName = keyof typeof ERRANDS
export const ERRAND_NAMES = Object.keys(ERRANDS) as ErrandName[]
