import { mindsReplyTo } from '../../channel/rabbitmq.ts'
import { EncodeError } from '../../errors.ts'
import type { FieldTable } from '../../protocol/values.ts'

const DIRECT = 'amq.rabbitmq.reply-to.'
/** The external term format of Erlang: its version, and the tags of a process and of the name of its node. */
const TERM = 131
const NEW_PID = 88
const ATOM_UTF8 = 118
const SMALL_ATOM_UTF8 = 119
/** Bytes of a process after the name of its node: number, serial and creation. */
const PID_NUMBERS = 12

/**
 * Check that a server that says this of itself may be sent replies to `replyTo`.
 *
 * @throws EncodeError if RabbitMQ would close the connection over the reply address.
 */
export function checkReplyTo(replyTo: string, serverProperties: Readonly<FieldTable>): void {
  if (!mindsReplyTo(serverProperties) || !replyTo.startsWith(DIRECT)) return
  if (namesProcess(replyTo.slice(DIRECT.length))) return
  throw new EncodeError(`the request cannot be answered: its replyTo "${replyTo}" is not one that RabbitMQ makes`)
}

/** `process.key`, both in base64. */
function namesProcess(suffix: string): boolean {
  const [process = '', key = '', ...others] = suffix.split('.')
  if (others.length > 0 || key === '') return false
  const bytes = Buffer.from(process, 'base64')
  if (bytes.toString('base64') !== process || bytes[0] !== TERM || bytes[1] !== NEW_PID) return false
  const [nameStart, nameLength] = nodeName(bytes)
  const name = bytes.toString('utf8', nameStart, nameStart + nameLength)
  return bytes.length === nameStart + nameLength + PID_NUMBERS && /^[^@]+@[^@]+$/.test(name)
}

function nodeName(bytes: Buffer): readonly [start: number, length: number] {
  if (bytes[2] === SMALL_ATOM_UTF8 && bytes.length > 4) return [4, bytes.readUInt8(3)]
  if (bytes[2] === ATOM_UTF8 && bytes.length > 5) return [5, bytes.readUInt16BE(3)]
  return [0, -1]
}
