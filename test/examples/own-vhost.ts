import { broker, vhostUrl } from '../support/broker.ts'
import { management } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'

/** Do `work` with the URL of a vhost of its own: the tutorials' queues and exchanges have fixed names. */
export async function inOwnVhost(work: (url: string) => Promise<void>): Promise<void> {
  const vhost = uniqueName('example')
  await management().createVhost(vhost, [broker.login])
  try {
    await work(vhostUrl(vhost))
  } finally {
    await management().deleteVhost(vhost)
  }
}
