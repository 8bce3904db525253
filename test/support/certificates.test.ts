import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { type ConnectionOptions, createServer, connect as tlsConnect } from 'node:tls'
import { type CertificateAuthority, createAuthority } from './broker.ts'

type Request = Parameters<CertificateAuthority['issue']>[0]

const day = 24 * 60 * 60 * 1000

async function handshake(
  authority: CertificateAuthority,
  server: Request,
  client: ConnectionOptions,
): Promise<{ peer: string | undefined }> {
  const { certificate, key } = authority.issue(server)
  const listener = createServer({ cert: certificate, key, ca: authority.certificate, requestCert: true })
  listener.on('tlsClientError', () => {})
  let peer: string | undefined
  listener.on('secureConnection', socket => {
    peer = socket.authorized ? String(socket.getPeerCertificate().subject.CN) : undefined
    socket.end('seen')
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const socket = tlsConnect({ port, host: '127.0.0.1', ...client })
  try {
    await once(socket, 'data')
    return { peer }
  } finally {
    socket.destroy()
    listener.close()
  }
}

describe('certificates for tests', () => {
  it('name their subject, their hosts and addresses, and their authority', async () => {
    const authority = await createAuthority('an authority')
    const names = ['localhost', 'a.example', '127.0.0.1', '::1', '2001:db8::a:1']
    const certificate = new X509Certificate(
      authority.issue({ commonName: 'a server', usage: 'server', names }).certificate,
    )
    assert.equal(certificate.subject, 'CN=a server')
    assert.equal(certificate.issuer, 'CN=an authority')
    assert.equal(
      certificate.subjectAltName,
      'DNS:localhost, DNS:a.example, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:2001:DB8:0:0:0:0:A:1',
    )
    assert.equal(certificate.ca, false)
    const issuer = new X509Certificate(authority.certificate)
    assert.equal(issuer.ca, true)
    assert.equal(certificate.checkIssued(issuer), true)
    assert.equal(certificate.verify(issuer.publicKey), true)
  })

  it('are accepted by both ends of a TLS connection that trust their authority', async () => {
    const authority = await createAuthority()
    const { certificate, key } = authority.issue({ commonName: 'a user', usage: 'client' })
    const { peer } = await handshake(
      authority,
      { commonName: 'localhost', usage: 'server', names: ['127.0.0.1'] },
      { ca: authority.certificate, cert: certificate, key },
    )
    assert.equal(peer, 'a user')
  })

  it('are refused once they have expired', async () => {
    const authority = await createAuthority()
    const notBefore = new Date(Date.now() - 2 * day)
    const notAfter = new Date(Date.now() - day)
    await assert.rejects(
      handshake(
        authority,
        { commonName: 'localhost', usage: 'server', names: ['127.0.0.1'], notBefore, notAfter },
        { ca: authority.certificate },
      ),
      { code: 'CERT_HAS_EXPIRED' },
    )
  })

  it('may be valid beyond 2049, when the encoding of the year changes', async () => {
    const authority = await createAuthority()
    const notAfter = new Date('2051-02-03T04:05:06Z')
    const { certificate } = authority.issue({ commonName: 'late', usage: 'client', notAfter })
    assert.equal(new X509Certificate(certificate).validTo, 'Feb  3 04:05:06 2051 GMT')
  })
})
