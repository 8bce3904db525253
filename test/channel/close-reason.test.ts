import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { closedByClient, closedByServer } from '../../src/channel/close-reason.ts'
import { closedByProgram, lost } from '../../src/connection/close-reasons.ts'
import { ChannelClosedError, TimeoutError } from '../../src/errors.ts'

describe('a channel closed by the server', () => {
  const ending = closedByServer(3, 404, "NOT_FOUND - no queue 'q' in vhost '/'", 50, 10)

  it('says so with the code, the text and the method', () => {
    assert.equal(
      ending.error?.message,
      "channel 3 was closed by the server because of queue.declare: NOT_FOUND (404), no queue 'q' in vhost '/'",
    )
  })

  it('gives the guilty operation the reason as its own', () => {
    const error = ending.errorFor('queue.declare of "q"', true)
    assert.ok(error instanceof ChannelClosedError)
    assert.equal(
      error.message,
      "queue.declare of \"q\" failed: NOT_FOUND (404), no queue 'q' in vhost '/'; channel 3 is closed",
    )
    assert.equal(error.replyCode, 404)
    assert.equal(error.replyText, "NOT_FOUND - no queue 'q' in vhost '/'")
    assert.deepEqual([error.method, error.classId, error.methodId], ['queue.declare', 50, 10])
    assert.equal(error.cause, ending.error)
  })

  it('gives each other operation a fresh error with the whole story, and a publish its outcome', () => {
    const [one, two] = [ending.errorFor('basic.qos', false), ending.errorFor('a publish', false, 'unknown')]
    assert.notEqual(one, two)
    assert.match(one.message, /^basic\.qos failed: channel 3 was closed by the server because of queue\.declare: /)
    assert.equal(two.outcome, 'unknown')
    assert.equal(one.outcome, undefined)
  })

  it('hints at durable for a 406 about it', () => {
    const text =
      "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received 'true' but current is 'false'"
    assert.match(closedByServer(1, 406, text, 50, 10).error?.message ?? '', /queues are durable unless exclusive/)
  })

  it('names no method if the server found none at fault', () => {
    assert.equal(
      closedByServer(1, 320, 'bye', 0, 0).error?.message,
      'channel 1 was closed by the server: CONNECTION_FORCED (320), bye',
    )
  })
})

describe('a channel closed by the client', () => {
  it('is not an error if the program asked for it, but is one for what was pending', () => {
    const ending = closedByClient(2)
    assert.equal(ending.error, undefined)
    assert.equal(
      ending.errorFor('basic.get of "q"', false).message,
      'basic.get of "q" failed: channel 2 is closed: it was closed by the program',
    )
  })

  it('says which call timed out if one did', () => {
    const cause = new TimeoutError('queue.declare of "q" was not answered')
    const ending = closedByClient(2, cause)
    assert.equal(ending.error?.cause, cause)
    const error = ending.errorFor('basic.qos', false)
    assert.equal(
      error.message,
      'basic.qos failed: channel 2 is closed: it was closed because queue.declare of "q" was not answered',
    )
    assert.equal(error.cause, cause)
  })
})

describe('a reason to close', () => {
  it('knows whether it was reported: by an error of an operation, or by the code that takes care of the rest', () => {
    const make = () => closedByServer(1, 404, 'NOT_FOUND', 0, 0)
    const [unknown, known, takenOver] = [make(), make(), make()]
    known.errorFor('queue.declare of "q"', true)
    takenOver.takenCareOf()
    assert.deepEqual([unknown.isReported, known.isReported, takenOver.isReported], [false, true, true])
  })

  it('says whether only the channel is over, or its connection', () => {
    assert.equal(closedByServer(1, 404, 'NOT_FOUND', 0, 0).scope, 'channel')
    assert.equal(closedByClient(1).scope, 'channel')
    assert.equal(lost('broker:5672', 'end', 'it ended').scope, 'connection')
    assert.equal(closedByProgram('broker:5672').scope, 'connection')
  })
})
