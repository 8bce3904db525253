import assert from 'node:assert/strict'
import { it } from 'node:test'
import { MessageLoop } from '../../../src/patterns/consume/message-loop.ts'
import { turn } from '../../support/settled.ts'

it('A loop leaves the rejection of an answer to its caller, also if that does not await it', async () => {
  const over = new Error('the connection was closed')
  const loop = new MessageLoop({ take: () => Promise.reject(over), leave: async () => {} })
  const unhandled: unknown[] = []
  const listeners = process.rawListeners('unhandledRejection') as NodeJS.UnhandledRejectionListener[]
  process.removeAllListeners('unhandledRejection')
  process.on('unhandledRejection', error => unhandled.push(error))
  try {
    void loop.next()
    await turn()
    await turn()
  } finally {
    process.removeAllListeners('unhandledRejection')
    for (const listener of listeners) process.on('unhandledRejection', listener)
  }
  assert.deepEqual(unhandled, [over])
})
