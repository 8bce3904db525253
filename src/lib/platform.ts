/**
 * The parts of the runtime that the package needs beside the language and the globals of the web. It imports nothing of
 * Node but `node:events` and `node:buffer`, for which bundlers have replacements: so it loads in browsers too. The rest
 * is looked up here: it is Node's in Node, Bun and Deno, and a stand-in elsewhere.
 */

/** The modules of Node that are used if they are there. */
interface Builtins {
  readonly 'node:async_hooks': typeof import('node:async_hooks')
  readonly 'node:buffer': typeof import('node:buffer')
  readonly 'node:crypto': typeof import('node:crypto')
  readonly 'node:diagnostics_channel': typeof import('node:diagnostics_channel')
  readonly 'node:fs': typeof import('node:fs')
  readonly 'node:net': typeof import('node:net')
  readonly 'node:os': typeof import('node:os')
  readonly 'node:tls': typeof import('node:tls')
  readonly 'node:util': typeof import('node:util')
  readonly 'node:worker_threads': typeof import('node:worker_threads')
  readonly 'node:zlib': typeof import('node:zlib')
}

const found: { [Name in keyof Builtins]?: Builtins[Name] | undefined } = {}

/** A module of Node, or undefined in a runtime without it. Bundlers do not follow the name. Node looks it up slowly. */
export function builtin<Name extends keyof Builtins>(name: Name): Builtins[Name] | undefined {
  found[name] ??= (
    typeof process === 'undefined' ? undefined : process.getBuiltinModule?.(name)
  ) as (typeof found)[Name]
  return found[name]
}

/** A module of Node that has no replacement elsewhere. */
export function requiredBuiltin<Name extends keyof Builtins>(name: Name, instead: string): Builtins[Name] {
  const found = builtin(name)
  if (found === undefined) throw new Error(`this runtime has no ${name}: ${instead}`)
  return found
}

/** Call `run` after all promises that are resolved by now. */
export function nextTick(run: () => void): void {
  if (typeof process !== 'undefined' && typeof process.nextTick === 'function') process.nextTick(run)
  else runLater(run)
}

// Taken once: a program's tests put fake ones in the place of the global ones.
const { setImmediate, clearImmediate } = globalThis

/**
 * Call `run` when the event loop has done all that is due in this turn, unless the function that is returned is called
 * before.
 */
export function nextTurn(run: () => void): () => void {
  if (typeof setImmediate === 'function') {
    const immediate = setImmediate(run)
    return () => clearImmediate(immediate)
  }
  let cancelled = false
  runLater(() => {
    if (!cancelled) run()
  })
  return () => {
    cancelled = true
  }
}

let tasks: import('node:worker_threads').MessagePort | undefined
const waiting: (() => void)[] = []

/** A message is a task of the event loop of its own. Browsers delay timers by milliseconds, in the background by seconds. */
function runLater(run: () => void): void {
  if (tasks === undefined) {
    const { port1, port2 } = new MessageChannel()
    // Not a listener, which would have to start the port.
    Object.assign(port1, { onmessage: () => waiting.shift()?.() })
    tasks = port2
  }
  waiting.push(run)
  tasks.postMessage(undefined)
}

/** Print a warning, by `process.emitWarning` if there is one. */
export function emitWarning(warning: string | Error, name?: string): void {
  if (typeof process === 'undefined' || typeof process.emitWarning !== 'function') console.warn(warning)
  else if (name === undefined) process.emitWarning(warning)
  else process.emitWarning(warning, { type: name })
}

/** The part of Node's `AsyncResource` that is used. */
export type AsyncScope = Pick<import('node:async_hooks').AsyncResource, 'runInAsyncScope' | 'asyncId'>

class NoScope implements AsyncScope {
  runInAsyncScope<This, Result>(call: (this: This, ...args: never[]) => Result, self?: This, ...args: never[]): Result {
    return Reflect.apply(call, self as This, args)
  }

  asyncId(): number {
    return 0
  }
}

/** The asynchronous context of now, in which calls can be made later. */
export const AsyncResource: new (type: string, triggerAsyncId?: number) => AsyncScope =
  builtin('node:async_hooks')?.AsyncResource ?? NoScope

/**
 * A scope for one call in `scope`, the present one: what the call enters stays with it. Since Node 24 that is so in each scope
 * ("consume 16 B" there: 9 % less than with a new one). A new one is given what triggers it: Node's search for that costs
 * more than all else of it.
 */
export function scopeOfCall(scope: AsyncScope): AsyncScope {
  return keepsCallsApart ? scope : new AsyncResource('asyncamqp', scope.asyncId())
}

const keepsCallsApart = doesKeepCallsApart()

function doesKeepCallsApart(): boolean {
  const { AsyncLocalStorage } = builtin('node:async_hooks') ?? {}
  // Older ones do not, and to try it there makes all promises of the process slower from then on.
  if (AsyncLocalStorage === undefined || Number.parseInt(process.versions.node, 10) < 24) return false
  const storage = new AsyncLocalStorage<boolean>()
  const scope = new AsyncResource('asyncamqp')
  scope.runInAsyncScope(() => storage.enterWith(true))
  const entered = scope.runInAsyncScope(() => storage.getStore())
  storage.disable()
  return entered === undefined
}

const unheard = { hasSubscribers: false, publish: () => {} }

/** A channel of `node:diagnostics_channel`, or one without subscribers. */
export function channel(name: string): import('node:diagnostics_channel').Channel {
  return builtin('node:diagnostics_channel')?.channel(name) ?? (unheard as never)
}

/** What identifies bytes: their SHA-1, or the first of them if there is no SHA-1. */
export function fingerprint(bytes: Uint8Array): string {
  const hash = builtin('node:crypto')?.createHash('sha1')
  return hash === undefined
    ? Buffer.from(bytes.subarray(0, 64)).toString('base64')
    : hash.update(bytes).digest('base64')
}

const util = builtin('node:util')

/** `util.inspect`, or JSON. */
export const inspect: (value: unknown, options: import('node:util').InspectOptions) => string =
  util?.inspect ??
  (value => JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}n` : each)) ?? String(value))

const is = (type: string) => (value: unknown) => Object.prototype.toString.call(value) === `[object ${type}]`

/** `util.types`, or the type tags of the values. */
export const types = (util?.types ?? {
  isAnyArrayBuffer: value => is('ArrayBuffer')(value) || is('SharedArrayBuffer')(value),
  isDate: is('Date'),
  isMap: is('Map'),
  isNativeError: is('Error'),
  isPromise: is('Promise'),
  isProxy: () => false,
  isRegExp: is('RegExp'),
  isSet: is('Set'),
  isUint8Array: is('Uint8Array'),
  isWeakMap: is('WeakMap'),
  isWeakSet: is('WeakSet'),
}) as Pick<
  typeof import('node:util').types,
  | 'isAnyArrayBuffer'
  | 'isDate'
  | 'isMap'
  | 'isNativeError'
  | 'isPromise'
  | 'isProxy'
  | 'isRegExp'
  | 'isSet'
  | 'isUint8Array'
  | 'isWeakMap'
  | 'isWeakSet'
>

/** Whether bytes are UTF-8. */
export const isUtf8: (bytes: Uint8Array) => boolean =
  builtin('node:buffer')?.isUtf8 ??
  (bytes => {
    try {
      return strictUtf8.decode(bytes) !== undefined
    } catch {
      return false
    }
  })

const strictUtf8 = new TextDecoder('utf-8', { fatal: true })
