/** Bytes of the longest short string (§4.2.5.3). */
export const MAX_SHORTSTR = 255

/** The start of `text` that takes at most `maxBytes` of UTF-8. It ends between two characters; lone surrogates are replaced. */
export function cutText(text: string, maxBytes: number = MAX_SHORTSTR): string {
  // A UTF-16 unit takes at least one byte. The unit after the last keeps a pair whole.
  const bytes = Buffer.from(text.slice(0, maxBytes + 1))
  let end = Math.min(bytes.length, maxBytes)
  while (end < bytes.length && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}

/** Why `value` cannot be written as a short string. It ends a sentence. */
export function shortstrFault(value: string): string {
  const size = Buffer.byteLength(value)
  return size > MAX_SHORTSTR
    ? `takes ${size} bytes, more than the 255 of a short string`
    : 'has a lone surrogate, which has no UTF-8'
}

/** Whether `value`, which takes `size` bytes in UTF-8, has a lone surrogate. ASCII text is not searched. */
export function hasLoneSurrogate(value: string, size: number): boolean {
  return size !== value.length && !value.isWellFormed()
}
