import fc from 'fast-check'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../../src/protocol/properties.ts'
import { Properties } from '../../src/protocol/received-properties.ts'
import { Writer } from '../../src/protocol/writer.ts'

export function encode(properties: BasicProperties): Buffer {
  return Writer.encode(writer => {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    if (properties instanceof Properties) properties.write(writer)
    else writeProperties(writer, properties)
  })
}

/** Read from the middle of a buffer that is spoilt afterwards, as the read buffer of a connection is. */
export function read(list: Buffer): Properties {
  const reused = Buffer.concat([Buffer.from([9, 9, 9]), list, Buffer.from([9, 9])])
  const properties = Properties.read(reused, 3, 3 + list.length)
  reused.fill(0xff)
  return properties
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

/** Empty tables in one another, `depth` of them, with the length of the outermost. */
export function nestedTables(depth: number): Buffer {
  let table = Buffer.alloc(4)
  for (let i = 1; i < depth; i++) {
    const entry = Buffer.concat([Buffer.from('\x01aF'), table])
    const length = Buffer.alloc(4)
    length.writeUInt32BE(entry.length)
    table = Buffer.concat([length, entry])
  }
  return table
}

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter(value => Buffer.byteLength(value) < 256)
export const anyProperties: fc.Arbitrary<BasicProperties> = fc.record(
  {
    contentType: text,
    contentEncoding: text,
    headers: fc.dictionary(fc.string({ maxLength: 10 }), fc.oneof(fc.integer(), fc.boolean(), text, fc.constant(null))),
    deliveryMode: fc.nat(255),
    priority: fc.nat(255),
    correlationId: text,
    replyTo: text,
    expiration: text,
    messageId: text,
    timestamp: fc.nat(0xffff_ffff).map(seconds => new Date(seconds * 1000)),
    messageType: text,
    userId: text,
    appId: text,
    clusterId: text,
  },
  { requiredKeys: [] },
)
