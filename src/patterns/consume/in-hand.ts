import type { Message } from './message.ts'

/** Messages that are remembered before those that are settled are forgotten. */
const FEW = 64

/** What calls of `next` were given and have to settle. Adding one takes constant time, however many there are. */
export class InHand {
  #messages: Message[] = []
  #most = FEW

  add(message: Message): void {
    if (this.#messages.length >= this.#most) {
      this.#messages = this.#messages.filter(each => each.isHeld)
      this.#most = Math.max(FEW, 2 * this.#messages.length)
    }
    this.#messages.push(message)
  }

  /** Messages that are not settled. */
  get unsettled(): number {
    return this.#messages.filter(each => each.isHeld).length
  }

  /** Give back, for `reason`, what is not settled. */
  giveBack(reason: Error): void {
    const messages = this.#messages
    this.clear()
    for (const message of messages) message.giveBack(reason)
  }

  clear(): void {
    this.#messages = []
    this.#most = FEW
  }
}
