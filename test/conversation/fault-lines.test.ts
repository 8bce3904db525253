import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { type ConnectOptions, connectInBackground, type Logger } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { packageRoot } from '../package/consumer-project.ts'
import { Recoverable } from '../support/agreeable-broker.ts'
import { FakeBroker, methodFrame } from '../support/fake-broker.ts'
import { turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** Times differ from run to run, and so do the numbers of attempts and channels. */
function comparable(line: string): string {
  return line.replaceAll(/\b[\d.]+ (?:ms|s)\b/g, '# s').replaceAll(/\b(attempt|channel) \d+/g, '$1 #')
}

class Log {
  readonly lines: string[] = []
  readonly logger: Logger = {
    info: () => {},
    warn: text => this.#add('warn', text),
    error: text => this.#add('error', text),
  }

  #add(level: string, text: string): void {
    this.lines.push(`${level}: ${text.replace('[asyncamqp orders] ', '')}`)
  }
}

async function open(options: ConnectOptions = {}): Promise<{ readonly the: Recoverable; readonly log: Log }> {
  const log = new Log()
  const { logger } = log
  const the = await Recoverable.open({
    ...{ host: 'rabbit-1', connectionName: 'orders', logger, onError: undefined, heartbeat: 0, ...options },
  })
  log.lines.splice(0)
  return { the, log }
}

/** What is logged while the next connections fail with `error` in `step`, or are treated by `prepare`. */
async function failing(
  { error, step = 'connect', attempts = 2 }: { error?: Error; step?: 'connect' | 'lookup' | 'tls'; attempts?: number },
  prepare: FakeBroker['prepare'] = () => {},
): Promise<Log> {
  const log = new Log()
  const clock = new VirtualClock()
  const broker = new FakeBroker()
  broker.prepare = prepare
  const early = connectInBackground({
    ...{ host: 'rabbit-1', connectionName: 'orders', logger: log.logger, clock, firstAttempts: attempts },
    createTransport: async (...given) => {
      given[3](step)
      if (error !== undefined) throw error
      return broker.createTransport(...given)
    },
  })
  await clock.until(early.waitClosed().catch(() => {}))
  return log
}

const close = (replyCode: number, replyText: string, classId = 0, methodId = 0) => ({
  replyCode,
  replyText,
  classId,
  methodId,
})

/** Makes a fault by its name in the document, and returns what it logged. */
const FAULTS: Readonly<Record<string, () => Promise<readonly (string | undefined)[]>>> = {
  'the broker is stopped, or an operator closes the connection': async () => {
    const { the, log } = await open()
    const text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    the.peer.send(methodFrame(0, methods.ConnectionClose, close(320, text)))
    await turn()
    return log.lines
  },
  'the broker is killed, or a proxy cuts the connection': async () => {
    const { the, log } = await open()
    the.peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    return log.lines
  },
  'the broker is frozen, or the network swallows everything': async () => {
    const { the, log } = await open({ heartbeat: 10 })
    await the.clock.advance(25_000)
    return [log.lines.find(line => line.includes('lost'))]
  },
  'nothing listens at the port': async () => {
    const error = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5672'), { code: 'ECONNREFUSED' })
    return (await failing({ error })).lines.slice(0, 1)
  },
  'the port takes connections, and nothing answers': async () => {
    const log = await failing({}, peer => peer.answers.set('protocol header', () => undefined))
    return log.lines.slice(0, 1)
  },
  'the name of the host is wrong': async () => {
    const error = Object.assign(new Error('getaddrinfo ENOTFOUND rabbit-1'), { code: 'ENOTFOUND' })
    return (await failing({ error, step: 'lookup' })).lines.slice(0, 1)
  },
  'the password is wrong': async () => {
    const text =
      'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.'
    const log = await failing({}, peer =>
      peer.answers.set('connection.start-ok', () => methodFrame(0, methods.ConnectionClose, close(403, text))),
    )
    return log.lines
  },
  'the virtual host does not exist': async () => {
    const log = await failing({}, peer =>
      peer.answers.set('connection.open', () =>
        methodFrame(0, methods.ConnectionClose, close(530, 'NOT_ALLOWED - vhost / not found', 10, 40)),
      ),
    )
    return log.lines
  },
  "the broker's certificate is not trusted": async () => {
    const error = Object.assign(new Error('self-signed certificate in certificate chain'), {
      code: 'SELF_SIGNED_CERT_IN_CHAIN',
    })
    return (await failing({ error, step: 'tls' })).lines
  },
  'the broker is short of memory': async () => {
    const { the, log } = await open()
    the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' }))
    await turn()
    return log.lines
  },
  'the queue of a consumer is deleted': async () => {
    const { the, log } = await open()
    const consumer = await the.protocol.consumer('paid', () => {})
    const { consumerTag = '' } = consumer.stats()
    the.peer.send(methodFrame(1, methods.BasicCancel, { consumerTag, noWait: true }))
    await turn()
    return log.lines
  },
  'a channel is closed for an error': async () => {
    const { the, log } = await open()
    await the.protocol.channel()
    the.peer.send(
      methodFrame(1, methods.ChannelClose, close(406, 'PRECONDITION_FAILED - unknown delivery tag 5', 60, 80)),
    )
    await turn()
    return log.lines
  },
  'bytes come that are not AMQP': async () => {
    const { the, log } = await open()
    the.peer.send(Buffer.from('HTTP/1.1 400 Bad Request'))
    await turn()
    return log.lines
  },
  'the recovery gives up': async () => {
    const { the, log } = await open({ recovery: { maxAttempts: 1 } })
    the.broker.prepare = () => {
      throw Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:5672'), { code: 'ECONNREFUSED' })
    }
    the.peer.transport.break(new Error('read ECONNRESET'))
    await the.clock.until(the.protocol.waitClosed().catch(() => {}))
    return log.lines.slice(-1)
  },
}

describe('The lines that the log has for a fault', () => {
  const text = readFileSync(join(packageRoot, 'docs/faults.md'), 'utf8')
  const section = text.slice(text.indexOf('## What the log says'))
  const rows = new Map(
    Array.from(section.matchAll(/^\| ([^|]+) \| `((?:warn|error): .*)` \|$/gm), ([, fault = '', line = '']) => [
      fault,
      line,
    ]),
  )
  const made: string[] = []
  after(() => assert.deepEqual([...rows.keys()], Object.keys(FAULTS), made.join('\n')))

  for (const [fault, make] of Object.entries(FAULTS)) {
    it(`are those of docs/faults.md when ${fault}`, async () => {
      const lines = await make()
      assert.equal(lines.length, 1, lines.join('\n'))
      made.push(`| ${fault} | \`${lines[0]}\` |`)
      assert.equal(comparable(lines[0] ?? ''), comparable(rows.get(fault) ?? ''))
    })
  }
})
