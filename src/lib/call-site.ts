import { AmqpError } from '../errors.ts'

/**
 * The place at which a call was made, kept until its reply comes: an error made later shows the caller's line. All frames
 * are kept ("500 queue declares": `captureStackTrace` for less than all frames costs a third more). Its text is made only
 * when it is read.
 */
export interface CallSite {
  readonly stack?: string
}

/** The first frames: that of this function, and that of the public method. */
const OWN_FRAMES = 2

/** Called by a public method itself. */
export function placeOfCall(): CallSite {
  const limit = Error.stackTraceLimit
  const isFew = limit > 0 && limit <= OWN_FRAMES
  // The program wants few frames, which must be its own.
  if (isFew) Reflect.set(Error, 'stackTraceLimit', limit + OWN_FRAMES)
  // Not made by `return`: Bun leaves out the frame of a function that ends with a call.
  const site = new Error()
  if (isFew) Reflect.set(Error, 'stackTraceLimit', limit)
  return site
}

const FRAME = '\n    at '
const { prepareStackTrace } = Error

/** The lines from the caller's on; '' if there are none. */
function linesOf(site: CallSite): string {
  const programs = Error.prepareStackTrace
  const isDefault = programs === prepareStackTrace || programs === undefined
  // One of the program may leave out the frames of packages, so it is not given ours: its text does not show which that was.
  if (!isDefault) Error.prepareStackTrace = (error, frames) => programs(error, frames.slice(OWN_FRAMES))
  try {
    const { stack = '' } = site
    let caller = stack.indexOf(FRAME)
    let own = isDefault ? OWN_FRAMES : 0
    while (own-- > 0 && caller !== -1) caller = stack.indexOf(FRAME, caller + 1)
    return caller === -1 ? '' : stack.slice(caller)
  } finally {
    if (!isDefault) Error.prepareStackTrace = programs
  }
}

/** Give `error` the stack of the call it rejects. Never throws. */
export function atCallSite<E extends Error>(error: E, site: CallSite | undefined): E {
  try {
    const lines = site === undefined ? '' : linesOf(site)
    if (lines !== '') error.stack = `${error.name}: ${error.message}${lines}`
  } catch {
    // An error of the program may be frozen; then it keeps its stack.
  }
  return error
}

/**
 * Take the frames from an error that the server or the network caused: no call of the program made it, and those that read
 * the socket explain nothing. A call that it rejects gives it its own, or a new error with this one as its `cause`. Never
 * throws.
 */
export function atNoCall<E extends Error>(error: E): E {
  try {
    error.stack = `${error.name}: ${error.message}`
  } catch {
    // An error of the program may be frozen; then it keeps its stack.
  }
  return error
}

/** What a call rejects with: an error of this package shows the line of the call. */
export function rejection(thrown: unknown, site: CallSite | undefined): unknown {
  return thrown instanceof AmqpError ? atCallSite(thrown, site) : thrown
}

/** Do `call`, and let its errors show the line of the call. */
export async function fromCallSite<T>(site: CallSite | undefined, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw rejection(error, site)
  }
}
