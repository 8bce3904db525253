import type { AmqpProtocol, ConnectionRole } from '../../../src/index.ts'
import type { Program } from './program.ts'
import type { ProgramClock } from './program-clock.ts'

/** Events of a connection come in their order, and each in its state. */
export function watchEvents(program: Program, protocol: AmqpProtocol, clock: ProgramClock): void {
  const { violations } = program.journal
  const expect = (event: string, right: boolean): void => {
    if (!right) violations.push(`program ${program.number}: "${event}" in state ${protocol.state}`)
  }
  const blocked = new Set<ConnectionRole>()
  protocol.on('disconnected', (error, connection) => {
    if (connection === 'main') program.lostAt = program.clock.now()
    else program.publisherLostAt = program.clock.now()
    program.journal.learned('disconnected', error)
    expect('disconnected', protocol.state !== 'open')
  })
  protocol.on('recovered', () => expect('recovered', protocol.state === 'open' || program.isSeparate))
  protocol.on('recoveryFailed', (what, error) => program.journal.learned(what, error))
  protocol.on('queueRenamed', (oldName, newName) => program.privateQueues.renamed(oldName, newName))
  protocol.on('blocked', (_reason, connection) => {
    expect('blocked', !blocked.has(connection))
    blocked.add(connection)
    // It may be over by now.
    const isShown = protocol.stats().publisherConnection?.blockedReason === undefined || protocol.blocked !== undefined
    expect('blocked', isShown)
    if (connection === 'publisher' || !program.isSeparate) program.publishing.withheld = new Set()
  })
  protocol.on('unblocked', connection => {
    expect('unblocked', blocked.delete(connection) && (blocked.size > 0 || protocol.blocked === undefined))
    if (connection === 'publisher' || !program.isSeparate) program.publishing.withheld = undefined
  })
  protocol.on('closed', () => {
    expect('closed', protocol.state === 'closed' && blocked.size === 0)
    // A close waits for the end of the socket, too.
    if (program.protocol === protocol) program.judgeQuiet(clock)
  })
}
