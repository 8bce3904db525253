import type { AmqpProtocol } from '../../../src/index.ts'
import type { Step } from '../steps.ts'
import type { StepOf } from './desk.ts'
import type { Program } from './program.ts'

type ClientStep = Extract<Step, { client: number }>
type Action<D extends ClientStep['do']> = (program: Program, step: StepOf<D>, protocol: AmqpProtocol) => void

/** Which part of a program does what. */
const ACTIONS: { readonly [D in ClientStep['do']]: Action<D> } = {
  publish: ({ publishing }, step, protocol) => {
    for (let n = 0; n < step.count; n++) publishing.publish(protocol, step)
  },
  batch: ({ publishing }, step) => publishing.batch(step),
  'close publisher': ({ publishing }, step) => publishing.closePublisher(step),
  consume: ({ consumers }, step, protocol) => consumers.start(protocol, step),
  'read stream': ({ consumers, stream }, step) => consumers.startIfRoom('stream', () => stream.read(step)),
  append: ({ stream }, { count }) => stream.append(count),
  'tagged consumer': ({ channelConsumers }, step) => channelConsumers.tagged(step),
  'given up consumer': ({ channelConsumers }, step) => channelConsumers.givenUp(step),
  get: ({ questions }, step) => questions.get(step),
  ask: ({ questions }, step) => questions.ask(step),
  burst: ({ questions }, { count }) => questions.burst(count),
  call: ({ questions }, { timeout }, protocol) => questions.call(protocol, timeout),
  unit: ({ transactions }, step) => transactions.unit(step),
  'failed transaction': ({ transactions }, step, protocol) => transactions.failed(protocol, step),
  entity: ({ topology }, step) => topology.entity(step),
  passing: ({ topology }, step) => topology.passing(step),
  fleeting: ({ topology }) => topology.makeFleeting(),
  bind: ({ topology }, step, protocol) => topology.bind(protocol, step),
  'temporary queue': ({ topology }) => topology.temporaryQueue(),
  'bad declare': ({ topology }) => topology.badDeclare(),
  'private queue': ({ privateQueues }) => privateQueues.make(),
  errand: ({ errands }, step, protocol) => errands.go(protocol, step),
  'close channel': program => program.closeChannel(),
  close: program => program.close(),
  open: () => {},
}

export function carryOut<D extends ClientStep['do']>(
  program: Program,
  protocol: AmqpProtocol,
  step: ClientStep & { readonly do: D },
): void {
  const action: Action<D> = ACTIONS[step.do]
  action(program, step as unknown as StepOf<D>, protocol)
}
