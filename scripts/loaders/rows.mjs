import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../broker/home.mjs'
import { runtimes } from '../runtimes/runtimes.mjs'

/**
 * The programs that load the package, a row each. Versions are exact: a row changes when somebody changes it.
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {boolean} [quick] CI runs it
 * @property {readonly string[]} packages installed beside the packed package
 * @property {Readonly<Record<string, unknown>>} [packageJson]
 * @property {Readonly<Record<string, string>>} files
 * @property {readonly (readonly string[])[]} commands each must end with 0
 */

const document = readFileSync(join(projectRoot, 'docs/testing.md'), 'utf8')

/**
 * The test that docs/testing.md shows under a heading.
 *
 * @param {string} heading
 */
function documented(heading) {
  const [, block] = new RegExp(`^## ${heading}\n\n\`\`\`js\n(.*?)^\`\`\`$`, 'ms').exec(document) ?? []
  if (block === undefined) throw new Error(`docs/testing.md has no block under '${heading}'.`)
  return block
}

/** What every program does: a connection attempt that fails, and whose error is the class that was loaded. */
const body = `
export async function check() {
  const error = await connect('amqp://127.0.0.1:1', { recovery: false, connectTimeout: 5000 }).then(() => undefined, error => error)
  if (!(error instanceof ConnectionFailedError) || error.code !== 'CONNECTION_FAILED' || error.name !== 'ConnectionFailedError') {
    throw new Error('not the error that was to come: ' + String(error))
  }
  return 'loaded'
}
`
const modular = `import { ConnectionFailedError, connect } from 'asyncamqp'\n${body}`
const common = `const { ConnectionFailedError, connect } = require('asyncamqp')\n${body.replace('export ', '')}`
/** The broker for tests, whose errors and messages are of the classes of the main entry. */
const testing = `
async function checkTesting() {
  const broker = await startBroker()
  const protocol = await connect(broker.inMemory)
  await protocol.queueDeclare('q')
  await protocol.publish('body', '', 'q')
  const error = await broker.queue('q').deleted({ timeout: 1 }).catch(error => error)
  if (!(error instanceof TimeoutError) || !(createMessage('') instanceof Message)) throw new Error('other classes')
  if (broker.queue('q').ready.length !== 1) throw new Error('the message did not arrive')
  await protocol.close()
  await broker[Symbol.asyncDispose]()
  return 'tested'
}
checkTesting().then(console.log)
`
const modularTesting = `import { connect, Message, TimeoutError } from 'asyncamqp'
import { createMessage, startBroker } from 'asyncamqp/testing'
${testing}`
const commonTesting = `const { connect, Message, TimeoutError } = require('asyncamqp')
const { createMessage, startBroker } = require('asyncamqp/testing')
${testing}`
/** A message whose handler runs within its span: by the SDK of OpenTelemetry, and the broker for tests. */
const traced = `
async function checkTraces() {
  const exporter = new InMemorySpanExporter()
  new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register()
  instrument()
  const broker = await startBroker()
  const protocol = await connect(broker.url)
  await protocol.queueDeclare('q')
  const inHandler = new Promise(resolve => {
    protocol.consumer('q', async () => {
      await undefined
      resolve(trace.getActiveSpan()?.spanContext().spanId)
    })
  })
  await protocol.publish('x', '', 'q')
  const id = await inHandler
  await protocol.close()
  const [sent, handled] = ['publish q', 'process q'].map(name => exporter.getFinishedSpans().find(span => span.name === name))
  if (handled.spanContext().spanId !== id) throw new Error('the handler ran outside of its span')
  if (handled.parentSpanContext.spanId !== sent.spanContext().spanId) throw new Error('two traces')
  process.exit(0)
}
checkTraces()
`
const tracedImports = [
  ['{ trace }', '@opentelemetry/api'],
  ['{ InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor }', '@opentelemetry/sdk-trace-node'],
  ['{ connect }', 'asyncamqp'],
  ['{ instrument }', 'asyncamqp/opentelemetry'],
  ['{ startBroker }', 'asyncamqp/testing'],
]
const modularTraced = tracedImports.map(([names, from]) => `import ${names} from '${from}'\n`).join('') + traced
const commonTraced = tracedImports.map(([names, from]) => `const ${names} = require('${from}')\n`).join('') + traced
const sdk = ['@opentelemetry/api@1.9.1', '@opentelemetry/sdk-trace-node@2.12.1']
const print = 'check().then(console.log)\n'

