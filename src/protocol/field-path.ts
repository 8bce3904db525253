import { EncodeError } from '../errors.ts'
import { MAX_DEPTH } from './field-types.ts'
import { inspectShort } from './inspect-short.ts'
import type { Writer } from './writer.ts'

/** The path to what is being encoded, such as `headers["x-y"].z[3]`. */
export function where({ path }: Writer, depth: number): string {
  let text = String(path[0])
  for (let i = 1; i <= depth; i++) {
    const step = path[i] as string | number
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z_$][\w$]*$/.test(step) && step.length <= 40) text += `.${step}`
    else text += `[${JSON.stringify(step.length <= 40 ? step : `${step.slice(0, 40)}...`)}]`
  }
  return text
}

export function tooDeep(writer: Writer): EncodeError {
  return new EncodeError(`${where(writer, 0)} nests tables and arrays more than ${MAX_DEPTH} deep, or contains itself`)
}

export function badValue(writer: Writer, value: unknown, depth: number): EncodeError {
  return new EncodeError(
    `${where(writer, depth)} is ${inspectShort(value)}, which no field type holds; it may be a boolean, number, bigint, string, Date, ` +
      'Uint8Array, array, plain object, Map or null',
  )
}
