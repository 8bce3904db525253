import { abortedBefore, aborts, lateAborts, refusals } from './aborts.ts'
import { addresses } from './addresses.ts'
import { alikeBindings } from './alike.ts'
import { behindTheOther, endsOfTwo, halfLost } from './apart.ts'
import { batches, besideBatches, failedBatches, trickles } from './batches.ts'
import { boundedCalls } from './bounds.ts'
import { callsBack } from './calls-back.ts'
import {
  cancelled,
  channelLimit,
  channelMethods,
  channelTransaction,
  endedByBoth,
  endedTwice,
  endedUnborn,
  manyInFlight,
  returns,
  tagAgain,
} from './channel-methods.ts'
import { busyCloses, closeBehindCall, closeStops, givenUpOpenings, silentCloses, unanswerable } from './closes.ts'
import { codec, values } from './codec.ts'
import {
  background,
  channelsAfterLoss,
  closeAtOnce,
  closes,
  deadlines,
  fewChannels,
  slowTokens,
  tokenAgain,
  tokens,
} from './connections.ts'
import { contexts } from './contexts.ts'
import { aroundFrames, everyLength, largeBodies, manyDeadlines } from './edges.ts'
import {
  closedOverTimeout,
  consumerEnds,
  crossedCloses,
  droppedByClose,
  forwards,
  overflows,
  slowHandlers,
  streamConsumers,
} from './ends.ts'
import type { Errand } from './errand.ts'
import { copyAtClose, copyToNowhere, failures, heldBack } from './failures.ts'
import {
  blocked,
  brokenConnections,
  fewerChannels,
  givenUpPublish,
  givenUpTurn,
  limitedPublishes,
  lostTwice,
  nackedOnce,
  nacksAfterLoss,
  silentChannel,
} from './fates.ts'
import { figures } from './figures.ts'
import { forgotten } from './forgotten.ts'
import { brokerCancels, closeInLoop, interruptions, manyInHand, stillborn } from './hand-overs.ts'
import { lastQueue } from './last-queue.ts'
import { ledgerWalk } from './ledger-walk.ts'
import { goneNames, ledger } from './ledgers.ts'
import { awake, endedSignals, givenUpChannels } from './leftovers.ts'
import { lifecycle } from './lifecycle.ts'
import {
  behindLocks,
  lateBindings,
  lateConsumers,
  lockedConsumers,
  lockedWithoutNumbers,
  otherThings,
} from './locks.ts'
import { logs } from './logs.ts'
import { callbacksTogether, loops, manyWaiting, oneByOne, pauses, sharers } from './loops.ts'
import { mistakes } from './mistakes.ts'
import { misused } from './misused.ts'
import { noAcks } from './no-acks.ts'
import { operations } from './operations.ts'
import { flapping, givenUp, outages, unrecovered } from './outages.ts'
import { goneExchange, poison, takenAndRefused, takenAndReturned } from './poison.ts'
import { busyExchanges, lateBesideNacks, manyExchanges, modes, payloads, publishers } from './publishers.ts'
import { abortedCalls, answers, askedAgain, keptQuestions } from './questions.ts'
import { askedOnce, brokenThings, expiries, lateOfOthers, lateQueue } from './recovered.ts'
import { brokenTransaction, consumers, inHand, resent, topology } from './recoveries.ts'
import { lateChannels, lateRemakes, remadeForConsumer, remakes, wantedFirst } from './remakes.ts'
import { reported } from './reported.ts'
import { alikeReturns, failedConfirms, failedToken, manyCalls, oldGets, tooLarge } from './reports.ts'
import { consumerLimits, duringRecovery, lostAgain, lostInSilence, refusedThings } from './resumptions.ts'
import { retries } from './retries.ts'
import { refusedToken, secrets } from './secrets.ts'
import { brokenLogins, firstConnections, givenUpAttempts, servers, twoConnections } from './servers.ts'
import {
  boundedHands,
  callsBetween,
  crowds,
  deadPeer,
  fullHands,
  silences,
  silentAnswers,
  slowConfirms,
  timeouts,
} from './silences.ts'
import { strangers } from './strangers.ts'
import * as streams from './streams.ts'
import { thrift } from './thrift.ts'
import { answersAndEnds } from './together.ts'
import { traced } from './traced.ts'
import { tracedWork } from './traced-work.ts'
import { brokenTransactions, commitsTogether, droppedTransactions, wholeTransactions } from './transactions.ts'
import * as typed from './typed.ts'
import { unheard } from './unheard.ts'