const test = "\ntest('loads', async () => { expect(await check()).toBe('loaded') })\n"
/** Both ways in one program: they share one instance of everything. */
const shared = `
for (const [required, importing] of [
  [require('asyncamqp'), import('asyncamqp')],
  [require('asyncamqp/testing'), import('asyncamqp/testing')],
  [require('asyncamqp/codec'), import('asyncamqp/codec')],
]) {
  importing.then(imported => {
    const other = Object.keys(required).filter(name => required[name] !== imported[name])
    if (other.length > 0) throw new Error('two instances of ' + other)
    console.log('one instance')
  })
}
`

/** @param {string} version */
const jest = version => ({
  name: `jest-${version.split('.')[0]}`,
  packages: [`jest@${version}`],
  files: { 'load.test.js': common + test, 'document.test.js': documented('With Jest') },
  commands: [['npx', 'jest']],
})

/** @param {string} version */
const typescript = version => ({
  name: `typescript-${version}`,
  packages: [`typescript@${version}`, '@types/node@20.19.43'],
  files: {
    'modular.mts': typed,
    'common.cts': typed,
    'bundled.ts': typed,
    ...Object.fromEntries(
      [
        ['node16', 'node16', ['modular.mts', 'common.cts']],
        ['nodenext', 'nodenext', ['modular.mts', 'common.cts']],
        ['bundler', 'esnext', ['bundled.ts']],
      ].map(([moduleResolution, module, files]) => [
        `tsconfig.${moduleResolution}.json`,
        JSON.stringify({
          compilerOptions: {
            ...{ module, moduleResolution, target: 'es2022', lib: ['es2022'], types: ['node'] },
            ...{ strict: true, noEmit: true, skipLibCheck: false, exactOptionalPropertyTypes: true },
          },
          files,
        }),
      ]),
    ),
  },
  commands: ['node16', 'nodenext', 'bundler'].map(each => ['npx', 'tsc', '-p', `tsconfig.${each}.json`]),
})

const typed = `
import { connect, EncodeError, type AmqpProtocol, type Message } from 'asyncamqp'
import { type Frame, FrameReader } from 'asyncamqp/codec'
import { startBroker, type Broker } from 'asyncamqp/testing'

export async function consume(url: string): Promise<number> {
  const protocol: AmqpProtocol = await connect(url)
  const { queue } = await protocol.queueDeclare('orders', { arguments: { 'x-queue-type': 'quorum' } })
  const consumer = await protocol.consumer(queue)
  let count = 0
  for await (const message of consumer) {
    const one: Message = message
    count += one.body.length
    break
  }
  await protocol.close()
  return count
}

export async function consumeInTest(): Promise<number> {
  const broker: Broker = await startBroker({ release: '4.3' })
  return consume(broker.url)
}

export function queueOf(chunk: Uint8Array): string | undefined {
  const frame: Frame | undefined = new FrameReader().push(chunk).read()
  return frame?.type === 'method' && frame.name === 'queue.declare' ? frame.args.queueName : undefined
}

export const isEncodeError = (error: unknown): error is EncodeError => error instanceof EncodeError
`

const webpackConfig = `
module.exports = [
  { output: { library: { type: 'commonjs2' }, filename: 'out.cjs' } },
  { output: { library: { type: 'module' }, module: true, filename: 'out.mjs' }, experiments: { outputModule: true } },
].map(each => ({ mode: 'production', target: 'node20', entry: './program.mjs', ...each }))
`

/** An ES module has no `require`, by which a bundled CommonJS module loads what is Node's. */
const requireBanner =
  "--banner:js=import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);"

