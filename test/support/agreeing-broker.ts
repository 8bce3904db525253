import * as methods from '../../src/protocol/methods.ts'
import { type Conversation, FakeBroker, type FakeBrokerOptions, methodFrame, type SentFrame } from './fake-broker.ts'

/** A broker that agrees to consumers and confirm mode at once, and confirms nothing. */
export function agreeingBroker(
  serverProperties: Record<string, string> = { product: 'fake' },
  options: FakeBrokerOptions = {},
): FakeBroker {
  const broker = new FakeBroker(options)
  broker.prepare = peer => {
    const start = methodFrame(0, methods.ConnectionStart, { serverProperties, mechanisms: 'PLAIN' })
    peer.answers.set('protocol header', () => start)
    peer.answers.set('confirm.select', ({ channel }) => methodFrame(channel, methods.ConfirmSelectOk, {}))
    peer.answers.set('basic.qos', ({ channel }) => methodFrame(channel, methods.BasicQosOk, {}))
    peer.answers.set('basic.consume', ({ channel, args }) =>
      methodFrame(channel, methods.BasicConsumeOk, { consumerTag: String(args['consumerTag']) }),
    )
    peer.answers.set('basic.cancel', ({ channel, args }) =>
      methodFrame(channel, methods.BasicCancelOk, { consumerTag: String(args['consumerTag']) }),
    )
  }
  return broker
}

/** The frames of this method that the client sent. */
export function framesOf({ peer }: Pick<Conversation, 'peer'>, name: string): SentFrame[] {
  return peer.frames.filter(frame => frame.method?.name === name)
}
