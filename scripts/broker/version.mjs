/**
 * Versions of RabbitMQ: the whole one of a broker, as 4.0.5, and the part of one that a user asks for, as 4 or 4.0.
 */

/** Names the version that brokers must have, for programs and for tests that start their own nodes. */
export const versionVariable = 'ASYNCAMQP_RABBITMQ'

/**
 * The version that is asked for, if one is.
 *
 * @param {string | undefined} option what the command line says
 * @returns {string | undefined}
 */
export function wantedVersion(option = process.env[versionVariable]) {
  if (option === undefined || option === '') return undefined
  if (/^\d+(\.\d+){0,2}$/.test(option)) return option
  throw new Error(
    `"${option}" is no version of RabbitMQ: --rabbitmq and ${versionVariable} take one such as 4, 4.0 or 4.3.6.`,
  )
}

/**
 * Whether a version is the one that is asked for, or one of those.
 *
 * @param {string} version
 * @param {string} wanted
 */
export const isVersion = (version, wanted) => `${version}.`.startsWith(`${wanted}.`)