/** @type {readonly Row[]} */
export const rows = [
  {
    name: 'node',
    quick: true,
    packages: [],
    files: { 'modular.mjs': modular + print, 'common.cjs': common + print, 'shared.cjs': shared },
    commands: [
      ['node', 'modular.mjs'],
      ['node', 'common.cjs'],
      ['node', 'shared.cjs'],
    ],
  },
  {
    name: 'node-testing',
    quick: true,
    packages: [],
    files: { 'modular.mjs': modularTesting, 'common.cjs': commonTesting },
    commands: [
      ['node', 'modular.mjs'],
      ['node', 'common.cjs'],
    ],
  },
  {
    name: 'node-opentelemetry',
    quick: true,
    packages: sdk,
    files: { 'modular.mjs': modularTraced, 'common.cjs': commonTraced },
    commands: [
      ['node', 'modular.mjs'],
      ['node', 'common.cjs'],
    ],
  },
  jest('29.7.0'),
  { ...jest('30.5.2'), quick: true },
  {
    name: 'ts-jest',
    packages: ['jest@29.7.0', 'ts-jest@29.4.15', 'typescript@5.9.3', '@types/jest@29.5.14', '@types/node@20.19.43'],
    files: {
      'load.test.ts': modular + test,
      'jest.config.js': "module.exports = { preset: 'ts-jest' }\n",
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          ...{ module: 'node16', moduleResolution: 'node16', target: 'es2022', strict: true, isolatedModules: true },
          ...{ types: ['node', 'jest'], lib: ['es2022'] },
        },
      }),
    },
    commands: [['npx', 'jest']],
  },
  {
    name: 'vitest',
    packages: ['vitest@3.2.4'],
    files: {
      'load.test.js': `import { expect, test } from 'vitest'\n${modular}${test}`,
      'document.test.js': documented('With Vitest'),
    },
    commands: [['npx', 'vitest', 'run']],
  },
  {
    name: 'tsx',
    quick: true,
    packages: ['tsx@4.23.15'],
    files: { 'modular.mts': modular + print, 'common.cts': modular + print },
    commands: [
      ['npx', 'tsx', 'modular.mts'],
      ['npx', 'tsx', 'common.cts'],
    ],
  },
  {
    name: 'esbuild',
    quick: true,
    packages: ['esbuild@0.28.2'],
    files: { 'program.mjs': modular + print },
    commands: ['esm', 'cjs'].flatMap(format =>
      [[], ['--minify']].flatMap(minify => {
        const out = `out.${format === 'esm' ? 'mjs' : 'cjs'}`
        const options = ['--bundle', '--platform=node', `--format=${format}`, `--outfile=${out}`, ...minify]
        return [
          ['npx', 'esbuild', 'program.mjs', ...options, ...(format === 'esm' ? [requireBanner] : [])],
          ['node', out],
        ]
      }),
    ),
  },
  {
    name: 'rollup',
    quick: true,
    packages: ['rollup@4.68.8', '@rollup/plugin-commonjs@29.0.3', '@rollup/plugin-node-resolve@16.0.3'],
    files: { 'program.mjs': modular + print },
    commands: ['es', 'cjs'].flatMap(format => {
      const out = `out.${format === 'es' ? 'mjs' : 'cjs'}`
      return [
        ['npx', 'rollup', 'program.mjs', '-p', 'commonjs', '-p', 'node-resolve', '-f', format, '-o', out],
        ['node', out],
      ]
    }),
  },
  {
    name: 'webpack',
    packages: ['webpack@5.113.0', 'webpack-cli@7.3.1'],
    files: { 'program.mjs': modular + print, 'webpack.config.cjs': webpackConfig },
    commands: [
      ['npx', 'webpack', '--config', 'webpack.config.cjs'],
      ['node', 'dist/out.cjs'],
      ['node', 'dist/out.mjs'],
    ],
  },
  {
    name: 'nest',
    packages: [
      ...[
        '@nestjs/cli@11.0.14',
        '@nestjs/core@11.1.9',
        '@nestjs/common@11.1.9',
        'reflect-metadata@0.2.2',
        'rxjs@7.8.2',
      ],
      ...['typescript@5.9.3', '@types/node@20.19.43'],
    ],
    files: {
      'nest-cli.json': JSON.stringify({ collection: '@nestjs/schematics', sourceRoot: 'src' }),
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          ...{ module: 'commonjs', target: 'es2022', outDir: 'dist', strict: true, esModuleInterop: true },
          ...{ emitDecoratorMetadata: true, experimentalDecorators: true, types: ['node'], rootDir: 'src' },
        },
        include: ['src'],
      }),
      'src/main.ts': `import 'reflect-metadata'
import { Injectable, Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { type AmqpProtocol, ConnectionFailedError, connect } from 'asyncamqp'
${body}
@Injectable()
export class Broker {
  protocol: AmqpProtocol | undefined
  check = check
}
@Module({ providers: [Broker] })
class AppModule {}
async function main(): Promise<void> {
  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error'] })
  console.log(await app.get(Broker).check())
  await app.close()
}
void main()
`,
    },
    commands: [
      ['npx', 'nest', 'build'],
      ['node', 'dist/main.js'],
    ],
  },
  ...['5.2.2', '5.4.5', '5.6.3', '5.8.3', '5.9.3', '6.0.3', '7.0.2'].map(typescript),
  {
    name: 'bun',
    packages: [`bun@${runtimes.bun.version}`, ...sdk],
    files: { 'modular.mjs': modular + print, 'common.cjs': common + print, 'traced.mjs': modularTraced },
    commands: [
      ['npx', 'bun', 'modular.mjs'],
      ['npx', 'bun', 'common.cjs'],
      ['npx', 'bun', 'traced.mjs'],
    ],
  },
  {
    name: 'deno',
    packages: [`deno@${runtimes.deno.version}`, ...sdk],
    files: { 'modular.mjs': modular + print, 'traced.mjs': modularTraced },
    commands: ['modular.mjs', 'traced.mjs'].map(file => [
      ...['npx', 'deno', 'run', '-A', '--node-modules-dir=manual', file],
    ]),
  },
]
