import { inspect, types } from './platform.ts'

/** What can be said of a thrown value, whatever it is. */
export interface DescribedThrown {
  readonly name: string
  readonly message: string
  /** '' if there is none. */
  readonly stack: string
}

/** What was thrown may be anything, even an object that throws when it is looked at. Never throws. */
export function describeThrown(thrown: unknown): DescribedThrown {
  if (typeof thrown !== 'object' || thrown === null) return { name: 'Error', message: asText(thrown), stack: '' }
  const name = read(thrown, 'name')
  const message = read(thrown, 'message')
  const stack = read(thrown, 'stack')
  return {
    name: typeof name === 'string' && name !== '' ? name : 'Error',
    message: message === undefined && !isError(thrown) ? asText(thrown) : asText(message ?? ''),
    stack: typeof stack === 'string' ? stack : '',
  }
}

/**
 * Whatever was thrown, as an Error that can be read: itself if it is one, or one with it as its `cause`. Never throws.
 */
export function asError(thrown: unknown): Error {
  if (isError(thrown) && isReadable(thrown)) return thrown
  const { name, message, stack } = describeThrown(thrown)
  const error = new Error(message, { cause: thrown })
  if (name !== 'Error') error.name = name
  // Without one: the frames of this package explain nothing.
  error.stack = stack === '' ? `${error.name}: ${error.message}` : stack
  return error
}

/**
 * Another error of the same class, with the same fields and no lines of its own, that says `message`. For one that
 * several share, and that each must have as its own: the program's may be frozen, too.
 */
export function anew<E extends Error>(error: E, message = error.message): E {
  const { message: _message, stack: _stack, ...fields } = Object.getOwnPropertyDescriptors<Error>(error)
  const other = Object.setPrototypeOf(new Error(message), Object.getPrototypeOf(error)) as E
  // Its class may read the name from a private field, which the other one has not.
  const all: PropertyDescriptorMap = Object.assign({ name: { value: error.name } }, fields)
  // One that has a getter of its own is read once.
  for (const [name, { value = read(error, name), enumerable = false }] of Object.entries(all)) {
    Object.defineProperty(other, name, { value, enumerable, configurable: true, writable: true })
  }
  other.stack = `${other.name}: ${message}`
  return other
}

/** Also one of another realm: those that Jest and `vm` make have an `Error` of their own. */
function isError(value: unknown): value is Error {
  try {
    return (
      value instanceof Error ||
      types.isNativeError(value) ||
      Object.prototype.toString.call(value) === '[object DOMException]'
    )
  } catch {
    return false
  }
}

function isReadable(error: Error): boolean {
  if (types.isProxy(error)) return false
  try {
    return [error.name, error.message, error.stack ?? ''].every(text => typeof text === 'string')
  } catch {
    return false
  }
}

function read(object: object, key: string): unknown {
  try {
    return Reflect.get(object, key)
  } catch {
    return undefined
  }
}

function asText(value: unknown): string {
  if (typeof value !== 'object' && typeof value !== 'function') return String(value)
  try {
    const text = typeof value === 'function' ? '' : String(value)
    if (text !== '' && !text.startsWith('[object ')) return text
  } catch {
    // An object without a prototype, or one that cannot be converted to text: its contents say more.
  }
  try {
    return inspect(value, SHORT)
  } catch {
    return 'a value that cannot be shown'
  }
}

/** In one line, and without calling anything of the value's. */
const SHORT = {
  depth: 1,
  breakLength: Number.POSITIVE_INFINITY,
  customInspect: false,
  maxArrayLength: 10,
  maxStringLength: 200,
}
