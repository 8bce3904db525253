/**
 * Tests that another runtime does not run, and why.
 *
 * @typedef {object} Skip
 * @property {readonly ('bun' | 'deno')[]} runtimes
 * @property {string} file of the tests, or a folder
 * @property {string} [title] how the titles begin, those of the suites included; all of the file by default
 * @property {string} reason
 */

const memory = 'it counts memory by the collector of V8 in Node'
const stacks = 'Bun has frames of the package above the line of the program'
const awaits = 'Bun does not say who awaits a promise'
const turns = 'it runs setImmediate before it has read what came'
const writes = 'Bun writes each segment by itself'
const tls = 'Deno takes whatever is written by TLS at once, and holds it: nothing is ever pending'
const lateKeys = 'Deno reads the key only once TCP is connected'

/** @type {readonly Skip[]} */
export const skips = [
  {
    runtimes: ['bun', 'deno'],
    file: 'test/support/',
    reason: 'it is about the scripts of the project, which Node runs',
  },
  {
    runtimes: ['bun'],
    file: 'test/channel/calls.test.ts',
    title: 'Calls › show the line of the call in the stack of its error',
    reason: stacks,
  },
  {
    runtimes: ['bun'],
    file: 'test/conversation/errors.test.ts',
    title: 'errors of connecting › show the line of the program, however deep the fault was found',
    reason: stacks,
  },
  {
    runtimes: ['bun'],
    file: 'test/conversation/errors.test.ts',
    title: 'errors of rejected calls › show it first if an argument is refused, whatever the method',
    reason: stacks,
  },
  {
    runtimes: ['bun'],
    file: 'test/channel/publish/confirm-window.test.ts',
    title: 'a confirm window › needs memory for what is unconfirmed',
    reason: memory,
  },
  {
    runtimes: ['bun'],
    file: 'test/connection/wire/socket-transport.test.ts',
    title: 'connectSocket › over TCP › keeps nothing of the attempt',
    reason: memory,
  },
  {
    runtimes: ['bun'],
    file: 'test/connection/wire/socket-transport.test.ts',
    title: 'connectSocket › over TLS › keeps nothing of the attempt',
    reason: memory,
  },
  {
    runtimes: ['bun'],
    file: 'test/connection/wire/socket-transport.test.ts',
    title: 'connectSocket › over TCP › gives several segments to the kernel in one call',
    reason: writes,
  },
  {
    runtimes: ['bun'],
    file: 'test/connection/wire/socket-transport.test.ts',
    title: 'connectSocket › over TLS › gives several segments to the kernel in one call',
    reason: writes,
  },
  {
    runtimes: ['deno'],
    file: 'test/connection/wire/socket-transport.test.ts',
    title: 'connectSocket with TLS › rejects a key that cannot be read, in the step tls',
    reason: lateKeys,
  },
  {
    runtimes: ['deno'],
    file: 'test/connection/dial.test.ts',
    title: 'dial › says of keys and certificates that cannot be read where they come from',
    reason: lateKeys,
  },
  {
    runtimes: ['deno'],
    file: 'test/connection/wire/transport-contract.test.ts',
    title: 'a transport by TLS',
    reason: tls,
  },
  {
    runtimes: ['bun'],
    file: 'test/conversation/errors.test.ts',
    title: 'errors of rejected calls › show the line of a loop over a consumer that ends',
    reason: awaits,
  },
  {
    runtimes: ['bun'],
    file: 'test/conversation/errors.test.ts',
    title: 'errors of rejected calls › show the line of the program that made the call',
    reason: stacks,
  },
  {
    runtimes: ['bun'],
    file: 'test/conversation/publish.test.ts',
    title: 'confirms › that refuse a message show the line which awaits it, and none of ours',
    reason: awaits,
  },
  {
    runtimes: ['bun'],
    file: 'test/patterns/publish/publish.test.ts',
    title: 'protocol.publish › shows the line of the program in every error, for a schema too',
    reason: awaits,
  },
  {
    runtimes: ['bun'],
    file: 'test/testing/broker.test.ts',
    title: 'A wait that times out › shows the line of the test',
    reason: awaits,
  },
  {
    runtimes: ['bun'],
    file: 'test/hostile/mutations.test.ts',
    title: 'a session with octets changed on their way',
    reason: memory,
  },
  {
    runtimes: ['bun'],
    file: 'test/lib/call-safely.test.ts',
    title: 'asError › makes an error that can be read of a DOMException',
    reason: 'a DOMException of Bun has no stack',
  },
  {
    runtimes: ['bun', 'deno'],
    file: 'test/lib/deadlines.test.ts',
    title: 'Deadlines › lets bytes that came during a busy time be read before a deadline expires',
    reason: turns,
  },
  {
    runtimes: ['bun'],
    file: 'test/lib/deadlines.test.ts',
    title: 'Deadlines › has one timer for all, and none for nothing',
    reason: 'process.getActiveResourcesInfo() of Bun has no timers',
  },
]