/** All errands by name. */
export const ERRANDS = {
  boundedCalls,
  askedAgain,
  askedOnce,
  endedSignals,
  expiries,
  givenUpChannels,
  logs,
  lifecycle,
  thrift,
  brokenThings,
  lateOfOthers,
  lateQueue,
  mistakes,
  misused,
  abortedBefore,
  closeBehindCall,
  fewerChannels,
  givenUpAttempts,
  halfLost,
  limitedPublishes,
  refusedToken,
  answersAndEnds,
  behindTheOther,
  busyExchanges,
  lateRemakes,
  silentCloses,
  busyCloses,
  givenUpOpenings,
  unanswerable,
  secrets,
  lateBesideNacks,
  lateBindings,
  lateChannels,
  lateConsumers,
  ledger,
  ledgerWalk,
  consumerEnds,
  crossedCloses,
  forwards,
  modes,
  overflows,
  slowHandlers,
  streamConsumers,
  brokenTransactions,
  droppedTransactions,
  commitsTogether,
  wholeTransactions,
  unheard,
  servers,
  firstConnections,
  twoConnections,
  brokenLogins,
  tooLarge,
  oldGets,
  manyCalls,
  failedToken,
  failedConfirms,
  alikeBindings,
  alikeReturns,
  manyDeadlines,
  largeBodies,
  everyLength,
  stillborn,
  closeInLoop,
  brokerCancels,
  refusedThings,
  lostAgain,
  lostInSilence,
  behindLocks,
  lockedConsumers,
  lockedWithoutNumbers,
  duringRecovery,
  consumerLimits,
  lostTwice,
  nacksAfterLoss,
  givenUpPublish,
  givenUpTurn,
  nackedOnce,
  silentChannel,
  brokenConnections,
  blocked,
  keptQuestions,
  abortedCalls,
  aborts,
  addresses,
  answers,
  aroundFrames,
  awake,
  background,
  boundedHands,
  figures,
  flapping,
  forgotten,
  batches,
  besideBatches,
  brokenTransaction,
  callbacksTogether,
  callsBack,
  callsBetween,
  cancelled,
  channelLimit,
  channelMethods,
  channelTransaction,
  channelsAfterLoss,
  closeAtOnce,
  closedOverTimeout,
  closes,
  closeStops,
  codec,
  consumers,
  contexts,
  copyAtClose,
  copyToNowhere,
  crowds,
  deadlines,
  droppedByClose,
  deadPeer,
  endedByBoth,
  endedTwice,
  endedUnborn,
  endsOfTwo,
  failedBatches,
  failures,
  fewChannels,
  givenUp,
  goneExchange,
  goneNames,
  heldBack,
  inHand,
  interruptions,
  lastQueue,
  lateAborts,
  loops,
  manyInFlight,
  manyInHand,
  manyWaiting,
  manyExchanges,
  noAcks,
  oneByOne,
  operations,
  otherThings,
  outages,
  pauses,
  payloads,
  poison,
  publishers,
  refusals,
  remadeForConsumer,
  remakes,
  reported,
  resent,
  retries,
  returns,
  sharers,
  silences,
  silentAnswers,
  fullHands,
  slowConfirms,
  slowTokens,
  strangers,
  tagAgain,
  takenAndRefused,
  takenAndReturned,
  timeouts,
  tokenAgain,
  tokens,
  topology,
  traced,
  tracedWork,
  trickles,
  unrecovered,
  values,
  wantedFirst,
  ...streams,
  ...typed,
} satisfies Readonly<Record<string, Errand>>

export type ErrandName = keyof typeof ERRANDS
export const ERRAND_NAMES = Object.keys(ERRANDS) as ErrandName[]
