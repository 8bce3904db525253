import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { describe, it } from 'node:test'
import { compileFunction, createContext } from 'node:vm'
import type * as asyncamqp from '../../src/index.ts'
import { startBroker } from '../../src/testing/index.ts'
import { packageRoot } from './consumer-project.ts'

const require = createRequire(import.meta.url)

/** Node's would keep the process alive. */
class MessageChannel {
  readonly port1: { onmessage?: () => void } = {}
  readonly port2 = { postMessage: () => setImmediate(() => this.port1.onmessage?.()) }
}

/** What a browser has that is not part of the language. */
const WEB = {
  ...{ AbortController, AbortSignal, DOMException, TextDecoder, TextEncoder, URL, URLSearchParams },
  ...{ MessageChannel, clearTimeout, console, crypto, performance, queueMicrotask, setTimeout },
}

/** The built package in a realm like that of a page, with the packages that bundlers put in the place of Node's. */
class Page {
  readonly required = new Set<string>()
  readonly #realm = createContext({ ...WEB })
  readonly #modules = new Map<string, { exports: object }>()

  load(file: string): object {
    const known = this.#modules.get(file)
    if (known !== undefined) return known.exports
    const module = { exports: {} }
    this.#modules.set(file, module)
    const text = readFileSync(file, 'utf8')
    const run = compileFunction(text, ['module', 'exports', 'require'], { parsingContext: this.#realm, filename: file })
    run(module, module.exports, (name: string) => this.#require(name, file))
    return module.exports
  }

  #require(name: string, from: string): object {
    if (name.startsWith('.')) return this.load(resolve(dirname(from), name))
    this.required.add(name)
    assert.doesNotMatch(name, /^node:/)
    return this.load(require.resolve(`${name}/`))
  }
}

function loadPackage(): typeof asyncamqp & { readonly page: Page } {
  const page = new Page()
  return Object.assign({ page }, page.load(join(packageRoot, 'dist/index.js')) as typeof asyncamqp)
}

describe('The package in a browser', { timeout: 60_000 }, () => {
  it('needs no more than the packages buffer and events', () => {
    const { page } = loadPackage()
    assert.deepEqual([...page.required].sort(), ['base64-js', 'buffer', 'events', 'ieee754'])
  })

  it('publishes, consumes and calls over a transport of the program', async () => {
    const { page, connect, EncodeError, Message } = loadPackage()
    const { Buffer: PageBuffer } = page.load(require.resolve('buffer/')) as typeof import('node:buffer')
    await using broker = await startBroker()
    const { createTransport, ...where } = broker.inMemory
    const protocol = await connect({
      ...where,
      createTransport: (target, handler, ...others) => {
        assert.ok(createTransport !== undefined)
        const { prototype } = PageBuffer
        const onBytes = (bytes: Buffer, length: number) => {
          handler.onBytes(Object.setPrototypeOf(new Uint8Array(bytes.subarray(0, length)), prototype), length)
        }
        const rest = { onDrain: () => handler.onDrain(), onEnd: () => handler.onEnd() }
        return createTransport(target, { ...rest, onBytes, onClose: error => handler.onClose(error) }, ...others)
      },
    })
    const [connection] = broker.connections
    assert.equal(connection?.name, 'browser')

    const { queue } = await protocol.queueDeclare('orders')
    for (const body of ['first', '\u00e9\u{1f980}', { id: 1 }]) {
      await protocol.publish(body, '', queue, {
        messageId: 'one',
        timestamp: new Date(1e12),
        headers: { big: 1n, text: 'ü' },
      })
    }
    const consumer = await protocol.consumer(queue)
    const texts: string[] = []
    for await (const message of consumer) {
      assert.ok(message instanceof Message)
      assert.deepEqual({ ...message.properties.headers }, { big: 1, text: 'ü' })
      assert.equal(message.properties.timestamp?.getTime(), 1e12)
      if (texts.push(message.text()) === 3) break
    }
    assert.deepEqual(texts, ['first', '\u00e9\u{1f980}', '{"id":1}'])

    await protocol.queueDeclare('double')
    await protocol.rpcServer('double', request => String(Number(request.text()) * 2))
    const client = await protocol.rpcClient()
    assert.equal((await client.call('double', '21')).text(), '42')
    const error = await protocol.publish(new Map(), '', queue).catch(thrown => thrown)
    assert.ok(error instanceof EncodeError)
    await protocol.close()
  })

  it('says what to do if there are no sockets', async () => {
    const { connect, ConnectionFailedError } = loadPackage()
    const error = await connect('amqp://localhost').catch(thrown => thrown)
    assert.ok(error instanceof ConnectionFailedError)
    assert.match(error.message, /this runtime has no node:net: give "createTransport" to connect\(\)/)
  })
})
