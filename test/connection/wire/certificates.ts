import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface Certificates {
  readonly folder: string
  readonly ca: Buffer
  /** For the name `broker.example` and the address 127.0.0.1. */
  readonly cert: Buffer
  readonly key: Buffer
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
  remove(): void
}

/** A self-signed certificate, made for this run. */
export function makeCertificates(): Certificates {
  const folder = mkdtempSync(join(tmpdir(), 'certificates-'))
  const certFile = join(folder, 'cert.pem')
  const keyFile = join(folder, 'key.pem')
  const config = join(folder, 'openssl.cnf')
  writeFileSync(
    config,
    '[req]\ndistinguished_name=name\nx509_extensions=ext\nprompt=no\n[name]\nCN=broker.example\n' +
      '[ext]\nsubjectAltName=DNS:broker.example,IP:127.0.0.1\nbasicConstraints=critical,CA:TRUE\n',
  )
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'].concat([
      '-keyout',
      keyFile,
      '-out',
      certFile,
      '-config',
      config,
    ]),
    { stdio: 'pipe' },
  )
  const cert = readFileSync(certFile)
  return {
    folder,
    ca: cert,
    cert,
    key: readFileSync(keyFile),
    caFile: certFile,
    certFile,
    keyFile,
    remove: () => rmSync(folder, { recursive: true }),
  }
}
