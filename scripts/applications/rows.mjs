/**
 * Applications of amqplib whose own tests run on asyncamqp, a row each. Versions are exact: a row changes when somebody changes it.
 *
 * @typedef {object} Result of one test
 * @property {string} name
 * @property {string} [failure]
 * @property {number} [tries] if it was more than one
 *
 * @typedef {object} Sources what the package on npm leaves out
 * @property {string} repository on GitHub
 * @property {string} commit
 * @property {Readonly<Record<string, string>>} folders in the repository, and where they go in the project
 *
 * @typedef {object} Suite
 * @property {string} name
 * @property {number} tests how many it has
 * @property {string} folder in the project, to run it in
 * @property {Readonly<Record<string, string>>} [environment]
 * @property {readonly string[]} command `RESULTS` is the file for the results
 *
 * @typedef {object} Row
 * @property {string} name
 * @property {readonly string[]} packages what is tested, and what its tests need
 * @property {Sources} [sources]
 * @property {Readonly<Record<string, string>>} [moved] packages that are put elsewhere in the project, so that their runner finds their tests
 * @property {Readonly<Record<string, readonly [string, string]>>} [patches] in files of the project: what is found, and what takes its place
 * @property {Readonly<Record<string, string>>} [files] further files of the project
 * @property {readonly Suite[]} suites
 */

const here = import.meta.dirname

const jest = { testEnvironment: 'node', testTimeout: 30_000, setupFilesAfterEnv: [`${here}/jest-patience.cjs`] }
const compiler = { target: 'es2022', module: 'commonjs', esModuleInterop: true, skipLibCheck: true }

/** @type {readonly Row[]} */
export const rows = [
  {
    name: 'amqplib',
    packages: ['amqplib@2.0.1'],
    moved: { amqplib: 'amqplib' },
    patches: {
      // The server of these tests waits for the end of a stream that it does not read: amqplib sends nothing more, and AMQP demands close-ok.
      'amqplib/test/lib/util.js': [
        'frames.sendMethod(channel, id, fields);',
        'frames.sendMethod(channel, id, fields); if (id === defs.ConnectionClose) socket.resume();',
      ],
    },
    // The rest is about its insides.
    suites: [
      {
        name: 'its public API',
        tests: 91,
        folder: 'amqplib',
        command: [
          ...['node', '--test', '--test-concurrency=1', '--test-timeout=20000'],
          ...[`--test-reporter=${here}/node-reporter.mjs`, '--test-reporter-destination=RESULTS'],
          ...['channel_api', 'callback_api', 'connect', 'uri_spec'].map(name => `test/${name}.test.js`),
        ],
      },
    ],
  },
  {
    name: 'rascal',
    packages: ['rascal@21.0.1', 'amqplib@0.10.9', 'zunit@4.0.2', 'chance@1.1.13'],
    moved: { rascal: 'rascal' },
    sources: {
      repository: 'onebeyond/rascal',
      commit: '22017c3a177f02bfdc5032e5842aa1a066b027ff',
      folders: { test: 'rascal/test' },
    },
    files: {
      // It is not on npm any more: a stream of random bytes without an end.
      'node_modules/random-readable/index.js': `
        const { randomBytes } = require('node:crypto')
        const { Readable } = require('node:stream')
        exports.createRandomStream = () => new Readable({ read(size) { this.push(randomBytes(size)) } })
      `,
    },
    suites: [
      {
        name: 'all',
        tests: 376,
        folder: 'rascal',
        // Two tests of speed then do nothing, as in its authors' CI.
        environment: { CI: 'true' },
        command: ['node', `${here}/zunit.cjs`, 'test', 'RESULTS'],
      },
    ],
  },
  {
    name: 'amqp-connection-manager',
    packages: [
      ...['amqp-connection-manager@5.0.0', 'amqplib@0.10.9', '@types/amqplib@0.10.8'],
      ...['jest@29.7.0', 'ts-jest@29.4.11', '@types/jest@29.5.14', '@types/node@22.20.7', 'typescript@5.9.3'],
      ...['chai@4.5.0', 'chai-as-promised@7.1.2', 'chai-jest@1.0.2', 'chai-string@1.6.0', 'promise-tools@2.1.0'],
    ],
    moved: { 'amqp-connection-manager': 'manager' },
    sources: {
      repository: 'jwalton/node-amqp-connection-manager',
      commit: 'cea75b0a4d246c51933a82cbc4055dcb3203e356',
      folders: { test: 'manager/test' },
    },
    files: {
      'manager/jest.config.json': JSON.stringify({
        ...jest,
        testMatch: ['**/test/**/*Test.ts'],
        // What was published, in the place of its sources.
        moduleNameMapper: { '^\\.\\./src(/.*)?$': '<rootDir>/dist/cjs$1' },
        transform: { '\\.ts$': ['ts-jest', { diagnostics: false, tsconfig: compiler }] },
      }),
    },
    suites: [
      {
        name: 'all',
        tests: 86,
        folder: 'manager',
        command: ['npx', 'jest', '--runInBand', '--forceExit', '--json', '--outputFile=RESULTS'],
      },
    ],
  },
  {
    name: 'golevelup',
    packages: [
      ...['@golevelup/nestjs-rabbitmq@9.0.2', '@golevelup/ts-jest@3.0.0', 'amqplib@0.10.9', 'pactum@3.9.1'],
      ...[
        '@nestjs/common@11.1.24',
        '@nestjs/core@11.1.24',
        '@nestjs/platform-express@11.1.24',
        '@nestjs/testing@11.1.24',
      ],
      ...['reflect-metadata@0.2.2', 'rxjs@7.8.2', 'lodash@4.18.1', 'class-validator@0.14.2', 'class-transformer@0.5.1'],
      ...['jest@30.3.0', 'ts-jest@29.4.11', 'typescript@5.9.3', 'vitest@4.1.7'],
    ],
    sources: {
      repository: 'golevelup/nestjs',
      commit: '719ffc58208a1d8fa93585e3589803f2d8a91092',
      folders: { 'integration/rabbitmq/e2e': 'e2e', 'integration/rabbitmq/src': 'src' },
    },
    files: {
      'jest.config.json': JSON.stringify({
        ...jest,
        testMatch: ['**/e2e/*.e2e-spec.ts'],
        transform: {
          '\\.ts$': [
            'ts-jest',
            {
              diagnostics: false,
              tsconfig: {
                ...compiler,
                esModuleInterop: false,
                experimentalDecorators: true,
                emitDecoratorMetadata: true,
              },
            },
          ],
        },
      }),
    },
    suites: [
      {
        name: 'end to end',
        tests: 98,
        folder: '.',
        command: ['npx', 'jest', '--runInBand', '--forceExit', '--json', '--outputFile=RESULTS'],
      },
    ],
  },
]
