import { EncodeError } from '../errors.ts'

/** An `EncodeError` for whatever was thrown while `what` was encoded: code of the program may throw anything. */
export function encodeError(what: string, thrown: unknown): EncodeError {
  if (thrown instanceof EncodeError) return thrown
  return new EncodeError(`${what} cannot be encoded: ${messageOf(thrown)}`, { cause: thrown })
}

function messageOf(thrown: unknown): string {
  try {
    if (typeof thrown === 'object' && thrown !== null && 'message' in thrown) return String(thrown.message)
    return String(thrown)
  } catch {
    return 'something was thrown that has no text'
  }
}
