import type { DecodeError, EncodeError, SchemaIssue } from '../../errors.ts'
import { inspectShort } from '../../protocol/inspect-short.ts'
import { badValue, checkOptions } from '../../protocol/option-check.ts'
import { cutText } from '../../protocol/text.ts'
import type { StandardSchema } from './standard-schema.ts'

/** Issues that are kept, and segments of their paths. */
const MOST = 100
/** Bytes of the text of one. */
const TEXT_BYTES = 300
/** Issues that an error's message lists. */
const LISTED = 5

/**
 * What a schema makes of a value. May reject with anything, as the schema does.
 *
 * @throws what `makeError` makes, with the issues, if it does not fit.
 */
export async function fit(
  schema: StandardSchema,
  value: unknown,
  makeError: (listed: string) => DecodeError | EncodeError,
): Promise<unknown> {
  const result: unknown = await schema['~standard'].validate(value)
  const { issues } = (result ?? {}) as { readonly issues?: unknown }
  if (issues !== undefined && issues !== null) {
    const read = Array.from(issues as ArrayLike<unknown>)
      .slice(0, MOST)
      .map(readIssue)
    throw Object.assign(makeError(`does not fit its schema: ${listed(read)}`), { issues: read })
  }
  if (typeof result === 'object' && result !== null && 'value' in result) return result.value
  throw new TypeError(`validate() of its schema returned ${inspectShort(result)}, without a value or issues`)
}

function readIssue(issue: unknown): SchemaIssue {
  const { message, path } = (issue ?? {}) as { readonly message?: unknown; readonly path?: unknown }
  return { path: pathOf(path), message: cutText(String(message), TEXT_BYTES) }
}

/** `['items', 0, { key: 'a b' }]` is `items[0]["a b"]`. */
function pathOf(path: unknown): string {
  let text = ''
  for (const segment of Array.from((path ?? []) as ArrayLike<unknown>).slice(0, MOST)) {
    const key = typeof segment === 'object' ? (segment as { readonly key?: unknown } | null)?.key : segment
    if (typeof key !== 'string') text += `[${String(key)}]`
    else if (/^[\p{L}$_][\p{L}\d$_]*$/u.test(key)) text += text === '' ? key : `.${key}`
    else text += `[${JSON.stringify(key)}]`
  }
  return cutText(text, TEXT_BYTES)
}

function listed(issues: readonly SchemaIssue[]): string {
  const texts = issues.slice(0, LISTED).map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
  return [...texts, ...(issues.length > LISTED ? [`${issues.length - LISTED} more`] : [])].join('; ')
}

/** @throws EncodeError for anything but a schema and undefined. */
export function schemaOption(what: string, schema: unknown, name = 'schema'): StandardSchema | undefined {
  if (schema === undefined) return undefined
  try {
    // Those of ArkType are functions.
    const { version, validate } = (schema as StandardSchema)['~standard']
    if (version === 1 && typeof validate === 'function') return schema as StandardSchema
  } catch {
    // It is refused.
  }
  throw badValue(what, name, 'a schema with the interface of Standard Schema, version 1', schema)
}

/** @throws EncodeError for anything but the schemas of requests and replies and undefined. */
export function schemasOption(what: string, schemas: unknown): (StandardSchema | undefined)[] {
  if (schemas !== undefined && (typeof schemas !== 'object' || schemas === null))
    throw badValue(what, 'schema', '{ request, reply }', schemas)
  checkOptions(`${what}: "schema"`, schemas, ['request', 'reply'])
  const { request, reply } = (schemas ?? {}) as { readonly request?: unknown; readonly reply?: unknown }
  return [schemaOption(what, request, 'schema.request'), schemaOption(what, reply, 'schema.reply')]
}
