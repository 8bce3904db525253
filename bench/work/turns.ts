import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { measure } from '../measure.ts'
import { bodyOf } from '../message.ts'
import { connectOptions } from '../task.ts'
import { outgoing } from './publish.ts'
import type { Perform } from './work.ts'

const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

/** An HTTP server that publishes a message for each request, and answers when it is confirmed; without a client it only answers. */
export const turns: Perform = async (client, task) => {
  const connection = await client.connect(task.url, connectOptions(task))
  const publish = await connection.confirmer({ ...outgoing(task), body: bodyOf(task.row.bodySize) }, 1)
  const server = createServer((_request, response) => {
    publish(1).then(
      () => response.end('ok'),
      () => response.destroy(),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const load = fork(new URL(`../http-load${extension}`, import.meta.url), [String(port)], { execArgv: [] })
  let total = 0
  const run = async (count: number) => {
    load.send({ count })
    await once(load, 'message')
    total += count
  }
  const result = await measure(run, () => total, task.budget)
  load.disconnect()
  return result
}
