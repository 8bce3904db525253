import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { LogWriter } from '../../src/diagnostics/logger.ts'
import { EncodeError, type LogFormat, type Logger } from '../../src/index.ts'

/** A logger that keeps the arguments of its methods, and its writer. */
function kept(extra: object = {}, format?: LogFormat) {
  const lines: unknown[][] = []
  const keep = (...line: unknown[]): void => void lines.push(line)
  const logger = { info: keep, warn: keep, ...extra }
  return { lines, log: new LogWriter(logger, format, 'orders') }
}

describe('a logger', () => {
  it('is called by the methods that it has, with a text that names the connection', () => {
    const { lines, log } = kept()
    log.write('info', 'all is well', { event: 'x' })
    log.write('error', 'nobody takes it', { event: 'x' })
    log.line('debug', 'nobody takes it')
    log.line('warn', 'as it is')
    assert.deepEqual(lines, [['[asyncamqp orders] all is well'], ['as it is']])
  })

  it('gets an object first if it is like pino, or if the program says so', () => {
    const pino = { child: () => {}, bindings: () => ({}) }
    for (const { lines, log } of [kept(pino), kept({}, 'structured')]) {
      log.write('info', 'all is well', { event: 'x' })
      assert.deepEqual(lines, [[{ event: 'x' }, 'all is well']])
    }
    const { lines, log } = kept(pino, 'text')
    log.write('info', 'all is well', { event: 'x' })
    assert.deepEqual(lines, [['[asyncamqp orders] all is well']])
  })

  it('is asked once what it is like', () => {
    let asked = 0
    const { log } = kept({
      child: () => {},
      get bindings() {
        asked++
        return () => ({})
      },
    })
    // The test's own logger is a copy, whose making reads the getter.
    const before = asked
    log.write('info', 'one', {})
    log.write('info', 'two', {})
    assert.equal(asked, before)
  })

  it('is none without any of them', () => {
    for (const bad of [{}, { debug: 'yes' }, null, 'console']) {
      assert.throws(() => new LogWriter(bad as Logger, undefined, ''), EncodeError)
    }
  })

  it('may be of a class, whose methods need their object', () => {
    class Own {
      readonly #lines: string[] = []
      get lines(): readonly string[] {
        return this.#lines
      }
      info(line: string): void {
        this.#lines.push(line)
      }
    }
    const own = new Own()
    new LogWriter(own, undefined, '').line('info', 'text')
    assert.deepEqual(own.lines, ['text'])
  })

  it('breaks nothing if it throws or rejects, which is said once', async () => {
    const warned = once(process, 'warning')
    const log = new LogWriter(
      {
        info: () => {
          throw Object.create(null)
        },
        warn: async () => {
          throw new Error('the disk is full')
        },
      },
      undefined,
      '',
    )
    log.write('info', 'one', {})
    log.write('warn', 'two', {})
    const [warning] = await warned
    assert.match(warning.message, /^the logger of an AMQP connection fails: \[Object: null prototype\] {}$/)
  })
})
