import { callSafely } from '../lib/call-safely.ts'
import { emitWarning } from '../lib/platform.ts'
import { describeThrown } from '../lib/thrown.ts'
import { badValue } from '../protocol/option-check.ts'

/**
 * Takes lines, as `console` or pino do. Only the methods that are there are called: with a text; or, as `logFormat` says,
 * with an object and a text, for which a logger of your own declares the first parameter as `unknown`.
 */
export interface Logger {
  debug?(message: string, ...details: unknown[]): void
  info?(message: string, ...details: unknown[]): void
  warn?(message: string, ...details: unknown[]): void
  error?(message: string, ...details: unknown[]): void
}

/** The logger's methods, as they are called. */
interface CalledLogger {
  debug?(first: string | object, text?: string): void
  info?(first: string | object, text?: string): void
  warn?(first: string | object, text?: string): void
  error?(first: string | object, text?: string): void
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** `text`: `logger.info(text)`, which names the connection. `structured`: `logger.info(object, text)`. */
export type LogFormat = 'text' | 'structured'

const LEVELS = ['debug', 'info', 'warn', 'error'] as const

/** Writes to the program's logger. One that throws breaks nothing: a warning of the process says so, once. */
export class LogWriter {
  readonly #logger: CalledLogger
  readonly #structured: boolean
  readonly #prefix: string
  #warned = false

  /** @throws EncodeError if it has none of the methods. */
  constructor(logger: Logger, format: LogFormat | undefined, connectionName: string) {
    if (!LEVELS.some(level => typeof logger?.[level] === 'function')) {
      throw badValue('connect', 'logger', 'an object with methods debug, info, warn or error', logger)
    }
    this.#logger = logger
    this.#structured = format === undefined ? isLikePino(logger) : format === 'structured'
    this.#prefix = `[asyncamqp ${connectionName}] `
  }

  /** A writer to the same logger, for the connection of this name. */
  named(connectionName: string): LogWriter {
    return new LogWriter(this.#logger, this.#structured ? 'structured' : 'text', connectionName)
  }

  /** `fields` are for a structured logger. */
  write(level: LogLevel, text: string, fields: object): void {
    if (this.#structured) callSafely(() => this.#logger[level]?.(fields, text), this.#failed)
    else this.line(level, this.#prefix + text)
  }

  /** Write a text alone, whatever the format is. */
  line(level: LogLevel, text: string): void {
    callSafely(() => this.#logger[level]?.(text), this.#failed)
  }

  readonly #failed = (thrown: unknown): void => {
    if (this.#warned) return
    this.#warned = true
    emitWarning(`the logger of an AMQP connection fails: ${describeThrown(thrown).message}`)
  }
}

/** Of the loggers that take an object first, pino is the only one with `bindings`. */
function isLikePino(logger: Logger & { readonly child?: unknown; readonly bindings?: unknown }): boolean {
  return typeof logger.child === 'function' && typeof logger.bindings === 'function'
}
