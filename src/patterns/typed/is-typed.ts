/** The options for which the code here is loaded. */
export interface TypedOptions {
  readonly schema?: unknown
  readonly codecs?: unknown
}

/** Options of another kind than an object are refused elsewhere. */
export function isTyped<O extends TypedOptions>(options: O | undefined): options is O {
  return options?.schema !== undefined || options?.codecs !== undefined
}
