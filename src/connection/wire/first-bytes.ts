/** What the first bytes of a server say of it, if it is not an AMQP 0-9-1 server; undefined if they say nothing. */
export function explainFirstBytes(bytes: Buffer, encrypted: boolean): string | undefined {
  if (bytes.length === 0) {
    if (encrypted) return 'the server closed the connection before it said anything: is this not an AMQP port?'
    return 'the server closed the connection before it said anything: is this the TLS port (then use amqps:// or ssl), or not an AMQP port?'
  }
  const text = bytes.toString('latin1')
  if (text.startsWith('AMQP')) {
    const [id, ...version] = bytes.subarray(4, 8)
    return `the server answered that it speaks AMQP ${version.join('.')} (protocol id ${id}), not 0-9-1`
  }
  if (/^(HTTP\/|<!|<html)/i.test(text)) return 'this looks like HTTP, not AMQP: is it the port of the management page?'
  if (text.startsWith('SSH-')) return 'this looks like SSH, not AMQP'
  if ((bytes[0] === 0x15 || bytes[0] === 0x16) && bytes[1] === 0x03) {
    return 'the server answered with TLS: is this the TLS port? then use amqps:// or ssl'
  }
  return undefined
}
