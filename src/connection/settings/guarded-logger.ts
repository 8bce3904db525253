import { describeThrown } from '../../errors.ts'
import { callSafely } from '../../lib/call-safely.ts'
import { emitWarning } from '../../lib/platform.ts'
import { badValue } from '../../protocol/option-check.ts'
import type { Logger } from './options.ts'

const LEVELS = ['debug', 'info', 'warn', 'error'] as const

/** The logger as the client calls it: every method is there, and none throws. */
export type GuardedLogger = Required<Logger>

/**
 * `logger`, of which only the methods are called that it has. One that throws breaks nothing: it is said once, as a warning
 * of the process, since there is no logger to tell.
 */
export function guardedLogger(logger: Logger | undefined): GuardedLogger | undefined {
  if (logger === undefined) return undefined
  if (!LEVELS.some(level => typeof logger?.[level] === 'function')) {
    throw badValue('connect', 'logger', 'an object with methods debug, info, warn or error', logger)
  }
  let warned = false
  const failed = (thrown: unknown): void => {
    if (warned) return
    warned = true
    emitWarning(`the logger of an AMQP connection fails: ${describeThrown(thrown).message}`)
  }
  const guarded =
    (level: keyof Logger) =>
    (message: string, ...details: unknown[]): void =>
      callSafely(() => logger[level]?.(message, ...details), failed)
  return { debug: guarded('debug'), info: guarded('info'), warn: guarded('warn'), error: guarded('error') }
}
