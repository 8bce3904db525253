import { AmqpError } from '../errors.ts'

/**
 * The place at which a call was made, kept until its reply comes: an error made later shows the caller's line. Made by a
 * public method itself, whose own frame is the first ("500 queue declares": `captureStackTrace` for less than all frames
 * costs a third more). Its text is made only when it is read.
 */
export interface CallSite {
  readonly stack?: string
}

export const CallSite: new () => CallSite = Error

const FRAME = '\n    at '
const { prepareStackTrace } = Error

/** The lines from the caller's on; '' if there are none. */
function linesOf(site: CallSite): string {
  const programs = Error.prepareStackTrace
  const isDefault = programs === prepareStackTrace || programs === undefined
  // One of the program may leave out the frames of packages, so it is not given ours: its text does not show which that was.
  if (!isDefault) Error.prepareStackTrace = (error, frames) => programs(error, frames.slice(1))
  try {
    const { stack = '' } = site
    const first = stack.indexOf(FRAME)
    const caller = isDefault ? stack.indexOf(FRAME, first + 1) : first
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

/** What a call rejects with: an error of this package shows the line of the call. */
export function rejection(thrown: unknown, site: CallSite): unknown {
  return thrown instanceof AmqpError ? atCallSite(thrown, site) : thrown
}

/** Do `call`, and let its errors show the line of the call. */
export async function fromCallSite<T>(site: CallSite, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    throw rejection(error, site)
  }
}
