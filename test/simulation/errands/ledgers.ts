import type { Errand } from './errand.ts'
import { lose, loseDuring, QUICK, reaches } from './recoveries.ts'

/** A recovery makes what the program made, as it was made last, and nothing that other programs made or that it left out. */
export const ledger: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const { protocol } = own
  const failures: string[] = []
  protocol.on('recoveryFailed', what => failures.push(what))
  const exchange = await outing.exchange('direct')
  const isThere = async (what: 'queue' | 'exchange', name: string): Promise<boolean> => {
    const asked =
      what === 'queue'
        ? outing.protocol.queueDeclare(name, { passive: true })
        : outing.protocol.exchangeDeclare(name, 'direct', { passive: true })
    return asked.then(
      () => true,
      // 405: it is another connection's.
      (error: Error) => error.message.includes('405'),
    )
  }
  // The program has only asked whether they are there.
  const [othersQueue, othersExchange] = [`${outing.name} others`, `${outing.name} others`]
  await outing.protocol.queueDeclare(othersQueue)
  await outing.protocol.exchangeDeclare(othersExchange, 'direct')
  await protocol.queueDeclare(othersQueue, { passive: true })
  await protocol.exchangeDeclare(othersExchange, 'direct', { passive: true })
  await outing.protocol.queueDelete(othersQueue)
  await outing.protocol.exchangeDelete(othersExchange)
  // The last declare says whether it comes back, and what is bound to it.
  const left = `${outing.name} left out`
  await protocol.queueDeclare(left, { exclusive: true })
  await protocol.queueBind(left, exchange, 'left out')
  await protocol.queueDeclare(left, { exclusive: true, recover: false })
  const gone = `${outing.name} gone`
  await protocol.queueDeclare(gone, { recover: false })
  await protocol.queueBind(gone, exchange, 'gone')
  await outing.protocol.queueDelete(gone)
  const taken = `${outing.name} taken in`
  await protocol.queueDeclare(taken, { exclusive: true, recover: false })
  await protocol.queueDeclare(taken, { exclusive: true })
  await protocol.queueBind(taken, exchange, 'taken in')
  // A binding is there once, however often it is made.
  for (let n = 0; n < 2; n++) await protocol.queueBind(taken, exchange, 'undone')
  await protocol.queueUnbind(taken, exchange, 'undone')
  // It does not expire while it is used.
  const expiring = `${outing.name} expiring`
  await protocol.queueDeclare(expiring, { exclusive: true, arguments: { 'x-expires': 60_000 } })
  const expired = `${outing.name} expired`
  await protocol.queueDeclare(expired, { arguments: { 'x-expires': 50 } })
  // Both have names of the broker's: one is made again with another name, and one is still there.
  const { queue: named } = await protocol.queueDeclare()
  const { queue: shared } = await protocol.queueDeclare('', { durable: true, exclusive: false })
  outing.keep({ close: () => outing.protocol.queueDelete(shared) })
  const names = new Map<string, string>()
  protocol.on('queueRenamed', (before, after) => names.set(before, after))
  await outing.sleep(100)
  for (let round = 1; round <= 2; round++) {
    await lose(outing, own)
    // What is missing is waited for before it is reported.
    await outing.sleep(3_000)
    outing.equal(failures, [], `what could not be made again after loss ${round}`)
    const there = {
      others: await isThere('queue', othersQueue),
      'exchange of others': await isThere('exchange', othersExchange),
      'left out': await isThere('queue', left),
      'taken in': await isThere('queue', taken),
      expiring: await isThere('queue', expiring),
      expired: await isThere('queue', expired),
      shared: await isThere('queue', shared),
    }
    const should = {
      others: false,
      'exchange of others': false,
      'left out': false,
      'taken in': true,
      expiring: true,
      expired: false,
      shared: true,
    }
    outing.equal(there, should, `what is there after loss ${round}`)
    outing.equal(names.has(shared), false, 'whether a queue that is still there has another name')
    for (const [key, is] of [
      ['left out', false],
      ['taken in', true],
      ['undone', false],
      ['old name', round === 2],
    ] as const)
      outing.equal(await reaches(own, exchange, key), is, `whether "${key}" reaches a queue after loss ${round}`)
    // The first name goes on meaning the queue, in every method.
    outing.expect(await reaches(own, '', named), `the first name of a queue means none after loss ${round}`)
    if (round === 1) await protocol.queueBind(named, exchange, 'old name')
  }
  let name = named
  for (let next = names.get(name); next !== undefined; next = names.get(name)) name = next
  await protocol.queueUnbind(name, exchange, 'old name')
  outing.expect(!(await reaches(own, exchange, 'old name')), 'a binding by an old name cannot be undone')
  await lose(outing, own)
  outing.expect(!(await reaches(own, exchange, 'old name')), 'a binding by an old name that was undone is there again')
}

/** A queue that the broker named, and that is gone after a loss, is there again at once, by a new name that all of it follows. */
export const goneNames: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK })
  const { protocol } = own
  const other = await (await connect()).protocol.channel()
  const channel = await protocol.channel()
  const { queue } = await channel.queueDeclare('', { exclusive: false })
  await channel.queueBind(queue, 'amq.topic', 'key')
  const seen: string[] = []
  await channel.basicConsume((_channel, body) => void seen.push(body.toString()), queue, { noAck: true })
  const failures: string[] = []
  protocol.on('recoveryFailed', what => failures.push(what))
  const names = [queue]
  protocol.on('queueRenamed', (before, after) => {
    outing.equal(before, names.at(-1), 'the old name of a queue that was gone')
    names.push(after)
  })
  for (let loss = 1; loss <= 2; loss++) {
    await loseDuring(outing, own, () => other.queueDelete(names.at(-1) ?? ''))
    outing.equal(names.length, loss + 1, `names of a queue after loss ${loss}`)
    outing.expect(control.evidence().entities.has(`queue ${names.at(-1)}`), `its new name means no queue, loss ${loss}`)
    outing.expect(await reaches(own, 'amq.topic', 'key'), `its binding is not there, loss ${loss}`)
    outing.expect(await reaches(own, '', queue), `its first name means nothing, loss ${loss}`)
    await outing.until(() => seen.length === 2 * loss, `its consumer is not there, loss ${loss}`, 1_000)
  }
  outing.equal(failures, [], 'what could not be made again')
}
