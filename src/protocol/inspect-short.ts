const MAX_CHARS = 40

/**
 * A value as an error message shows it: short, and never the inside of an object. It throws nothing, whatever the
 * value is.
 */
export function inspectShort(value: unknown): string {
  switch (typeof value) {
    case 'string':
      // A URI may hold a password.
      if (/^\s*amqps?:/i.test(value)) return '"amqp:..."'
      return JSON.stringify(value.length > MAX_CHARS ? `${value.slice(0, MAX_CHARS - 3)}...` : value)
    case 'function':
      return 'a function'
    case 'object':
      return value === null ? 'null' : inspectObject(value)
    case 'bigint':
      // The text of a long one would take seconds to make.
      return BigInt.asIntN(128, value) === value ? `${value}n` : 'a bigint of more than 128 bits'
    default:
      return String(value)
  }
}

function inspectObject(value: object): string {
  try {
    if (Array.isArray(value)) return 'an array'
    if (value instanceof Date && Number.isNaN(value.getTime())) return 'an invalid Date'
    const name: unknown = value.constructor?.name
    return `an object (${typeof name === 'string' && name !== '' ? name.slice(0, MAX_CHARS) : 'without a prototype'})`
  } catch {
    // A getter or a proxy of the program's threw.
    return 'an object'
  }
}
