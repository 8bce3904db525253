/**
 * A reporter of Node's test runner: the results as JSON.
 *
 * @param {AsyncIterable<{ type: string, data: any }>} events
 */
// biome-ignore lint/style/noDefaultExport: Node takes a reporter from there
export default async function* reporter(events) {
  /** @type {string[]} */
  const path = []
  /** @type {import('./rows.mjs').Result[]} */
  const results = []
  for await (const { type, data } of events) {
    // Of a test and of each suite around it, before its result.
    if (type === 'test:start') path.splice(data.nesting, Infinity, data.name)
    if (type !== 'test:pass' && type !== 'test:fail') continue
    path.splice(data.nesting, Infinity, data.name)
    if (data.details.type === 'suite') continue
    const error = data.details.error
    results.push({
      name: path.join(' > '),
      ...(type === 'test:fail' && { failure: String((error.cause ?? error)?.stack ?? error) }),
    })
  }
  yield JSON.stringify(results)
}
