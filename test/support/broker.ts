import { fileURLToPath } from 'node:url'
import type {
  BrokerAddress,
  BrokerModule,
  CertificateAuthority,
  NodeOptions,
  RabbitCluster,
  RabbitNode,
} from '../../scripts/broker/types.d.ts'

export type { CertificateAuthority, NodeOptions, RabbitCluster, RabbitNode }

interface GivenBroker extends BrokerAddress {
  /** The URL of scripts/broker.mjs, wherever the compiled tests lie. */
  readonly module: string
}

function readEnvironment(): GivenBroker {
  const { ASYNCAMQP_TEST_BROKER } = process.env
  if (ASYNCAMQP_TEST_BROKER === undefined) {
    throw new Error(
      'This test needs a broker: run it by `npm test -- PATH`, or set one up with `node scripts/broker.mjs -- node --test FILE`.',
    )
  }
  return JSON.parse(ASYNCAMQP_TEST_BROKER)
}

const given = readEnvironment()

function need<K extends keyof BrokerAddress>(field: K): NonNullable<BrokerAddress[K]> {
  const value = given[field]
  if (value === undefined || value === null) {
    throw new Error(`The broker that AMQP_URL names offers no ${field}: unset AMQP_URL to test with a private node.`)
  }
  return value
}

/**
 * The broker that all tests share. What one named by `AMQP_URL` does not offer throws when it is read; `has` says
 * before.
 */
export const broker = {
  has: (field: keyof BrokerAddress): boolean => given[field] !== undefined,
  /** Why a test is skipped that needs what the broker of `asyncamqp/testing` has not; false if RabbitMQ is used. */
  waitsForRabbitMQ: (why: string): string | false => given.kind === 'testing' && `waits for a RabbitMQ: ${why}`,
  /** `amqp://user:password@host:port`, for the default vhost. */
  get url(): string {
    return need('url')
  },
  get host(): string {
    return need('host')
  },
  get port(): number {
    return need('port')
  },
  /** `amqps://user:password@localhost:port`; the certificate holds for localhost, 127.0.0.1 and ::1. */
  get tlsUrl(): string {
    return need('tlsUrl')
  },
  get tlsPort(): number {
    return need('tlsPort')
  },
  get managementUrl(): string {
    return need('managementUrl')
  },
  get caFile(): string {
    return need('caFile')
  },
  get clientCertFile(): string {
    return need('clientCertFile')
  },
  get clientKeyFile(): string {
    return need('clientKeyFile')
  },
  /** Whom EXTERNAL logs in with the client certificate; may do everything on the default vhost. */
  get clientUser(): string {
    return need('clientUser')
  },
  get login(): string {
    return decodeURIComponent(new URL(need('url')).username) || 'guest'
  },
  get password(): string {
    return decodeURIComponent(new URL(need('url')).password) || 'guest'
  },
  /** The path of scripts/broker.mjs. */
  get script(): string {
    return fileURLToPath(given.module)
  },
  /** RabbitMQ's, as `3.10.8`. */
  get version(): string {
    return need('version')
  },
  /** Whether RabbitMQ's version is this one or a later one. */
  isAtLeast(major: number, minor = 0): boolean {
    const [brokerMajor = 0, brokerMinor = 0] = need('version').split('.').map(Number)
    return brokerMajor > major || (brokerMajor === major && brokerMinor >= minor)
  },
}

/** The URL of a vhost, of the shared broker unless another URL is given. */
export function vhostUrl(vhost: string, url = broker.url): string {
  const withVhost = new URL(url)
  withVhost.pathname = `/${encodeURIComponent(vhost)}`
  return withVhost.href
}

async function brokerModule(): Promise<BrokerModule> {
  return await import(given.module)
}

/** Starts a node that no other test uses, to stop, kill or freeze; about 5 s. The caller destroys it. */
export async function startNode(options?: NodeOptions): Promise<RabbitNode> {
  return await (await brokerModule()).startNode(options)
}

/** Starts a cluster that no other test uses; about 20 s for three nodes. The caller destroys it. */
export async function startCluster(size: number, options?: NodeOptions): Promise<RabbitCluster> {
  return await (await brokerModule()).startCluster(size, options)
}

/** Makes a certificate authority, for certificates that are expired, of a wrong name or of an unknown authority. */
export async function createAuthority(commonName?: string): Promise<CertificateAuthority> {
  return (await brokerModule()).createAuthority(commonName)
}
