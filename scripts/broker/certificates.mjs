/**
 * Makes the certificates of a test broker with nothing but Node: X.509 v3 (RFC 5280), P-256 keys, ECDSA with SHA-256.
 * The openssl command is not on every machine, and its version 3.0 cannot make a certificate that has expired.
 */
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import * as der from './der.mjs'

/**
 * @typedef {import('./types.d.ts').CertificateAuthority} CertificateAuthority
 * @typedef {import('./types.d.ts').CertificateFiles} CertificateFiles
 * @typedef {import('node:crypto').KeyObject} KeyObject
 */

const ecdsaWithSha256 = der.sequence(der.objectIdentifier('1.2.840.10045.4.3.2'))
const commonNameType = der.objectIdentifier('2.5.4.3')

const extensionTypes = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
}
const purposes = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' }

const day = 24 * 60 * 60 * 1000

/**
 * Makes a certificate authority that nothing trusts yet.
 *
 * @param {string} [commonName]
 * @returns {CertificateAuthority}
 */
export function createAuthority(commonName = 'asyncamqp test authority') {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = signCertificate({
    subject: commonName,
    publicKey: keys.publicKey,
    issuer: commonName,
    issuerKeys: keys,
    extensions: [
      extension('basicConstraints', der.sequence(der.booleanTrue), { critical: true }),
      // keyCertSign and cRLSign
      extension('keyUsage', der.bitString(Buffer.of(0x06), 1), { critical: true }),
    ],
  })

  return {
    certificate,
    key: pem(keys.privateKey),
    issue({ commonName: subject, usage, names = [], notBefore, notAfter }) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const extensions = [
        extension('basicConstraints', der.sequence(), { critical: true }),
        // digitalSignature
        extension('keyUsage', der.bitString(Buffer.of(0x80), 7), { critical: true }),
        extension('extendedKeyUsage', der.sequence(der.objectIdentifier(purposes[usage]))),
      ]
      if (names.length > 0) extensions.push(extension('subjectAltName', der.sequence(...names.map(generalName))))
      return {
        certificate: signCertificate({
          subject,
          publicKey,
          issuer: commonName,
          issuerKeys: keys,
          extensions,
          notBefore,
          notAfter,
        }),
        key: pem(privateKey),
      }
    },
  }
}

/**
 * Puts an authority, a certificate for a server on this machine and one for a client into a folder; what is there
 * already is left as it is.
 *
 * @param {string} folder
 * @param {{ clientUser: string, readable?: boolean }} options `readable`: the keys too, for a container's user
 * @returns {CertificateFiles}
 */
export function writeCertificates(folder, { clientUser, readable = false }) {
  const files = {
    caFile: join(folder, 'ca.pem'),
    caKeyFile: join(folder, 'ca-key.pem'),
    serverCertFile: join(folder, 'server.pem'),
    serverKeyFile: join(folder, 'server-key.pem'),
    clientCertFile: join(folder, 'client.pem'),
    clientKeyFile: join(folder, 'client-key.pem'),
  }
  if (Object.values(files).every(file => existsSync(file))) return files

  mkdirSync(folder, { recursive: true })
  const authority = createAuthority()
  const server = authority.issue({ commonName: 'localhost', usage: 'server', names: ['localhost', '127.0.0.1', '::1'] })
  const client = authority.issue({ commonName: clientUser, usage: 'client' })
  const keyMode = readable ? 0o644 : 0o600
  write(files.caFile, authority.certificate, 0o644)
  write(files.caKeyFile, authority.key, 0o600)
  write(files.serverCertFile, server.certificate, 0o644)
  write(files.serverKeyFile, server.key, keyMode)
  write(files.clientCertFile, client.certificate, 0o644)
  write(files.clientKeyFile, client.key, keyMode)
  return files
}

/**
 * @param {string} file
 * @param {string} text
 * @param {number} mode
 */
function write(file, text, mode) {
  writeFileSync(file, text, { mode })
  // The mode above is cut by the umask.
  chmodSync(file, mode)
}

/**
 * @param {{
 *   subject: string, publicKey: KeyObject, issuer: string,
 *   issuerKeys: { publicKey: KeyObject, privateKey: KeyObject },
 *   extensions: Buffer[], notBefore?: Date | undefined, notAfter?: Date | undefined,
 * }} parts
 */
function signCertificate({ subject, publicKey, issuer, issuerKeys, extensions, notBefore, notAfter }) {
  const version3 = der.explicit(0, der.integer(Buffer.of(2)))
  const serial = randomBytes(16)
  // Positive and without a leading zero byte, as DER wants it.
  serial.writeUInt8((serial.readUInt8(0) & 0x3f) | 0x40, 0)
  const body = der.sequence(
    version3,
    der.integer(serial),
    ecdsaWithSha256,
    distinguishedName(issuer),
    der.sequence(
      der.time(notBefore ?? new Date(Date.now() - day)),
      der.time(notAfter ?? new Date(Date.now() + 3650 * day)),
    ),
    distinguishedName(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    der.explicit(
      3,
      der.sequence(
        ...extensions,
        extension('subjectKeyIdentifier', der.octetString(keyIdentifier(publicKey))),
        extension('authorityKeyIdentifier', der.sequence(der.implicit(0, keyIdentifier(issuerKeys.publicKey)))),
      ),
    ),
  )
  const signature = sign('sha256', body, issuerKeys.privateKey)
  const certificate = der.sequence(body, ecdsaWithSha256, der.bitString(signature))
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/** @param {string} commonName */
const distinguishedName = commonName => der.sequence(der.set(der.sequence(commonNameType, der.utf8String(commonName))))

/**
 * @param {keyof typeof extensionTypes} name
 * @param {Buffer} value
 * @param {{ critical?: boolean }} [options]
 */
function extension(name, value, { critical = false } = {}) {
  const type = der.objectIdentifier(extensionTypes[name])
  return critical
    ? der.sequence(type, der.booleanTrue, der.octetString(value))
    : der.sequence(type, der.octetString(value))
}

/** @param {string} name */
function generalName(name) {
  if (isIP(name) === 4) return der.implicit(7, Buffer.from(name.split('.').map(Number)))
  if (isIP(name) === 6) return der.implicit(7, ipv6Bytes(name))
  return der.implicit(2, Buffer.from(name, 'ascii'))
}

/** @param {string} address */
function ipv6Bytes(address) {
  const [head = '', tail] = address.split('::')
  const before = groups(head)
  const after = groups(tail ?? '')
  const zeros = Array(8 - before.length - after.length).fill(0)
  return Buffer.from([...before, ...zeros, ...after].flatMap(group => [group >> 8, group & 0xff]))
}

/** @param {string} text */
const groups = text => (text === '' ? [] : text.split(':').map(group => Number.parseInt(group, 16)))

/** @param {KeyObject} publicKey */
function keyIdentifier(publicKey) {
  return createHash('sha1')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest()
}

/** @param {KeyObject} key */
const pem = key => key.export({ type: 'pkcs8', format: 'pem' }).toString()
