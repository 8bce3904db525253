export * as callbackApi from './callback-api.ts'
export { IllegalOperationError } from './errors.ts'
export { credentials } from './options.ts'
export * as promiseApi from './promise-api.ts'
