/**
 * A reporter of Node's test runner that only counts the tests which wait for a RabbitMQ.
 *
 * @param {AsyncIterable<{ type: string, data: { skip?: string | boolean | undefined } }>} events
 */
// biome-ignore lint/style/noDefaultExport: that is what a reporter is.
export default async function* countSkipped(events) {
  let count = 0
  for await (const { type, data } of events) {
    if (type === 'test:pass' && typeof data.skip === 'string' && data.skip.startsWith('waits for a RabbitMQ')) count++
  }
  yield String(count)
}
