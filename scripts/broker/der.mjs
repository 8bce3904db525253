/**
 * Writes ASN.1's Distinguished Encoding Rules (X.690), as far as a certificate needs them.
 */

/**
 * @param {number} tag
 * @param {...Uint8Array} contents
 */
export function element(tag, ...contents) {
  const content = Buffer.concat(contents)
  return Buffer.concat([Buffer.of(tag), lengthOf(content), content])
}

/** @param {Uint8Array} content */
function lengthOf({ length }) {
  if (length < 0x80) return Buffer.of(length)
  if (length < 0x100) return Buffer.of(0x81, length)
  return Buffer.of(0x82, length >> 8, length & 0xff)
}

/** @param {...Uint8Array} items */
export const sequence = (...items) => element(0x30, ...items)

/** @param {...Uint8Array} items */
export const set = (...items) => element(0x31, ...items)

export const booleanTrue = element(0x01, Buffer.of(0xff))

/** @param {Uint8Array} bytes big-endian, the first one below 0x80 and not 0 unless it is the only one */
export const integer = bytes => element(0x02, bytes)

/** @param {Uint8Array} bytes */
export const octetString = bytes => element(0x04, bytes)

/** @param {string} text */
export const utf8String = text => element(0x0c, Buffer.from(text, 'utf8'))

/**
 * @param {Uint8Array} bytes
 * @param {number} [unusedBits] how many bits at the end of the last byte do not count
 */
export const bitString = (bytes, unusedBits = 0) => element(0x03, Buffer.of(unusedBits), bytes)

/**
 * @param {number} number the context-specific tag
 * @param {...Uint8Array} items
 */
export const explicit = (number, ...items) => element(0xa0 | number, ...items)

/**
 * @param {number} number the context-specific tag
 * @param {Uint8Array} bytes
 */
export const implicit = (number, bytes) => element(0x80 | number, bytes)

/** @param {string} dotted */
export function objectIdentifier(dotted) {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return element(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

/** @param {number} value */
function base128(value) {
  const bytes = [value & 0x7f]
  for (let left = value >>> 7; left > 0; left >>>= 7) bytes.unshift((left & 0x7f) | 0x80)
  return bytes
}

/** @param {Date} date */
export function time(date) {
  const digits = `${date.toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`
  // RFC 5280 §4.1.2.5: two digits of the year through 2049, four from then on.
  return date.getUTCFullYear() < 2050 ? element(0x17, Buffer.from(digits.slice(2))) : element(0x18, Buffer.from(digits))
}
