import { builtin } from '../../lib/platform.ts'

/** The version of this package, as its package.json has it. */
export const VERSION = '0.1.0'

/** What this client can do, in the words of the broker. A server sends some methods only to clients that announce support. */
const CAPABILITIES = {
  publisher_confirms: true,
  exchange_exchange_bindings: true,
  'basic.nack': true,
  consumer_cancel_notify: true,
  'connection.blocked': true,
  authentication_failure_close: true,
}

/** What the broker shows for a connection: ours, and the program's on top. `capabilities` are merged one by one. */
export function mergedClientProperties(
  own: Readonly<Record<string, unknown>> | undefined,
  connectionName: string,
): Readonly<Record<string, unknown>> {
  const { capabilities, ...others } = own ?? {}
  return {
    product: 'asyncamqp',
    version: VERSION,
    platform: platform(),
    ...others,
    connection_name: connectionName,
    capabilities: typeof capabilities === 'object' ? { ...CAPABILITIES, ...capabilities } : CAPABILITIES,
  }
}

function platform(): string {
  if (builtin('node:os') === undefined) return 'JavaScript'
  const { bun, deno } = process.versions
  if (bun !== undefined) return `Bun ${bun}`
  return deno === undefined ? `Node.js ${process.version}` : `Deno ${deno}`
}

/** `package@host:pid`, of the program that runs; `browser` in a browser. */
export function defaultConnectionName(): string {
  const os = builtin('node:os')
  defaultName ??= os === undefined ? 'browser' : `${programName()}@${os.hostname()}:${process.pid}`
  return defaultName
}

let defaultName: string | undefined

function programName(): string {
  const { npm_package_name: packageName } = process.env
  if (packageName !== undefined && packageName !== '') return packageName
  const script = process.argv[1]
  return script === undefined ? 'node' : script.replace(/^.*[/\\]|\.\w*$/g, '')
}
