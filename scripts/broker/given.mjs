/**
 * The broker that the user names in AMQP_URL.
 */
import { greet } from './greeting.mjs'
import { managementAnswers } from './management-api.mjs'

const defaultPorts = { 'amqp:': 5672, 'amqps:': 5671 }
const defaultManagementPort = 15672

/**
 * @param {string} text the value of AMQP_URL
 * @param {string | undefined} managementText the value of AMQP_MANAGEMENT_URL
 * @returns {Promise<import('./types.d.ts').Broker>}
 */
export async function useGivenBroker(text, managementText) {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const scheme = url?.protocol
  if (url === undefined || (scheme !== 'amqp:' && scheme !== 'amqps:')) {
    throw new Error('AMQP_URL is not an AMQP URL; it looks like amqp://user:password@host:5672')
  }
  const host = url.hostname.replace(/^\[|\]$/g, '') || 'localhost'
  const port = Number(url.port) || defaultPorts[scheme]
  const encrypted = scheme === 'amqps:'
  const greeting = encrypted ? undefined : await greet({ host, port })
  if (!encrypted && greeting === undefined) {
    throw new Error(
      `No AMQP 0-9-1 broker answers at ${host}:${port}, which AMQP_URL names. ` +
        'Start it, or unset AMQP_URL to have a private one started.',
    )
  }
  return {
    kind: 'url',
    url: text,
    host,
    port,
    ...(encrypted && { tlsUrl: text, tlsPort: port }),
    managementUrl: await findManagement(url, managementText),
    version: greeting?.version,
    stop: async () => {},
  }
}

/**
 * @param {URL} amqp
 * @param {string | undefined} managementText
 */
async function findManagement(amqp, managementText) {
  const management = new URL(managementText ?? `http://${amqp.hostname || 'localhost'}:${defaultManagementPort}`)
  management.username ||= amqp.username || 'guest'
  management.password ||= amqp.password || 'guest'
  const text = management.href.replace(/\/$/, '')
  if (await managementAnswers(text)) return text
  if (managementText === undefined) return undefined
  throw new Error(`RabbitMQ's management API does not answer at ${management.origin}, or refuses the user there.`)
}
