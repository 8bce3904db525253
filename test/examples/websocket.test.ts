import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import * as asyncamqp from '../../src/index.ts'
import { packageRoot } from '../package/consumer-project.ts'
import { broker } from '../support/broker.ts'
import { uniqueName } from '../support/names.ts'
import { WebSocketRelay } from '../support/websocket-relay.ts'

const require = createRequire(import.meta.url)

const { findChromium } = (await import(pathToFileURL(join(packageRoot, 'scripts/chromium.mjs')).href)) as {
  findChromium(): string | undefined
}

/** The built package, and the packages that take the place of Node's modules, as ES modules of a page. */
function modules(): Map<string, string> {
  const own = readdirSync(join(packageRoot, 'dist')).filter(file => file.endsWith('.js'))
  const files = {
    ...Object.fromEntries(own.map(file => [`./${file}`, `dist/${file}`])),
    ...{ buffer: 'buffer/', events: 'events/', 'base64-js': 'base64-js', ieee754: 'ieee754' },
  }
  const texts = Object.entries(files).map(([name, file]) => {
    const path = file.startsWith('dist/') ? join(packageRoot, file) : require.resolve(file)
    return `${JSON.stringify(name)}: (module, exports, require) => {${readFileSync(path, 'utf8')}\n}`
  })
  const names = Object.keys(asyncamqp)
  return new Map([
    [
      '/loader.js',
      `const modules = {\n${texts.join(',\n')}\n}
      const loaded = {}
      export function require(name) {
        if (loaded[name] === undefined) {
          loaded[name] = { exports: {} }
          modules[name](loaded[name], loaded[name].exports, require)
        }
        return loaded[name].exports
      }`,
    ],
    ['/asyncamqp.js', `import { require } from '/loader.js'\nexport const { ${names} } = require('./index.js')`],
    ['/buffer.js', "import { require } from '/loader.js'\nexport const { Buffer } = require('buffer')"],
    [
      '/websocket-transport.js',
      readFileSync(new URL('../../examples/websocket-transport.js', import.meta.url), 'utf8'),
    ],
  ])
}

const IMPORTS = { asyncamqp: '/asyncamqp.js', 'node:buffer': '/buffer.js' }

/** `program` in a page, which posts its result. */
function page(program: string): string {
  return `<!doctype html><script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
  <script type="module">
    const post = result => fetch('/', { method: 'POST', body: JSON.stringify(result) })
    addEventListener('error', event => post({ error: event.message }))
    try {
      const { connect, Message } = await import('asyncamqp')
      const { webSocketTransport } = await import('/websocket-transport.js')
      const createTransport = webSocketTransport('ws://' + location.host)
      ${program}
    } catch (error) { post({ error: String(error) }) }
  </script>`
}

const chromium = findChromium()

describe('The WebSocket transport of the examples', { timeout: 120_000 }, () => {
  const skip = chromium === undefined && 'there is no Chromium: npm test -- --install installs it, as root on Debian'

  it('declares, publishes with confirms and consumes in Chromium', { skip }, async () => {
    assert.ok(chromium !== undefined)
    const { hostname, port, username, password, pathname } = new URL(broker.url)
    const login = { login: username || 'guest', password: password || 'guest' }
    const virtualhost = decodeURIComponent(pathname.slice(1)) || '/'
    const queue = uniqueName('websocket')
    const program = `
      const protocol = await connect({ createTransport, ...${JSON.stringify({ ...login, virtualhost })} })
      await protocol.queueDeclare('${queue}', { exclusive: true })
      await Promise.all(Array.from({ length: 1000 }, (_, i) => protocol.publish('message ' + i, '', '${queue}')))
      const large = new Uint8Array(3_000_000).fill(7)
      await protocol.publish(large, '', '${queue}')
      let text = 0
      let size = 0
      for await (const message of await protocol.consumer('${queue}')) {
        if (!(message instanceof Message)) throw new Error('no Message')
        if (message.body.length > 100) size = message.body.filter(octet => octet === 7).length
        else text += message.text() === 'message ' + text ? 1 : 0
        if (size > 0) break
      }
      await protocol.close()
      post({ text, size, state: protocol.state })`
    await using relay = await WebSocketRelay.open(
      new Map([...modules(), ['/', page(program)]]),
      hostname.replace(/^\[|\]$/g, ''),
      Number(port) || 5672,
    )
    const result = relay.result()
    const profile = mkdtempSync(join(tmpdir(), 'asyncamqp-chromium-'))
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run']
    const browser = spawn(
      chromium,
      [...flags, `--user-data-dir=${profile}`, '--remote-debugging-port=0', `http://127.0.0.1:${relay.port}/`],
      { stdio: 'ignore', detached: true },
    )
    try {
      assert.deepEqual(JSON.parse(await result), { text: 1000, size: 3_000_000, state: 'closed' })
    } finally {
      // The group: Chromium has several processes.
      if (browser.pid !== undefined) process.kill(-browser.pid, 'SIGKILL')
      rmSync(profile, { recursive: true, force: true, maxRetries: 10 })
    }
  })
})
