// Runs the tests of a folder with zUnit, as its own program does, and writes the results into a file.
const { writeFileSync } = require('node:fs')
const { join, resolve } = require('node:path')
const { inspect } = require('node:util')

const [folder = '', results = ''] = process.argv.slice(2)
const { Harness, SpecReporter, Suite, syntax } = require(require.resolve('zunit', { paths: [process.cwd()] }))
const { zUnit } = require(join(process.cwd(), 'package.json'))
// Its timeouts are of 2 to 5 s, which is little for a machine that has much to do.
Object.assign(globalThis, syntax, {
  it: (/** @type {string} */ name, /** @type {() => void} */ test, /** @type {any} */ options) =>
    syntax.it(name, test, { ...options, timeout: 10 * (options?.timeout ?? 5_000) }),
})

/**
 * @typedef {{ name: string, children: Node[], isTest(): boolean, passed: boolean, skipped: boolean, errors: unknown[] }} Node
 * @param {Node} node
 * @param {string[]} path
 * @returns {import('./rows.mjs').Result[]}
 */
function resultsOf(node, path) {
  const names = [...path, node.name]
  if (!node.isTest()) return node.children.flatMap(child => resultsOf(child, names))
  const name = names.slice(1).join(' > ')
  return node.passed || node.skipped
    ? [{ name }]
    : [{ name, failure: node.errors.map(error => inspect(error)).join('\n') }]
}

async function main() {
  const suite = await new Suite('').discover({ directory: resolve(folder), pattern: new RegExp(zUnit.pattern) })
  const report = await new Harness(suite).run(new SpecReporter({ colours: false }))
  writeFileSync(results, JSON.stringify(resultsOf(report, [])))
  process.exit()
}

void main()
