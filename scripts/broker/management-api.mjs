/**
 * The little of RabbitMQ's management HTTP API that setting up a broker needs.
 */

/**
 * @param {string} managementUrl with user and password
 * @param {string} path
 * @param {{ method?: string, body?: object }} [options]
 */
async function request(managementUrl, path, { method = 'GET', body } = {}) {
  const { origin, username, password } = new URL(managementUrl)
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return await fetch(`${origin}/api/${path}`, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(credentials).toString('base64')}`,
      'content-type': 'application/json',
    },
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(5000),
  })
}

/**
 * Whether the API answers and lets this user in.
 *
 * @param {string} managementUrl
 */
export async function managementAnswers(managementUrl) {
  try {
    const response = await request(managementUrl, 'overview')
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}

/**
 * How many nodes of the cluster run, as this one sees it.
 *
 * @param {string} managementUrl
 */
export async function runningNodes(managementUrl) {
  const response = await request(managementUrl, 'nodes')
  const nodes = /** @type {{ running: boolean }[]} */ (await response.json())
  return nodes.filter(node => node.running).length
}

/**
 * Makes a user without a password, who can only log in by a certificate, with all permissions on the vhost "/".
 *
 * @param {string} managementUrl
 * @param {string} user
 */
export async function createCertificateUser(managementUrl, user) {
  const name = encodeURIComponent(user)
  await put(managementUrl, `users/${name}`, { password_hash: '', tags: '' })
  await put(managementUrl, `permissions/%2F/${name}`, { configure: '.*', write: '.*', read: '.*' })
}

/**
 * @param {string} managementUrl
 * @param {string} path
 * @param {object} body
 */
async function put(managementUrl, path, body) {
  const response = await request(managementUrl, path, { method: 'PUT', body })
  const text = await response.text()
  if (!response.ok) throw new Error(`The management API answered PUT ${path} with ${response.status}: ${text}`)
}
