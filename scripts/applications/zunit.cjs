// Runs the tests of a folder with zUnit, as its own program does, and writes the results into a file.
const { writeFileSync } = require('node:fs')
const { join, resolve } = require('node:path')
const { inspect } = require('node:util')

const [folder = '', results = ''] = process.argv.slice(2)
const { Harness, SpecReporter, Suite, syntax } = require(require.resolve('zunit', { paths: [process.cwd()] }))
const { zUnit } = require(join(process.cwd(), 'package.json'))
Object.assign(globalThis, syntax, { describe: patient(syntax.describe), it: patient(syntax.it) })

/**
 * Its timeouts are of 2 s, which is little for a machine that has much to do.
 *
 * @param {(...args: any[]) => unknown} declare
 * @returns {typeof declare}
 */
function patient(declare) {
  return (name, test, options) =>
    declare(name, test, { ...options, ...(options?.timeout && { timeout: 10 * options.timeout }) })
}

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
