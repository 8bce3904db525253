import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { guardedLogger } from '../../../src/connection/settings/guarded-logger.ts'
import { EncodeError, type Logger } from '../../../src/index.ts'

describe('a logger', () => {
  it('is called with what it is to log, by the methods that it has', () => {
    const lines: unknown[][] = []
    const own: Logger = { warn: (...line: unknown[]) => void lines.push(line) }
    const logger = guardedLogger(own)
    logger?.debug('nobody takes it')
    logger?.warn('text', 1)
    assert.deepEqual(lines, [['text', 1]])
  })

  it('is none without any of them', () => {
    assert.equal(guardedLogger(undefined), undefined)
    assert.throws(() => guardedLogger({}), EncodeError)
    assert.throws(() => guardedLogger({ debug: 'yes' } as never), EncodeError)
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
    guardedLogger(own)?.info('text')
    assert.deepEqual(own.lines, ['text'])
  })

  it('breaks nothing where it throws or rejects, which is said once', async () => {
    const warned = once(process, 'warning')
    const logger = guardedLogger({
      info: () => {
        throw Object.create(null)
      },
      warn: async () => {
        throw new Error('the disk is full')
      },
    })
    logger?.info('one')
    logger?.warn('two')
    const [warning] = await warned
    assert.match(warning.message, /^the logger of an AMQP connection fails: \[Object: null prototype\] {}$/)
  })
})
