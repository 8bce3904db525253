/**
 * What one consumer has read of a stream, by offset. After a loss it goes on at the first message that was not settled: what
 * came after that comes again, in order, and nothing else does.
 */
export class StreamReading {
  readonly #settled = new Set<number>()
  /** All before it are settled. */
  #first = 0
  /** The offset of the next message, if nothing is lost before. */
  #next = 0
  /** The first offset that has never come. */
  #end = 0
  /** What was not as it must be unless the broker forgot messages, whose places others have then. */
  readonly wrong: string[] = []

  /** A message came from the broker. Returns whether it has come before. */
  came(offset: number, id: string): boolean {
    while (this.#settled.delete(this.#first)) this.#first++
    const isAgain = offset < this.#end
    if (offset !== this.#next && offset !== this.#first)
      this.wrong.push(
        `${id} at ${offset} of the stream came after ${this.#next - 1}, with all before ${this.#first} settled`,
      )
    // What came after it comes again, and must be settled again.
    if (offset !== this.#next) this.#settled.clear()
    this.#next = offset + 1
    this.#end = Math.max(this.#end, this.#next)
    return isAgain
  }

  /** It is settled, and with `multiple` all before it. */
  settled(offset: number, multiple: boolean): void {
    for (let at = multiple ? this.#first : offset; at <= offset; at++) if (at >= this.#first) this.#settled.add(at)
  }
}
