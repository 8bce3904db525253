import vm from 'node:vm'
import { DecodeError, EncodeError } from '../../src/errors.ts'

const thrower = (): never => {
  throw new Error('looked at')
}

/** What a program may throw, or reject with. */
export const HOSTILE_VALUES: Readonly<Record<string, unknown>> = {
  null: null,
  undefined: undefined,
  'a number': 42,
  'a bigint': 1n,
  'a symbol': Symbol('s'),
  'a string': 'text',
  'a string with half a character': 'a\ud800b',
  'a function': function secret() {
    return 1
  },
  'an object without a prototype': Object.create(null),
  'an object whose toString throws': { toString: thrower },
  'an object whose toString returns no string': { toString: () => ({}), valueOf: () => ({}) },
  'an object whose inspection throws': { [Symbol.for('nodejs.util.inspect.custom')]: thrower, toString: thrower },
  'an object whose every getter throws': Object.defineProperties(
    {},
    Object.fromEntries(
      ['name', 'message', 'stack', 'cause', 'toString', 'then', 'constructor', Symbol.toStringTag].map(key => [
        key,
        { get: thrower, enumerable: true },
      ]),
    ),
  ),
  'an error whose message getter throws': Object.defineProperty(new Error('x'), 'message', { get: thrower }),
  'an error whose name getter throws': Object.defineProperty(new Error('x'), 'name', { get: thrower }),
  'an error whose stack getter throws': Object.defineProperty(new Error('x'), 'stack', { get: thrower }),
  'an error whose message is a list': Object.assign(new Error('x'), { message: ['name must be a string'] }),
  'an error whose message is an object without a prototype': Object.assign(new Error('x'), {
    message: Object.create(null),
  }),
  'an error without a message': Object.assign(new Error('x'), { message: undefined }),
  'an error without a name': Object.assign(new Error('x'), { name: undefined }),
  'an error whose name is a number': Object.assign(new Error('x'), { name: 5 }),
  'an error whose stack is no string': Object.assign(new Error('x'), { stack: 5 }),
  'an error that is frozen': Object.freeze(new Error('frozen')),
  'an EncodeError that is frozen': Object.freeze(new EncodeError('frozen')),
  'a DecodeError that is frozen': Object.freeze(new DecodeError('frozen')),
  'an error without a prototype': Object.setPrototypeOf(new Error('bare'), null),
  'an error of another realm': vm.runInNewContext('new RangeError("of another realm")'),
  'an object of another realm': vm.runInNewContext('({ of: "another realm" })'),
  'a DOMException': new DOMException('aborted', 'AbortError'),
  'a circular object': (() => {
    const circular: { self?: unknown } = {}
    circular.self = circular
    return circular
  })(),
  'a proxy that throws at every touch': new Proxy({}, new Proxy({}, { get: () => thrower })),
  'a proxy of an error': new Proxy(new Error('behind a proxy'), {}),
  'a proxy that was revoked': (() => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  })(),
  'an error with a message of a million characters': new Error('é'.repeat(1_000_000)),
}

/** A value with that `then`. */
function withThen(value: object, then: (...args: never[]) => unknown): object {
  return Object.defineProperty(value, 'then', { value: then })
}

/** What code of the program's may do instead of returning: each is called in its place. */
export function hostileForms(thrown: unknown): Readonly<Record<string, () => unknown>> {
  const thrower = (): never => {
    throw thrown
  }
  return {
    throws: thrower,
    rejects: async () => thrower(),
    'returns a thenable whose then throws': () => withThen({}, thrower),
    'returns a thenable whose then cannot be read': () => Object.defineProperty({}, 'then', { get: thrower }),
    'returns a thenable that rejects at once, twice, then resolves and throws': () =>
      withThen({}, (resolve: (value: unknown) => void, reject: (reason: unknown) => void) => {
        reject(thrown)
        reject(thrown)
        resolve(1)
        throw thrown
      }),
    'returns a function that is a thenable': () =>
      withThen(
        () => {},
        (_: unknown, reject: (reason: unknown) => void) => reject(thrown),
      ),
    'returns a promise with a then of its own': () =>
      withThen(Promise.reject(thrown), () => {
        throw new Error('this then is not to be called')
      }),
    'returns a promise whose constructor cannot be read': () =>
      Object.defineProperty(Promise.resolve(), 'constructor', { get: thrower }),
  }
}
