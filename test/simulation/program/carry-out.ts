import type { AmqpProtocol } from '../../../src/index.ts'
import type { Step } from '../steps.ts'
import type { Program } from './program.ts'

/** Which part of a program does what. */
export function carryOut(program: Program, protocol: AmqpProtocol, step: Extract<Step, { client: number }>): void {
  switch (step.do) {
    case 'publish':
      for (let n = 0; n < step.count; n++) program.publishing.publish(protocol, step)
      return
    case 'batch':
      program.publishing.batch(step)
      return
    case 'consume':
      program.consumers.start(protocol, step)
      return
    case 'read stream':
      program.consumers.startIfRoom('stream', () => program.stream.read(step))
      return
    case 'append':
      program.stream.append(step.count)
      return
    case 'tagged consumer':
      program.channelConsumers.tagged(step)
      return
    case 'given up consumer':
      program.channelConsumers.givenUp(step)
      return
    case 'get':
      program.questions.get(step)
      return
    case 'ask':
      program.questions.ask(step)
      return
    case 'burst':
      program.questions.burst(step.count)
      return
    case 'call':
      program.questions.call(protocol, step.timeout)
      return
    case 'unit':
      program.transactions.unit(step)
      return
    case 'entity':
      program.topology.entity(step)
      return
    case 'passing':
      program.topology.passing(step)
      return
    case 'failed transaction':
      program.transactions.failed(protocol, step)
      return
    case 'close publisher':
      program.publishing.closePublisher(step)
      return
    case 'fleeting exchange':
      program.topology.fleetingExchange()
      return
    case 'bind':
      program.topology.bind(protocol, step)
      return
    case 'temporary queue':
      program.topology.temporaryQueue()
      return
    case 'bad declare':
      program.topology.badDeclare()
      return
    case 'private queue':
      program.privateQueues.make()
      return
    case 'close channel':
      program.closeChannel()
      return
    case 'close':
      program.close()
  }
}
