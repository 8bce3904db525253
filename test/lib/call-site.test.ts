import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { atCallSite, type CallSite, placeOfCall } from '../../src/lib/call-site.ts'

// Bun has no frame of a function that ends with a call.
function publicMethod(): { readonly site: CallSite } {
  return { site: placeOfCall() }
}

function caller(): CallSite {
  const { site } = publicMethod()
  return site
}

/** The names of the functions in a stack. */
function names(stack: string | undefined): string[] {
  return (stack ?? '').split('\n').flatMap(line => / at (\w+) /.exec(line)?.[1] ?? [])
}

/** Do `run` while the program formats stacks by `format`. */
function formattedBy(format: typeof Error.prepareStackTrace, run: () => void): void {
  const { prepareStackTrace } = Error
  Error.prepareStackTrace = format
  try {
    run()
    assert.equal(Error.prepareStackTrace, format)
  } finally {
    Error.prepareStackTrace = prepareStackTrace
  }
}

describe('the place of a call', () => {
  it('is the line that called the public method', () => {
    const error = atCallSite(new RangeError('no'), caller())
    assert.equal(names(error.stack)[0], 'caller')
    assert.match(error.stack ?? '', /^RangeError: no\n {4}at caller /)
  })

  it('is that also if the program wants few frames, of which it gets as many', () => {
    const { stackTraceLimit } = Error
    try {
      for (const limit of [1, 2]) {
        Error.stackTraceLimit = limit
        const { stack } = atCallSite(new RangeError('no'), caller())
        assert.equal(Error.stackTraceLimit, limit)
        assert.equal(names(stack)[0], 'caller')
        assert.equal(stack?.split('\n').length, 1 + limit)
      }
      Error.stackTraceLimit = 0
      assert.equal(atCallSite(new RangeError('no'), caller()).stack, 'RangeError: no')
    } finally {
      Error.stackTraceLimit = stackTraceLimit
    }
  })

  it('is that also if the program leaves out the frames of packages', () => {
    const site = caller()
    const format = (error: Error, frames: NodeJS.CallSite[]): string => {
      const own = frames.filter(frame => frame.getFunctionName() !== 'publicMethod')
      return `${error}${own.map(frame => `\n    at ${frame}`).join('')}`
    }
    formattedBy(format, () => {
      for (let i = 0; i < 2; i++) assert.equal(names(atCallSite(new Error('no'), site).stack)[0], 'caller')
    })
  })

  it('is left out if the program makes something else of stacks, or throws', () => {
    for (const format of [
      (_error: Error, frames: NodeJS.CallSite[]) => frames,
      () => 'nothing to see',
      () => {
        throw new Error('never mind')
      },
    ]) {
      const error = Object.assign(new Error('no'), { stack: 'its own' })
      formattedBy(format, () => assert.equal(atCallSite(error, caller()).stack, 'its own'))
    }
  })
})
