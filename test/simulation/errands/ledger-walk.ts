import type { AmqpProtocol, Channel } from '../../../src/index.ts'
import type { BrokerControl } from '../broker-control.ts'
import { Random } from '../random.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

const ROUNDS = 2
/** Queues to begin with. */
const QUEUES = 4
/** Changes between two losses. */
const CHANGES = 20
/** It stays: a reply about it says that all before it was done. */
const FIXED = 'fixed'

interface Thing {
  readonly kind: 'queue' | 'exchange'
  /** Its first name, and those that the broker gave it later. */
  readonly names: string[]
  readonly autoDelete: boolean
  /** Whether it comes back. */
  recovers: boolean
  readonly consumers: { readonly channel: Channel; readonly tag: string }[]
  /** Nothing else may consume from it. */
  isTaken: boolean
}

const currentName = ({ names }: Thing): string => names.at(-1) ?? ''

/** What one program makes and undoes, as chance wants it. The broker says what there is of it. */
class Walk {
  readonly #random: Random
  readonly #channel: Channel
  readonly #other: Channel
  readonly #control: BrokerControl
  #all: Thing[] = []
  #made = 0

  constructor(random: Random, protocol: AmqpProtocol, channel: Channel, other: Channel, control: BrokerControl) {
    this.#random = random
    this.#channel = channel
    this.#other = other
    this.#control = control
    protocol.on('queueRenamed', (before, after) => {
      this.#all.find(thing => currentName(thing) === before)?.names.push(after)
    })
  }

  #isThere(thing: Thing): boolean {
    return this.#control.evidence().entities.has(`${thing.kind} ${currentName(thing)}`)
  }

  #some(kind: Thing['kind']): Thing | undefined {
    const all = this.#all.filter(thing => thing.kind === kind)
    return all.length === 0 ? undefined : this.#random.pick(all)
  }

  /** What there is of queues, exchanges, bindings and consumers; only what comes back, or all. */
  picture(ofAll: boolean): string {
    const { entities, consumers } = this.#control.evidence()
    const left = new Set(ofAll ? [] : this.#all.filter(({ recovers }) => !recovers).map(currentName))
    const there = [...entities].filter(([what]) => !what.split(' ').some(word => left.has(word)))
    const consumed = [...consumers].filter(([queue, looks]) => looks.length > 0 && !left.has(queue))
    const lines = [
      ...there.map(([what, look]) => `${what} ${look}`),
      ...consumed.map(([queue, looks]) => `${queue}: ${looks}`),
    ]
    return lines.sort().join('\n')
  }

  /** A picture of before a loss in the names of after it. */
  renamed(picture: string): string {
    let text = picture
    for (const { names } of this.#all) for (const name of names) text = text.replaceAll(name, names.at(-1) ?? '')
    return text.split('\n').sort().join('\n')
  }

  /** What does not come back was there for the last time. */
  lost(): void {
    this.#all = this.#all.filter(({ recovers }) => recovers)
  }

  async change(): Promise<void> {
    this.#all = this.#all.filter(thing => this.#isThere(thing))
    const noWait = this.#random.chance(0.2)
    await this.#change(noWait)
    if (noWait) await this.#channel.queueDeclare(FIXED, { passive: true })
  }

  async #change(noWait: boolean): Promise<void> {
    const random = this.#random
    const channel = this.#channel
    const [queue, exchange, other] = [this.#some('queue'), this.#some('exchange'), this.#some('exchange')]
    const name = queue === undefined ? '' : random.pick(queue.names)
    const key = random.pick(['a', 'b'])
    const bound = random.chance(0.5) ? { arguments: { n: 1 } } : {}
    const source = exchange === undefined ? '' : currentName(exchange)
    const destination = other === undefined ? '' : currentName(other)
    const weights = {
      queue: 4,
      exchange: 3,
      bind: 6,
      unbind: 3,
      between: 1,
      apart: 1,
      again: 2,
      delete: 2,
      consume: 10,
      cancel: 2,
    }
    const what = random.weighted(weights)
    if (what === 'queue') return this.makeQueue()
    if (what === 'exchange') return this.#declare(this.#add('exchange', `e${this.#made++}`, random.chance(0.4)), noWait)
    if (queue === undefined || exchange === undefined || other === undefined) return
    switch (what) {
      case 'bind':
        await channel.queueBind(name, source, key, { ...bound, noWait })
        return
      case 'unbind':
        await channel.queueUnbind(name, source, key, bound)
        return
      case 'between':
        await channel.exchangeBind(destination, source, key, { ...bound, noWait })
        return
      case 'apart':
        await channel.exchangeUnbind(destination, source, key, bound)
        return
      case 'again':
        exchange.recovers = !exchange.recovers
        return this.#declare(exchange, noWait)
      case 'delete':
        if (random.chance(0.3)) await channel.exchangeDelete(source, { noWait })
        else await channel.queueDelete(name, { noWait })
        return
      case 'consume':
        return this.#consume(queue, name)
      case 'cancel': {
        const consumer = queue.consumers.shift()
        await consumer?.channel.basicCancel(consumer.tag)
        if (queue.consumers.length === 0) queue.isTaken = false
      }
    }
  }

  #add(kind: Thing['kind'], name: string, autoDelete: boolean): Thing {
    const thing: Thing = { kind, names: [name], autoDelete, recovers: true, consumers: [], isTaken: false }
    this.#all.push(thing)
    return thing
  }

  async makeQueue(): Promise<void> {
    const random = this.#random
    const autoDelete = random.chance(0.6)
    const options = { exclusive: random.chance(0.4), autoDelete, arguments: { 'x-max-length': random.between(1, 3) } }
    const { queue } = await this.#channel.queueDeclare(random.chance(0.4) ? '' : `q${this.#made++}`, options)
    this.#add('queue', queue, autoDelete)
  }

  async #declare(exchange: Thing, noWait: boolean): Promise<void> {
    const { autoDelete, recovers: recover } = exchange
    await this.#channel.exchangeDeclare(currentName(exchange), 'topic', { autoDelete, recover, noWait })
  }

  async #consume(queue: Thing, name: string): Promise<void> {
    const random = this.#random
    if (queue.isTaken) return
    const exclusive = queue.consumers.length === 0 && random.chance(0.2)
    const options = { noAck: random.chance(0.3), exclusive, arguments: { 'x-priority': random.between(0, 2) } }
    const channel = random.chance(0.7) ? this.#channel : this.#other
    await channel.basicQos({ prefetchCount: random.between(0, 2) })
    const { consumerTag: tag } = await channel.basicConsume(() => {}, name, options)
    queue.isTaken = exclusive
    queue.consumers.push({ channel, tag })
  }
}

