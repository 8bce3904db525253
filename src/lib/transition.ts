/** The state to be in after `from`: `to`, if that follows by the table `next`. Anything else is a fault of ours. */
export function transition<S extends string>(what: string, next: Record<S, readonly S[]>, from: S, to: S): S {
  if (!next[from].includes(to)) throw new Error(`${what} cannot go from ${from} to ${to}`)
  return to
}
