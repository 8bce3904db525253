import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { callSafely, follow, inContext, unthrowing, warn } from '../../src/lib/call-safely.ts'
import { asError, describeThrown } from '../../src/lib/thrown.ts'
import { HOSTILE_VALUES, hostileForms } from '../support/hostile-values.ts'

describe('asError', () => {
  for (const [what, thrown] of Object.entries(HOSTILE_VALUES)) {
    it(`makes an error that can be read of ${what}, and loses nothing`, () => {
      const error = asError(thrown)
      assert.equal(typeof error.message, 'string')
      assert.equal(typeof error.name, 'string')
      assert.equal(typeof error.stack, 'string')
      assert.doesNotThrow(() => `${error}`)
      if (error !== thrown) {
        assert.ok('cause' in error)
        assert.ok(Object.is(error.cause, thrown))
      }
    })
  }

  it('keeps an error of another realm', () => {
    const foreign = HOSTILE_VALUES['an error of another realm']
    assert.equal(asError(foreign), foreign)
  })

  it('keeps a DOMException', () => {
    const exception = HOSTILE_VALUES['a DOMException']
    assert.equal(asError(exception), exception)
  })
})

describe('describeThrown', () => {
  const said: readonly (readonly [string, string, string])[] = [
    ['null', 'Error', 'null'],
    ['undefined', 'Error', 'undefined'],
    ['a symbol', 'Error', 'Symbol(s)'],
    ['a function', 'Error', '[Function: secret]'],
    ['an object whose toString throws', 'Error', '{ toString: [Function: thrower] }'],
    ['an error whose message getter throws', 'Error', ''],
    ['an error whose message is a list', 'Error', 'name must be a string'],
    ['an error without a message', 'Error', ''],
    ['an error of another realm', 'RangeError', 'of another realm'],
    ['a DOMException', 'AbortError', 'aborted'],
  ]
  for (const [what, name, message] of said) {
    it(`describes ${what}`, () => {
      const described = describeThrown(HOSTILE_VALUES[what])
      assert.deepEqual([described.name, described.message], [name, message])
    })
  }

  it('finds name and message in an object that is not an error', () => {
    const { name, message } = describeThrown({ name: 'Odd', message: 'no error' })
    assert.deepEqual([name, message], ['Odd', 'no error'])
  })
})

describe('callSafely', () => {
  for (const [form, hostile] of Object.entries(hostileForms('thrown'))) {
    it(`reports once code that ${form}`, async () => {
      const failures: unknown[] = []
      callSafely(hostile, thrown => failures.push(thrown))
      await turn()
      assert.deepEqual(failures, ['thrown'])
    })
  }

  it('says nothing of what returns, at once or later', async () => {
    const failures: unknown[] = []
    for (const value of [undefined, 1, {}, Promise.resolve(), () => {}]) {
      callSafely(
        () => value,
        thrown => failures.push(thrown),
      )
    }
    await turn()
    assert.deepEqual(failures, [])
  })
})

describe('follow', () => {
  it('has nothing to wait for if a plain value was returned', () => {
    for (const value of [undefined, null, 0, '', 'text', true, 1n, Symbol('s')]) {
      assert.equal(
        follow(
          value,
          () => assert.fail(),
          () => assert.fail(),
        ),
        false,
      )
    }
  })

  it('calls back once, and never within the call', async () => {
    const told: string[] = []
    const twice = Object.defineProperty({}, 'then', {
      value: (resolve: () => void) => {
        resolve()
        resolve()
      },
    })
    for (const value of [Promise.resolve(), twice, {}, () => {}]) {
      assert.ok(
        follow(
          value,
          () => told.push('finished'),
          () => told.push('failed'),
        ),
      )
    }
    assert.deepEqual(told, [])
    await turn()
    assert.deepEqual(told, ['finished', 'finished', 'finished', 'finished'])
  })

  it('waits for a promise of another realm and for a subclass', async () => {
    class Sub extends Promise<unknown> {}
    const { runInNewContext } = await import('node:vm')
    const values: unknown[] = []
    for (const value of [Sub.resolve(1), runInNewContext('Promise.resolve(2)')]) {
      follow(
        value,
        result => values.push(result),
        () => assert.fail(),
      )
    }
    await turn()
    assert.deepEqual(values, [1, 2])
  })
})

describe('unthrowing', () => {
  it('has what is thrown surface as an unhandled rejection, in a turn of its own', async () => {
    const unhandled: unknown[] = []
    const listeners = process.rawListeners('unhandledRejection') as NodeJS.UnhandledRejectionListener[]
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', error => unhandled.push(error))
    try {
      unthrowing(() => {
        throw Object.create(null)
      })()
      assert.equal(unhandled.length, 0)
      await turn()
      await turn()
    } finally {
      process.removeAllListeners('unhandledRejection')
      for (const listener of listeners) process.on('unhandledRejection', listener)
    }
    assert.equal(unhandled.length, 1)
    assert.ok(unhandled[0] instanceof Error)
  })
})

describe('warn', () => {
  const detailOf = (error: Error & { readonly detail?: string }): string => error.detail ?? ''

  it('has the process warn of the very error', async () => {
    const error = Object.assign(new Error('mind this'), { code: 'MIND' })
    const warned = once(process, 'warning')
    warn(error)
    assert.equal((await warned)[0], error)
    assert.deepEqual(Object.keys(error), ['code'])
    assert.match(
      detailOf(error),
      /^ {4}at .*call-safely\.test.*\n\(the option onError of connect\(\) gets such errors\)$/s,
    )
  })

  it('shows the lines of the stack unless the error has a detail, and who gets such errors no second time', async () => {
    const error = new Error('mind this')
    const bare = Object.assign(new Error('of the server'), { stack: 'Error: of the server' })
    const of = Object.assign(new Error('of a database'), { detail: 'Key (id)=(1) exists' })
    for (const each of [error, bare, of, Object.freeze(new Error('frozen'))]) {
      const warned = once(process, 'warning')
      warn(each)
      assert.equal((await warned)[0], each)
    }
    assert.match(detailOf(error), /^ {4}at .*call-safely\.test/)
    assert.doesNotMatch(detailOf(error), /onError/)
    assert.equal(detailOf(bare), '')
    assert.equal(of.detail, 'Key (id)=(1) exists')
  })

  it('has the process warn of an error of another realm by its name and its message', async () => {
    const warned = once(process, 'warning')
    warn(HOSTILE_VALUES['an error of another realm'] as Error)
    const [{ name, message }] = await warned
    assert.deepEqual([name, message], ['RangeError', 'of another realm'])
  })
})

describe('inContext', () => {
  it('runs a function in the context in which it was registered', () => {
    const storage = new AsyncLocalStorage<string>()
    const read = storage.run('registered', () => inContext((suffix: string) => `${storage.getStore()} ${suffix}`))
    assert.equal(
      storage.run('another', () => read('here')),
      'registered here',
    )
  })
})
