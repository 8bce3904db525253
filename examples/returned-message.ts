// A mandatory message that no queue wants comes back: to the promise of its publish, or to a callback.
import { connect, MessageReturnedError } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env

await using protocol = await connect(AMQP_URL)

// In confirm mode, publish() rejects with what came back.
await using confirming = await protocol.channel({ publisherConfirms: true })
try {
  await confirming.publish('Is anybody there?', '', 'no-such-queue', {}, { mandatory: true })
} catch (error) {
  if (!(error instanceof MessageReturnedError)) throw error
  console.log(` [x] publish() rejected with ${error.replyCode} ${error.replyText}: '${error.body}'`)
}

// basicPublish() waits for no answer: what comes back goes to the channel's returnCallback.
await using plain = await protocol.channel({
  returnCallback: (_channel, body, { replyCode, replyText }) => {
    console.log(` [x] returnCallback was given ${replyCode} ${replyText}: '${body}'`)
  },
})
await plain.basicPublish('Hello?', '', 'no-such-queue', {}, { mandatory: true })
