/** As much of a text as fits into `most` bytes of UTF-8, whole characters only; three dots tell that there was more. */
export function cutToBytes(text: string, most: number): string {
  if (Buffer.byteLength(text) <= most) return text
  let cut = ''
  let bytes = Buffer.byteLength('...')
  for (const character of text) {
    bytes += Buffer.byteLength(character)
    if (bytes > most) break
    cut += character
  }
  return `${cut}...`
}
