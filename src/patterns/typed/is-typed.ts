/** The options for which the code here is loaded. */
export interface TypedOptions {
  readonly schema?: unknown
  readonly codecs?: unknown
}

export function isTyped({ schema, codecs }: TypedOptions): boolean {
  return schema !== undefined || codecs !== undefined
}
