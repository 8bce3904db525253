import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { ConsumerProject, packageRoot } from './consumer-project.ts'
import { publicNames } from './public-names.ts'

const sources = join(packageRoot, 'test/package')
/** The public names of each entry. */
const frozen = {
  asyncamqp: readFrozen('exports.txt'),
  'asyncamqp/testing': readFrozen('testing-exports.txt'),
  'asyncamqp/codec': readFrozen('codec-exports.txt'),
  'asyncamqp/opentelemetry': readFrozen('opentelemetry-exports.txt'),
}

/** The programs that use every public name, by the entry. */
const programsOf = [
  ['consumer.ts', 'typed-consumer.ts', 'diagnostics-consumer.ts'],
  ['testing-consumer.ts'],
  ['codec-consumer.ts'],
  ['opentelemetry-consumer.ts'],
] as const
const programs = programsOf.flat()

function readFrozen(file: string): readonly string[] {
  return readFileSync(join(sources, file), 'utf8').trimEnd().split('\n')
}

const COMMONJS_CONSUMER = `
import asyncamqp = require('asyncamqp')
import { type AmqpProtocol, ConnectionLostError } from 'asyncamqp'

export async function declare(url: string): Promise<string> {
  const protocol: AmqpProtocol = await asyncamqp.connect(url)
  const channel = await protocol.channel()
  const { queue } = await channel.queueDeclare()
  await protocol.close()
  return queue
}

export function isLost(error: unknown): error is ConnectionLostError {
  return error instanceof ConnectionLostError
}
`