/**
 * A program makes and undoes queues, exchanges, bindings and consumers, as chance wants it, by any of their names. Then it
 * loses its connection, and somebody deletes everything: what a recovery makes is what there was.
 */
export const ledgerWalk: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const operator = await (await connect()).protocol.channel()
  const { protocol } = own
  const failures: string[] = []
  protocol.on('recoveryFailed', (what, error) => failures.push(`${what}: ${error.message}`))
  await protocol.queueDeclare(FIXED)
  const random = new Random(Math.floor(outing.clock.random() * 2 ** 31))
  const walk = new Walk(random, protocol, await protocol.channel(), await protocol.channel(), control)
  for (let n = 0; n < QUEUES; n++) await walk.makeQueue()
  for (let round = 1; round <= ROUNDS; round++) {
    for (let n = 0; n < CHANGES; n++) await walk.change()
    const before = walk.picture(false)
    own.refuse(true)
    own.cut()
    await outing.sleep(10)
    const deleted = [...control.evidence().entities.keys()].map(what => {
      const [kind, name = ''] = what.split(' ')
      if (kind === 'queue') return operator.queueDelete(name)
      return kind === 'exchange' && /^e\d/.test(name) ? operator.exchangeDelete(name) : undefined
    })
    await Promise.all(deleted)
    own.refuse(false)
    await protocol.ready({ timeout: 20_000 })
    const isBack = (): boolean => walk.picture(true) === walk.renamed(before)
    for (let wait = 0; wait < 5_000 && !isBack(); wait += 500) await outing.sleep(500)
    outing.equal(walk.picture(true).split('\n'), walk.renamed(before).split('\n'), `what is there after loss ${round}`)
    outing.equal(failures, [], `what could not be made again after loss ${round}`)
    walk.lost()
  }
}