describe('The package', () => {
  let project: ConsumerProject
  before(async () => {
    project = await ConsumerProject.create()
    for (const name of [...programs, 'misuse.ts']) {
      await project.copy(join(sources, 'consumer', name), name)
    }
  })
  after(() => project[Symbol.asyncDispose]())

  it('holds its code, its declarations, its README and the licences, and nothing else', async () => {
    const files = Array.from((await project.files('node_modules/asyncamqp')).keys())
    const besides = files.filter(file => !/^dist\/.*\.d\.m?ts$/.test(file)).sort()
    assert.deepEqual(besides, [
      'LICENSE',
      'README.md',
      'dist/THIRD-PARTY-LICENSES.txt',
      'dist/batch-runs.js',
      'dist/client.js',
      'dist/codec.js',
      'dist/codec.mjs',
      'dist/core.js',
      'dist/failure-copies.js',
      'dist/index.js',
      'dist/index.mjs',
      'dist/opentelemetry.js',
      'dist/opentelemetry.mjs',
      'dist/package.json',
      'dist/rpc.js',
      'dist/stored-offsets.js',
      'dist/testing.js',
      'dist/testing.mjs',
      'dist/token-renewal.js',
      'dist/tracing-transport.js',
      'dist/typed.js',
      'package.json',
    ])
  })

  it('declares what is public, without files for the inside alone', async () => {
    const names = new Set(
      Object.values(frozen)
        .flat()
        .map(name => name.replace('type ', '')),
    )
    for (const file of (await project.declarations()).keys()) {
      const declared = publicNames(join(project.folder, 'node_modules/asyncamqp/dist', file))
      assert.ok(
        Array.from(declared).some(name => names.has(name)),
        `nothing of ${file} is public`,
      )
    }
  })

  it('needs the types of Node alone, and those of the API of OpenTelemetry for its own entry', async () => {
    for (const [file, text] of await project.declarations()) {
      const code = text.replaceAll(/^ *\*.*$/gm, '')
      const packages = Array.from(code.matchAll(/\b(?:from |import\()'([^.'][^']*)'/g), match => match[1] ?? '')
      const mayUse = file.startsWith('opentelemetry/') ? /^node:|^@opentelemetry\/api$/ : /^node:/
      for (const name of packages) assert.match(name, mayUse, file)
    }
  })

  it('has the licence of every package that its code has parts of', async () => {
    const ours = [
      'index.js',
      'client.js',
      'batch-runs.js',
      'failure-copies.js',
      'rpc.js',
      'stored-offsets.js',
      'token-renewal.js',
      'tracing-transport.js',
      'core.js',
      'testing.js',
      'codec.js',
    ]
    const files = [...ours, 'opentelemetry.js']
    const codes = await Promise.all(files.map(file => project.read(`node_modules/asyncamqp/dist/${file}`)))
    const code = codes.join('')
    const parts = Array.from(code.matchAll(/(?:^\/\/ (?!src\/)|\/\/! )(\S+)$/gm), match => match[1])
    const licenses = await project.read('node_modules/asyncamqp/dist/THIRD-PARTY-LICENSES.txt')
    assert.deepEqual(parts, ['buffer-layout'])
    assert.match(licenses, /parts of buffer-layout 1\.2\.2 .*\n\nThe MIT License \(MIT\)\n\nCopyright \(c\)/)
  })

  it('takes less than 750 kB when installed', async () => {
    const sizes = await project.files('node_modules')
    let bytes = 0
    for (const [file, size] of sizes) if (!file.startsWith('.')) bytes += size
    assert.ok(bytes < 750_000, `${bytes} bytes`)
  })

  it('loads less than 350 kB of code by its main entry', async () => {
    await project.write(
      'loaded.cjs',
      [
        "require('asyncamqp')",
        'const files = Object.keys(require.cache).filter(file => file !== __filename)',
        "console.log(files.map(file => require('node:path').basename(file)).sort().join())",
        "console.log(files.reduce((bytes, file) => bytes + require('node:fs').statSync(file).size, 0))",
      ].join('\n'),
    )
    const [files, bytes] = (await project.node(['loaded.cjs'])).stdout.trimEnd().split('\n')
    assert.equal(files, 'client.js,core.js,index.js')
    assert.ok(Number(bytes) < 350_000, `${bytes} bytes`)
  })

  it('ends no line within a string, which a bundler that indents would change', () => {
    const modules = join(project.folder, 'node_modules', 'asyncamqp', 'dist')
    const files = readdirSync(modules).filter(file => /\.m?js$/.test(file))
    assert.ok(files.includes('core.js') && files.includes('testing.js'))
    for (const file of files) assert.doesNotMatch(readFileSync(join(modules, file), 'utf8'), /\\\n/, file)
  })

  it('shows the statement that threw with an error that ends the process', async () => {
    const program = "require('asyncamqp/testing').createMessage('', { properties: { type: 'paid' } })"
    const { exitCode, stderr } = await project.node(['-e', program])
    assert.equal(exitCode, 1)
    const [place = '', statement = ''] = stderr.split('\n')
    assert.match(place, /core\.js:\d+$/)
    assert.match(statement, /\bthrow new EncodeError\(/)
    assert.ok(statement.length < 300, statement)
  })

  // To look each of them up in a hash table took a third of a publish's time.
  it('has what its files take from each other if V8 finds it at once', async () => {
    const modules = join(project.folder, 'node_modules', 'asyncamqp', 'dist')
    for (const file of ['core.js', 'client.js']) {
      const program = `console.log(%HasFastProperties(require(${JSON.stringify(join(modules, file))})))`
      const { stdout } = await project.node(['--allow-natives-syntax', '-e', program])
      assert.equal(stdout.trim(), 'true', file)
    }
  })

  it('brings no other package', async () => {
    const files = Array.from((await project.files('node_modules')).keys())
    const packages = new Set(files.filter(file => !file.startsWith('.')).map(file => file.split('/')[0]))
    assert.deepEqual([...packages].sort(), ['asyncamqp'])
  })

  it('is imported by an ES module', async () => {
    await project.write('import.js', "import { connect } from 'asyncamqp'\nconsole.log(typeof connect)\n")
    assert.deepEqual(await project.node(['import.js']), { exitCode: 0, stdout: 'function\n', stderr: '' })
  })

  it('is required by a CommonJS module without loading an ES module, and shares everything with one that imports it', async () => {
    await project.write(
      'require.cjs',
      [
        "const asyncamqp = require('asyncamqp')",
        "import('asyncamqp').then(imported => {",
        '  const names = Object.keys(asyncamqp)',
        '  const same = names.filter(name => imported[name] === asyncamqp[name])',
        '  console.log(names.length > 40, same.length === names.length, Object.keys(imported).length === names.length)',
        '})',
      ].join('\n'),
    )
    // Node 20 and some loaders, Jest's among them, cannot require an ES module.
    const noModules = process.allowedNodeEnvironmentFlags.has('--no-experimental-require-module')
    const flags = noModules ? ['--no-experimental-require-module'] : []
    const { exitCode, stdout, stderr } = await project.node([...flags, 'require.cjs'])
    assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: 'true true true\n', stderr: '' })
  })

  it('shows its version in package.json', async () => {
    await project.write(
      'version.cjs',
      "const { name, version } = require('asyncamqp/package.json')\nconsole.log(name, version)\n",
    )
    const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as { version: string }
    assert.equal((await project.node(['version.cjs'])).stdout, `asyncamqp ${version}\n`)
  })

  it('keeps its inner files to itself', async () => {
    await project.write('inner.js', "import 'asyncamqp/dist/errors.js'\n")
    const { exitCode, stderr } = await project.node(['inner.js'])
    assert.equal(exitCode, 1)
    assert.match(stderr, /ERR_PACKAGE_PATH_NOT_EXPORTED/)
  })

  it('gives its classes and functions the names they are exported by, which stack traces show', async () => {
    await project.write(
      'own-names.js',
      [
        "import * as asyncamqp from 'asyncamqp'",
        "const named = Object.entries(asyncamqp).filter(([, value]) => typeof value === 'function')",
        'const others = named.filter(([name, value]) => value.name !== name)',
        'console.log(named.length > 0, others.map(([name, value]) => [name, value.name]))',
      ].join('\n'),
    )
    assert.equal((await project.node(['own-names.js'])).stdout, 'true []\n')
  })

  for (const [entry, names] of Object.entries(frozen)) {
    it(`exports from ${entry} the names that are written down, and no others`, async () => {
      await project.write(
        'names.js',
        `import * as all from '${entry}'\nconsole.log(JSON.stringify(Object.keys(all)))\n`,
      )
      const values = JSON.parse((await project.node(['names.js'])).stdout) as string[]
      const file = `${entry.split('/')[1] ?? 'index'}.d.ts`
      const all = publicNames(join(project.folder, 'node_modules/asyncamqp/dist', file))
      const types = Array.from(all).filter(name => !values.includes(name))
      assert.deepEqual([...values.sort(), ...types.sort().map(name => `type ${name}`)], names)
    })
  }

  it('has a broker for tests that is not loaded with it, and shares its classes', async () => {
    await project.write(
      'testing.cjs',
      [
        "const { connect, Message, TimeoutError } = require('asyncamqp')",
        "console.log(Object.keys(require.cache).some(file => file.endsWith('testing.js')))",
        "const { createMessage, startBroker } = require('asyncamqp/testing')",
        'startBroker().then(async broker => {',
        '  const protocol = await connect(broker.inMemory)',
        "  await protocol.queueDeclare('q', { durable: true })",
        "  await protocol.publish('body', '', 'q')",
        "  const error = await broker.queue('q').deleted({ timeout: 1 }).catch(error => error)",
        "  console.log(broker.queue('q').ready.length, error instanceof TimeoutError, createMessage('') instanceof Message)",
        '  await protocol.close()',
        '  await broker[Symbol.asyncDispose]()',
        '})',
      ].join('\n'),
    )
    const { exitCode, stdout, stderr } = await project.node(['testing.cjs'])
    assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: 'false\n1 true true\n', stderr: '' })
  })

  it('has a codec that is loaded without the client, and shares its classes', async () => {
    await project.write(
      'codec.cjs',
      [
        "const codec = require('asyncamqp/codec')",
        "const files = Object.keys(require.cache).map(file => require('node:path').basename(file))",
        'console.log(files.sort().join())',
        "const { EncodeError, Properties } = require('asyncamqp')",
        'console.log(codec.EncodeError === EncodeError, codec.Properties === Properties)',
      ].join('\n'),
    )
    const { exitCode, stdout, stderr } = await project.node(['codec.cjs'])
    const output = 'codec.cjs,codec.js,core.js\ntrue true\n'
    assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: output, stderr: '' })
  })

  it('has spans and metrics by an entry that loads the API of OpenTelemetry, and nothing of the client', async () => {
    await project.write(
      'opentelemetry.cjs',
      [
        "const { instrument } = require('asyncamqp/opentelemetry')",
        "const files = Object.keys(require.cache).filter(file => !file.includes('@opentelemetry'))",
        "console.log(files.map(file => require('node:path').basename(file)).sort().join())",
        "import('asyncamqp/opentelemetry').then(imported => console.log(imported.instrument === instrument))",
        "const { version } = require('asyncamqp/package.json')",
        'console.log(instrument().instrumentationVersion === version)',
      ].join('\n'),
    )
    const { exitCode, stdout, stderr } = await project.node(['opentelemetry.cjs'])
    const output = 'opentelemetry.cjs,opentelemetry.js\ntrue\ntrue\n'
    assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 0, stdout: output, stderr: '' })
  })

  it('has every public name used by the programs that are compiled below', () => {
    for (const [i, names] of Object.values(frozen).entries()) {
      const texts = programsOf[i]?.map(program => readFileSync(join(sources, 'consumer', program), 'utf8')) ?? []
      const words = new Set(texts.join('\n').match(/\w+/g))
      const unused = names.map(name => name.replace('type ', '')).filter(name => !words.has(name))
      assert.deepEqual(unused, [])
    }
  })

  for (const resolution of ['nodenext', 'bundler'] as const) {
    it(`compiles in a strict program that resolves modules as ${resolution} does`, async () => {
      assert.equal(await project.compile(resolution, programs), '')
    })

    it(`refuses wrong uses in a program that resolves modules as ${resolution} does`, async () => {
      assert.equal(await project.compile(resolution, ['misuse.ts']), '')
    })
  }

  // TypeScript 6 and later look at no types but those that are named.
  it('brings the types of Node into a program whose options name no types', async () => {
    const options = { noEmit: true, types: [] }
    assert.equal(await project.compile('nodenext', programs, options), '')
  })

  it('compiles in a CommonJS program', async () => {
    await project.write('consumer.cts', COMMONJS_CONSUMER)
    assert.equal(await project.compile('nodenext', ['consumer.cts']), '')
  })
})
